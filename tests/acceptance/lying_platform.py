"""A real embedded service on loopback whose requests are written down, and which can lie on demand.

    python lying_platform.py FOLDER

serves until it is killed; with a file `queue-only` in FOLDER jobs stay PENDING. FOLDER gets `port` when it is ready
and `requests.log`, a line a request. Each line of `FOLDER/faults` is a rule `METHOD PATH SKIP TIMES WHAT`: after SKIP
matching requests, the next TIMES of them get WHAT:

    status:503          this status instead of an answer; the request is not handled
    after:504           the request is handled, and then this status is answered: the lie that makes duplicates
    html:200            an HTML page with this status; not handled
    body:TEXT           200 with this body; not handled
    cut                 the request is handled, and the connection breaks off in the middle of the answer
    hang                no answer at all until the client gives up; not handled
"""

from __future__ import annotations

import asyncio
import re
import sys
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import uvicorn

from reconciler.service.embedded import embedded
from reconciler.service.settings import Settings

App = Callable[[Any, Any, Any], Awaitable[None]]
KEY = "sk_acceptance"


class Recorder:
    """ASGI middleware: writes requests down and applies the fault rules."""

    def __init__(self, app: App, folder: Path) -> None:
        self._app = app
        self._folder = folder
        self._seen: Counter[str] = Counter()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        query = scope["query_string"].decode()
        signed = scope["method"] == "PUT"  # its URL is the permission, and another one each time
        line = f"{scope['method']} {scope['path']}" + (f"?{query}" if query and not signed else "")
        with (self._folder / "requests.log").open("a") as log:
            log.write(line + "\n")
        headers = dict(scope["headers"])
        if headers.get(b"authorization") != (None if signed else f"Bearer {KEY}".encode()):
            await _answer(send, 401, b'{"errors":[{"code":"unauthorized","message":"missing or wrong API key"}]}')
            return
        fault = self._fault(scope["method"], scope["path"])
        if fault is None:
            await self._app(scope, receive, send)
        else:
            await self._lie(fault, scope, receive, send)

    def _fault(self, method: str, path: str) -> str | None:
        rules = self._folder / "faults"
        for rule in rules.read_text().splitlines() if rules.exists() else []:
            want_method, pattern, skip, times, what = rule.split(maxsplit=4)
            if want_method == method and re.fullmatch(pattern, path.removeprefix("/v0.5")):
                self._seen[rule] += 1
                if int(skip) < self._seen[rule] <= int(skip) + int(times):
                    return what
        return None

    async def _lie(self, fault: str, scope: Any, receive: Any, send: Any) -> None:
        kind, _, text = fault.partition(":")
        if kind == "after":

            async def swallow(message: Any) -> None:
                pass

            await self._app(scope, receive, swallow)
        if kind == "cut":

            async def half(message: Any) -> None:
                if message["type"] == "http.response.body":
                    body = message.get("body", b"")
                    message = {**message, "body": body[: len(body) // 2], "more_body": False}
                await send(message)

            await self._app(scope, receive, half)
            return
        if kind == "hang":
            await asyncio.sleep(3600)
        if kind == "html":
            await _answer(send, int(text), b"<html><body>Bad gateway</body></html>", b"text/html")
        elif kind == "body":
            await _answer(send, 200, text.encode())
        else:
            await _answer(send, int(text), b'{"errors":[{"code":"made_up","message":"a fault of the test"}]}')


async def _answer(send: Any, status: int, body: bytes, kind: bytes = b"application/json") -> None:
    await send({"type": "http.response.start", "status": status, "headers": [(b"content-type", kind)]})
    await send({"type": "http.response.body", "body": body})


async def serve(folder: Path) -> None:
    """Serve until killed."""
    pipelines = Path(__file__).parent / "pipelines"
    run_jobs = not (folder / "queue-only").exists()
    small = Settings(part_size=1000)  # so that a file that fits into a transcript has several parts
    async with embedded(folder / "data", run_jobs=run_jobs, capacity=2, pipelines=pipelines, settings=small) as app:
        server = uvicorn.Server(uvicorn.Config(Recorder(app, folder), port=0, log_level="warning", lifespan="off"))
        task = asyncio.create_task(server.serve())
        while not server.started:
            await asyncio.sleep(0.01)
        port = server.servers[0].sockets[0].getsockname()[1]
        (folder / "port.new").write_text(str(port))
        (folder / "port.new").rename(folder / "port")
        await task


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1])))
