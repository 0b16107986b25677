"""A bucket that speaks S3, in memory: moto's server, one request at a time, since a real one is atomic as well.

python bucket_server.py PORT_FILE
"""

from __future__ import annotations

import io
import sys
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from moto.server import DomainDispatcherApplication, create_backend_app  # type: ignore[attr-defined]
from werkzeug.serving import WSGIRequestHandler, make_server


class _Quiet(WSGIRequestHandler):
    def log(self, type: str, message: str, *args: object) -> None:
        pass


class OneAtATime:
    """A client that stands still in the middle of a request keeps nobody else waiting: its body is read before."""

    def __init__(self) -> None:
        self._app, self._one = DomainDispatcherApplication(create_backend_app), threading.Lock()

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        length = int(environ.get("CONTENT_LENGTH") or 0)
        environ["wsgi.input"] = io.BytesIO(environ["wsgi.input"].read(length))
        with self._one:
            return [b"".join(self._app(environ, start_response))]


def serve(port_file: Path) -> None:
    """Serve until killed; the port is in `port_file` when it is ready."""
    server = make_server("127.0.0.1", 0, OneAtATime(), threaded=True, request_handler=_Quiet)
    temporary = port_file.with_suffix(".new")
    temporary.write_text(str(server.port))
    temporary.rename(port_file)
    server.serve_forever()


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
