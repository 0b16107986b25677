"""`kill -9` at every step of a request that changes an upload, and what the next start finds.

A step is a call that touches the disk, as Python's audit events tell of it.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from service_client import BASE

from reconciler.service.clock import system_clock
from reconciler.service.service import open_service
from reconciler.service.settings import Settings

# One process that makes a copy of the data folder for each step, and a child that dies at this step in its copy.
KILLER = """
import asyncio, json, os, shutil, signal, sys
from pathlib import Path
import httpx
from reconciler.service.service import open_service
from reconciler.service.settings import Settings

STEPS = {"open", "os.mkdir", "os.rename", "os.chmod", "os.remove", "os.rmdir", "os.scandir", "fcntl.flock"}
data, requests = Path(sys.argv[1]), json.loads(sys.argv[2])

def child(folder, step):
    seen = 0
    def hook(event, _):
        nonlocal seen
        if event in STEPS:
            seen += 1
            if seen > step:
                os.kill(os.getpid(), signal.SIGKILL)
    async def send(app):
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app)) as http:
            sys.addaudithook(hook)
            for request in requests:
                (await http.request(**request)).raise_for_status()
    with open_service(folder, key=None, capacity=1, pipelines=None, settings=Settings(part_size=4)) as service:
        asyncio.run(send(service.app))

killed = 0
while True:
    folder = data.with_name(f"{data.name}-{killed}")
    shutil.copytree(data, folder)
    pid = os.fork()
    if pid == 0:
        child(folder, killed)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if code == 0:
        print(killed)
        sys.exit()
    assert code == -signal.SIGKILL, code
    killed += 1
"""


@dataclass(frozen=True)
class Found:
    """The service after a kill, two hours later, after its sweep."""

    http: httpx.AsyncClient
    data: Path

    async def post(self, upload: dict[str, Any], what: str, **body: Any) -> httpx.Response:
        return await self.http.post(f"/files/uploads/{upload['upload_id']}/{what}", json=body)

    def left(self, noun: str) -> list[str]:
        return [path.name for path in (self.data / noun).iterdir()]


@asynccontextmanager
async def found(data: Path, after: timedelta = timedelta()) -> AsyncIterator[Found]:
    with open_service(
        data,
        key=None,
        capacity=1,
        pipelines=None,
        settings=Settings(part_size=4),
        clock=lambda: system_clock() + after,
    ) as service:
        context = service.app.state.context
        context.uploads.sweep()
        context.files.sweep()
        async with httpx.AsyncClient(transport=httpx.ASGITransport(service.app), base_url=BASE) as http:
            yield Found(http, data)


async def prepared(data: Path, content: bytes) -> dict[str, Any]:
    """An upload whose parts all came and have checkpoints."""
    async with found(data) as service:
        body = {"filename": "a.txt", "file_type": "text/plain", "num_bytes": len(content)}
        upload = dict((await service.http.post("/files/uploads/initiate", json=body)).json())
        tokens = []
        for part in upload["parts"]:
            sent = await service.http.put(part["url"], content=content[part["offset"] :][: part["length"]])
            tokens.append({"part_number": part["part_number"], "part_token": sent.headers["etag"]})
        assert (await service.post(upload, "parts/checkpoint", parts=tokens)).status_code == 200
    return upload


def kill_at_each_step(data: Path, *requests: dict[str, Any]) -> list[Path]:
    """The data folders that the killed processes left, and last that of one that lived."""
    command = [sys.executable, "-W", "error", "-c", KILLER, str(data), json.dumps(requests)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    return [data.with_name(f"{data.name}-{number}") for number in range(int(done.stdout) + 1)]


def url(upload: dict[str, Any], what: str) -> str:
    return f"{BASE}/files/uploads/{upload['upload_id']}/{what}"


@pytest.mark.slow
def test_complete(tmp_path: Path) -> None:
    """The upload goes on, or the file is whole."""

    async def after(data: Path, upload: dict[str, Any]) -> bool:
        async with found(data, timedelta(hours=2)) as service:
            was_there = (await service.http.get("/files/metadata/a.txt")).status_code == 200
            if was_there:
                assert service.left("uploads") == []
            answer = await service.post(upload, "complete", parts=[])
            assert answer.status_code == (409 if was_there else 200), answer.text
            assert (await service.http.get("/files/download/a.txt")).content == b"0123456789"
            assert (service.left("incoming"), service.left("contents")) == ([], [upload["file_uid"]])
            return was_there

    upload = asyncio.run(prepared(tmp_path / "data", b"0123456789"))
    request = {"method": "POST", "url": url(upload, "complete"), "json": {"parts": []}}
    folders = kill_at_each_step(tmp_path / "data", request)
    there = [asyncio.run(after(folder, upload)) for folder in folders]
    assert len(folders) > 10
    assert there == sorted(there)  # up to some step the upload goes on, from there on the file is complete
    assert there.count(False) > 5
    assert there.count(True) > 2


@pytest.mark.slow
def test_the_part_that_is_sent_again(tmp_path: Path) -> None:
    """It has the old bytes and their checkpoint, or the new ones."""

    async def after(data: Path, upload: dict[str, Any], token: str) -> bytes:
        async with found(data, timedelta(hours=2)) as service:
            answer = await service.post(upload, "complete", parts=[])
            if answer.status_code == 400:
                parts = [{"part_number": 1, "part_token": token}]
                answer = await service.post(upload, "complete", parts=parts)
            assert answer.status_code == 200, answer.text
            assert service.left("uploads") == []
            return (await service.http.get("/files/download/a.txt")).content

    upload = asyncio.run(prepared(tmp_path / "data", b"xxxx456789"))
    request = {"method": "PUT", "url": upload["parts"][0]["url"], "content": "0123"}
    folders = kill_at_each_step(tmp_path / "data", request)
    token = "eb62f6b9306db575c2d596b1279627a4"  # the MD5 of 0123
    contents = [asyncio.run(after(folder, upload, token)) for folder in folders]
    assert set(contents) == {b"xxxx456789", b"0123456789"}
    assert contents == sorted(contents, reverse=True)


@pytest.mark.slow
def test_abort(tmp_path: Path) -> None:
    """It can be said again, and then nothing is left."""

    async def after(data: Path, upload: dict[str, Any]) -> None:
        async with found(data, timedelta(hours=2)) as service:
            assert (await service.post(upload, "abort")).status_code == 200
            assert service.left("uploads") + service.left("incoming") + service.left("contents") == []

    upload = asyncio.run(prepared(tmp_path / "data", b"0123456789"))
    for folder in kill_at_each_step(tmp_path / "data", {"method": "POST", "url": url(upload, "abort")}):
        asyncio.run(after(folder, upload))
