"""A server on loopback that behaves like GitHub's API for the comments of a pull request.

Pages of comments with links, users behind tokens, tokens that may only read, comments that are too long.
"""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

BOT = "github-actions[bot]"
TOKEN = "ghs_token_of_the_workflow"
READ_ONLY = "ghs_token_that_may_only_read"


@dataclass
class StandIn:
    """What the server knows, and what it was asked."""

    url: str = ""
    comments: list[dict[str, Any]] = field(default_factory=list)
    users: dict[str, str] = field(default_factory=lambda: {TOKEN: BOT, READ_ONLY: BOT})
    asked: list[str] = field(default_factory=list)
    faults: list[tuple[str, int | str]] = field(default_factory=list)
    """Each: the method of the next request that goes wrong, and its status, or `lost`: done, but not answered."""

    def add(self, author: str, body: str) -> dict[str, Any]:
        number = len(self.comments) + 1
        url = f"https://github.example/octo/jobs/pull/7#issuecomment-{number}"
        self.comments.append({"id": number, "user": {"login": author}, "body": body, "html_url": url})
        return self.comments[-1]

    def by(self, author: str) -> list[str]:
        return [c["body"] for c in self.comments if c["user"]["login"] == author]


@contextmanager
def github() -> Iterator[StandIn]:
    known = StandIn()

    class Handler(_Handler):
        stand_in = known

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


class _Handler(BaseHTTPRequestHandler):
    stand_in: StandIn
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._handle("GET")

    def do_POST(self) -> None:
        self._handle("POST")

    def do_PATCH(self) -> None:
        self._handle("PATCH")

    def _handle(self, method: str) -> None:
        known = self.stand_in
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        known.asked.append(f"{method} {self.path}")
        fault = known.faults[0] if known.faults and known.faults[0][0] == method else None
        if fault:
            known.faults.pop(0)
        if fault and isinstance(fault[1], int):
            self._answer(fault[1], {"message": "as the test wants it"}, {"retry-after": "0"} if fault[1] == 429 else {})
            return
        status, answer, headers = self._do(method, json.loads(body) if body else {})
        if fault:
            self.close_connection = True
            self.connection.close()
            return
        self._answer(status, answer, headers)

    def _do(self, method: str, body: dict[str, Any]) -> tuple[int, Any, dict[str, str]]:
        known = self.stand_in
        token = (self.headers.get("authorization") or "").removeprefix("Bearer ")
        if token not in known.users:
            return 401, {"message": "Bad credentials"}, {}
        path = urlsplit(self.path)
        if path.path == "/graphql":
            return 200, {"data": {"viewer": {"login": known.users[token]}}}, {}
        if path.path == "/repos/octo/jobs/issues/7/comments" and method == "GET":
            return self._page(parse_qs(path.query))
        one = re.fullmatch(r"/repos/octo/jobs/issues/comments/(\d+)", path.path)
        if path.path != "/repos/octo/jobs/issues/7/comments" and not one:
            return 404, {"message": "Not Found"}, {}
        if token == READ_ONLY:
            return 403, {"message": "Resource not accessible by integration"}, {}
        if len(body["body"]) > 65_536:
            return 422, {"message": "Validation Failed", "errors": [{"message": "body is too long"}]}, {}
        if one:
            comment = known.comments[int(one[1]) - 1]
            comment["body"] = body["body"]
            return 200, comment, {}
        return 201, known.add(known.users[token], body["body"]), {}

    def _page(self, query: dict[str, list[str]]) -> tuple[int, Any, dict[str, str]]:
        size, page = int(query.get("per_page", ["30"])[0]), int(query.get("page", ["1"])[0])
        rows = self.stand_in.comments[(page - 1) * size : page * size]
        headers = {}
        if page * size < len(self.stand_in.comments):
            url = f"{self.stand_in.url}/repos/octo/jobs/issues/7/comments?per_page={size}&page={page + 1}"
            headers["link"] = f'<{url}>; rel="next", <{url}>; rel="last"'
        return 200, rows, headers

    def _answer(self, status: int, body: Any, headers: dict[str, str]) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        for name, value in {"content-type": "application/json", "content-length": str(len(data)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)
