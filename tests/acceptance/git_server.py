"""Git over HTTP on loopback, with git's own backend, for one user and password."""

from __future__ import annotations

import base64
import os
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path


@dataclass
class GitServer:
    url: str = ""
    refused: int = 0
    """Requests without the right credentials, or with more than one set of them."""
    pushes_refused: int = 0
    """Pushes of who may only read, answered as GitLab does."""


def _backend(asked: BaseHTTPRequestHandler, folder: Path, user: str, body: bytes) -> bytes:
    """What git answers to the request."""
    path, _, query = asked.path.partition("?")
    env = {
        "PATH": os.environ["PATH"],
        "GIT_PROJECT_ROOT": str(folder),
        "GIT_HTTP_EXPORT_ALL": "1",
        "REMOTE_USER": user,
        "REQUEST_METHOD": asked.command,
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "CONTENT_TYPE": asked.headers.get("content-type", ""),
        "CONTENT_LENGTH": str(len(body)),
        "HTTP_CONTENT_ENCODING": asked.headers.get("content-encoding", ""),
        "GIT_PROTOCOL": asked.headers.get("git-protocol", ""),
    }
    return subprocess.run(["git", "http-backend"], env=env, input=body, capture_output=True, check=True).stdout


def _answer(asked: BaseHTTPRequestHandler, status: int, fields: dict[str, str], content: bytes) -> None:
    asked.send_response(status)
    for name, value in {**fields, "content-length": str(len(content))}.items():
        asked.send_header(name, value)
    asked.end_headers()
    asked.wfile.write(content)


@contextmanager
def git_over_http(folder: Path, user: str, password: str, reader: str | None = None) -> Iterator[GitServer]:
    """Serve the repositories in `folder`. `reader`: who may only read, as `user:password`."""
    known = GitServer()
    wanted, reading = (base64.b64encode(who.encode()).decode() for who in (f"{user}:{password}", reader or ":"))

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

        def do_GET(self) -> None:
            self._serve(b"")

        def do_POST(self) -> None:
            self._serve(self.rfile.read(int(self.headers.get("content-length") or 0)))

        def _serve(self, body: bytes) -> None:
            given = [value.split(" ", 1) for value in self.headers.get_all("authorization") or ()]
            words = [(scheme.lower(), *rest) for scheme, *rest in given]
            if reader and words == [("basic", reading)]:
                if "git-receive-pack" in self.path:
                    known.pushes_refused += 1
                    _answer(self, 403, {"content-type": "text/plain"}, b"You are not allowed to upload code.")
                    return
            elif words != [("basic", wanted)]:
                known.refused += 1
                _answer(self, 401, {"www-authenticate": "Basic"}, b"")
                return
            head, _, content = _backend(self, folder, user, body).partition(b"\r\n\r\n")
            fields = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
            _answer(self, int(fields.pop("Status", "200").split()[0]), fields, content)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    known.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield known
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
