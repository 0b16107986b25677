"""A service for a test, in this process or in one of its own, and a client of it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from starlette.types import ASGIApp

from reconciler.service.embedded import embedded
from reconciler.service.settings import Settings

PIPELINES = Path(__file__).parent / "pipelines"
BASE = "http://service/v0.5"
ENDED = ("COMPLETED", "FAILED", "CANCELLED")
DEADLINE = 15.0  # seconds; nothing takes this long, it only bounds a test that fails


@dataclass(frozen=True)
class Api:
    """Calls of the API as tests need them."""

    http: httpx.AsyncClient
    app: ASGIApp | None = None

    async def upload(self, name: str, content: bytes = b"x", kind: str = "text/plain") -> dict[str, Any]:
        answer = await self.http.post("/files", files={"file": (name, content, kind)})
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    async def submit(self, key: str, **more: Any) -> dict[str, Any]:
        body = {"name": key, "pipeline_type": "batch", "pipeline_key": key, **more}
        answer = await self.http.post("/batch/jobs", json=body)
        assert answer.status_code == 201, answer.text
        return dict(answer.json())

    async def job(self, job_id: str) -> dict[str, Any]:
        return dict((await self.http.get(f"/batch/jobs/{job_id}")).json())

    async def wait(self, job_id: str, *statuses: str) -> dict[str, Any]:
        """The job once it is in one of `statuses` (by default an end)."""
        wanted = statuses or ENDED
        deadline = time.monotonic() + DEADLINE
        while True:
            job = await self.job(job_id)
            if job["status"] in wanted:
                return job
            assert job["status"] not in ENDED, job
            assert time.monotonic() < deadline, job
            await asyncio.sleep(0.02)

    async def rows(self, job_id: str, path: str, noun: str | None = None, **query: Any) -> list[dict[str, Any]]:
        answer = await self.http.get(f"/batch/jobs/{job_id}/{path}", params={"limit": 100, **query})
        assert answer.status_code == 200, answer.text
        return list(answer.json()[noun or path])

    async def event(self, job_id: str, event_type: str, count: int = 1) -> list[dict[str, Any]]:
        """The events of the type, once there are `count`."""
        deadline = time.monotonic() + DEADLINE
        while True:
            found = await self.rows(job_id, "events", event_type=event_type)
            if len(found) >= count:
                return found
            assert time.monotonic() < deadline, await self.rows(job_id, "events")
            await asyncio.sleep(0.02)

    async def refused(self, method: str, path: str, **request: Any) -> tuple[int, list[dict[str, Any]]]:
        """The status and the entries of the error envelope; the envelope is checked."""
        return entries(await self.http.request(method, path, **request))


def entries(answer: httpx.Response) -> tuple[int, list[dict[str, Any]]]:
    errors = answer.json()["errors"]
    assert errors
    for error in errors:
        assert set(error) == {"code", "message", "suggestion", "error_uid"}
        assert error["message"]
        assert error["error_uid"].startswith("err-")
    return answer.status_code, errors


@asynccontextmanager
async def running(
    data: Path,
    *,
    run_jobs: bool = True,
    capacity: int = 2,
    settings: Settings | None = None,
    pipelines: Path | None = PIPELINES,
) -> AsyncIterator[Api]:
    """The service in this process."""
    service = embedded(data, run_jobs=run_jobs, capacity=capacity, pipelines=pipelines, settings=settings)
    async with (
        service as app,
        httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url=BASE) as http,
    ):
        yield Api(http, app)


SERVE = """
import json, sys
from pathlib import Path
from reconciler.service.errors import ServiceError
from reconciler.service.server import serve
from reconciler.service.settings import Settings
more = json.loads(sys.argv[4])
try:
    serve(host="127.0.0.1", port=int(sys.argv[2]), data=Path(sys.argv[1]), capacity=2, key=None,
          pipelines=Path(sys.argv[3]), announce=lambda line: print(line, flush=True),
          settings=Settings(**more.pop("settings", {})), **more)
except ServiceError as error:
    sys.exit(f"{error.message} | {error.hint}")
"""


@dataclass(frozen=True)
class Served:
    """A service in a process of its own."""

    process: subprocess.Popen[str]
    url: str
    key: str
    announced: list[str]

    @asynccontextmanager
    async def client(self) -> AsyncIterator[Api]:
        headers = {"Authorization": f"Bearer {self.key}"}
        async with httpx.AsyncClient(base_url=self.url, headers=headers, trust_env=False) as http:
            yield Api(http)

    def stop(self, how: signal.Signals) -> int:
        self.process.send_signal(how)
        return self.process.wait(timeout=DEADLINE)


def start(
    data: Path, port: int = 0, *, before: Sequence[str] = (), pipelines: Path = PIPELINES, **more: Any
) -> subprocess.Popen[str]:
    """`before`: a command that runs the service's. `more`: what `serve` takes besides; `settings` as a dict."""
    arguments = [str(data), str(port), str(pipelines), json.dumps(more)]
    command = [*before, sys.executable, "-W", "error", "-c", SERVE, *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def read_announcement(process: subprocess.Popen[str]) -> list[str]:
    """The lines that the service says when it is there."""
    assert process.stdout is not None
    assert process.stderr is not None
    lines: list[str] = []
    while not lines or not lines[-1].startswith("Stop with"):
        line = process.stdout.readline()
        assert line, process.stderr.read()
        lines.append(line.rstrip("\n"))
    return lines


@contextmanager
def served(data: Path, **more: Any) -> Iterator[Served]:
    """The service on a port; killed at the end, if it is still there."""
    with start(data, **more) as process:
        try:
            lines = read_announcement(process)
            url = lines[1].partition("=")[2]
            yield Served(process, url, (data / "api-key").read_text().strip(), lines)
        finally:
            process.kill()


def alive(pid: int) -> bool:
    """Whether the process is still there, not counting those that only wait to be reaped."""
    try:
        os.kill(pid, 0)
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (ProcessLookupError, FileNotFoundError):
        return False
    return state != "Z"


async def gone(pids: list[int]) -> bool:
    """Whether the processes end within the deadline."""
    deadline = time.monotonic() + DEADLINE
    while any(map(alive, pids)):
        if time.monotonic() > deadline:
            return False
        await asyncio.sleep(0.02)
    return True
