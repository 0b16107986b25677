"""A bucket that speaks S3, in memory: moto's server, one request at a time, since a real one is atomic as well.

python bucket_server.py PORT_FILE
"""

from __future__ import annotations

import sys
from pathlib import Path

from moto.server import DomainDispatcherApplication, create_backend_app  # type: ignore[attr-defined]
from werkzeug.serving import WSGIRequestHandler, make_server


class _Quiet(WSGIRequestHandler):
    def log(self, type: str, message: str, *args: object) -> None:
        pass


def serve(port_file: Path) -> None:
    """Serve until killed; the port is in `port_file` when it is ready."""
    app = DomainDispatcherApplication(create_backend_app)
    server = make_server("127.0.0.1", 0, app, threaded=False, request_handler=_Quiet)
    temporary = port_file.with_suffix(".new")
    temporary.write_text(str(server.port))
    temporary.rename(port_file)
    server.serve_forever()


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
