"""A server for the protocol of Terraform's HTTP backend, in memory, that does as GitLab does, and as others do.

`/api/v4/projects/1/terraform/state/NAME` with `/lock` beside it, POST and DELETE, is GitLab's way: a state is JSON
with a serial that no version had before. `/state/NAME` with LOCK and UNLOCK is Terraform's own. A write with another
lock's id is refused; so is a user without the password. Two names change that: `deaf-…` loses the answer to every
third write, `open-…` asks for no password.

    python terraform_server.py PORT_FILE
"""

from __future__ import annotations

import base64
import json
import sys
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

USER, PASSWORD = "ci", "let-me-in"
_WANTED = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
_LOCK_FIELDS = ("ID", "Operation", "Info", "Who", "Version", "Created", "Path")


@dataclass
class Remote:
    """One state. `versions` are the bodies by their serials, as GitLab keeps them."""

    versions: dict[int, bytes] = field(default_factory=dict)
    lock: dict[str, Any] | None = None
    writes: int = 0
    known: bool = False

    def get(self) -> tuple[int, bytes]:
        if not self.known:
            return 404, b""
        return (200, self.versions[max(self.versions)]) if self.versions else (204, b"")

    def post(self, body: bytes, lock_id: str | None) -> tuple[int, bytes]:
        self.known = True
        if not body:
            return 204, b""
        try:
            serial = json.loads(body)["serial"]
        except (ValueError, KeyError, TypeError):
            return 422, b'{"message": "No serial in payload"}'
        if (self.lock or {}).get("ID") != lock_id:
            return 409, b""
        if serial in self.versions:
            return 422, b'{"message": "Version has already been taken"}'
        self.versions[serial] = body
        self.writes += 1
        return 200, b""

    def take(self, body: bytes, *, taken: int) -> tuple[int, bytes]:
        asked = json.loads(body)
        if any(not asked.get(key) for key in _LOCK_FIELDS):
            return 400, b'{"error": "a field of the lock is missing"}'
        self.known = True
        if self.lock is not None:
            return taken, json.dumps(self.lock).encode()
        self.lock = asked
        return 200, json.dumps(asked).encode()

    def free(self, lock_id: str | None) -> tuple[int, bytes]:
        if lock_id is not None and (self.lock or {}).get("ID") != lock_id:
            return 409, b""
        self.lock = None
        return 200, b""


_STATES: dict[str, Remote] = {}
_ONE = threading.Lock()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        pass

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        url = urlsplit(self.path)
        gitlab = url.path.startswith("/api/v4/projects/1/terraform/state/")
        parts = url.path.removeprefix("/api/v4/projects/1/terraform").strip("/").split("/")[1:]
        name = parts[0] if parts else ""
        if not name.startswith("open-") and self.headers.get("authorization") != _WANTED:
            return self._send(401, b'{"message": "401 Unauthorized"}')
        with _ONE:
            state = _STATES.setdefault(name, Remote())
            status, said = self._do(state, parts[1:], body, parse_qs(url.query).get("ID", [None])[0], gitlab=gitlab)
            if self.command == "POST" and not parts[1:] and name.startswith("deaf-") and state.writes % 3 == 0:
                self.close_connection = True  # it was done, or not: nobody is told
                return None
        return self._send(status, said)

    def _do(
        self, state: Remote, rest: list[str], body: bytes, lock_id: str | None, *, gitlab: bool
    ) -> tuple[int, bytes]:
        verb = (self.command, "lock" if rest else "") if gitlab else (self.command, "")
        match verb:
            case ("GET", ""):
                return state.get()
            case ("POST", ""):
                return state.post(body, lock_id)
            case ("POST", "lock") | ("LOCK", ""):
                return state.take(body, taken=409 if gitlab else 423)
            case ("DELETE", "lock") | ("UNLOCK", ""):
                return state.free(json.loads(body or b"{}").get("ID", lock_id))
        return 405, b""

    def _send(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = do_DELETE = do_LOCK = do_UNLOCK = _serve  # noqa: N815


class Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Clients that are killed are what this is for."""


def serve(port_file: Path) -> None:
    """Serve until killed; the port is in `port_file` when it is ready."""
    server = Server(("127.0.0.1", 0), Handler)
    temporary = port_file.with_suffix(".new")
    temporary.write_text(str(server.server_port))
    temporary.rename(port_file)
    server.serve_forever()


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
