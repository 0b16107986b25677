"""The client's uploads against the real service: in parts, over cut-offs, and never another content than is meant."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from service_client import BASE, running, served
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uploading import Now, opened

from reconciler.client import Client, Transport, uploads
from reconciler.client.patience import Timing
from reconciler.errors import PlatformError, PlatformUnavailable
from reconciler.job import Upload
from reconciler.localfiles import content_name, media_type
from reconciler.service.settings import Settings

LINES = b'{"a": 1}\n{"a": 2}\n{"b": 3}\n'  # seven parts of four bytes
SMALL = Settings(part_size=4)

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


class Dropped(Exception):
    """The connection breaks off."""


@dataclass
class Between:
    """What stands between the client and the service: it sees the requests, and can spoil them."""

    app: ASGIApp | None
    requests: list[str] = field(default_factory=list)
    headers: list[dict[bytes, bytes]] = field(default_factory=list)
    refuse: Callable[[str], int | None] = lambda line: None
    """A status instead of an answer; the request is not handled."""
    drop: Callable[[str], bool] = lambda line: False
    """Whether the request is handled, but not answered."""
    spoil: Callable[[bytes], bytes] = lambda body: body
    """What becomes of the bytes of a part on the way."""
    before: Callable[[str], None] = lambda line: None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert self.app is not None
        line = f"{scope['method']} {re.sub('upl_[^/]+', 'ID', scope['path'].removeprefix('/v0.5'))}"
        self.requests.append(line)
        self.headers.append(dict(scope["headers"]))
        self.before(line)

        async def received() -> Message:
            message = await receive()
            return {**message, "body": self.spoil(message.get("body", b""))} if scope["method"] == "PUT" else message

        async def swallow(message: Message) -> None:
            pass

        if (status := self.refuse(line)) is not None:
            await send({"type": "http.response.start", "status": status, "headers": []})
            await send({"type": "http.response.body", "body": b"TokenExpired" if status == 400 else b""})
        elif self.drop(line):
            await self.app(scope, received, swallow)
            await send({"type": "http.response.start", "status": 504, "headers": []})
            await send({"type": "http.response.body", "body": b""})
        else:
            await self.app(scope, received, send)

    def count(self, line: str) -> int:
        return sum(re.fullmatch(line, each) is not None for each in self.requests)


def local(folder: Path, content: bytes = LINES, name: str = "events.jsonl") -> tuple[Upload, Path]:
    path = folder / name
    path.write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    return Upload(name, content_name(name, digest), f"sha256:{digest}", len(content), media_type(name)), path


async def send(app: Any, upload: Upload, path: Path, *, budget: float = 0.0) -> int:
    """Bytes that were told as sent, in the end."""
    told = [0]

    async def no_pause(seconds: float) -> None:
        await asyncio.sleep(0)

    async with Transport(BASE, None, app=app, timing=Timing(budget, no_pause)) as transport:
        await Client(transport).upload(upload, path, told.append)
    assert 0 not in told[1:]
    return sum(told)


async def content(app: Any, file_id: str) -> tuple[bytes, str]:
    async with Transport(BASE, None, app=app) as transport:
        found = await Client(transport).file(file_id)
        assert found is not None
        body = bytearray()
        await transport.download(f"/files/download/{file_id}", body.extend)
        return bytes(body), found["file_type"]


async def test_json_lines_go_in_parts_as_what_they_are(tmp_path: Path) -> None:
    upload, path = local(tmp_path)
    async with running(tmp_path / "data", settings=SMALL) as api:
        between = Between(api.app)
        assert await send(between, upload, path) == len(LINES)
        assert await content(api.app, upload.file_id) == (LINES, "application/x-ndjson")
    assert between.count("PUT /files/uploads/ID/parts/[1-7]") == 7
    assert between.count("POST /files/uploads/ID/parts/checkpoint") == 7
    assert between.count("POST /files") == 0


async def test_a_large_file_goes_in_parts_and_a_small_one_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "DIRECT_FROM", 10)
    async with running(tmp_path / "data", settings=SMALL) as api:
        between = Between(api.app)
        small, large = local(tmp_path, b"123456789", "a.csv"), local(tmp_path, b"1234567890", "b.csv")
        assert await send(between, *small) == 9
        assert between.requests == ["POST /files"]
        assert await send(between, *large) == 10
        assert between.requests[1] == "POST /files/uploads/initiate"
        assert await content(api.app, large[0].file_id) == (b"1234567890", "text/csv")


@pytest.mark.parametrize("size", [0, 1, 4, 5])
async def test_files_of_any_size_arrive(tmp_path: Path, size: int) -> None:
    upload, path = local(tmp_path, LINES[:size])
    async with running(tmp_path / "data", settings=SMALL) as api:
        assert await send(api.app, upload, path) == size
        assert (await content(api.app, upload.file_id))[0] == LINES[:size]


async def test_a_later_run_sends_only_the_parts_that_are_missing(tmp_path: Path) -> None:
    upload, path = local(tmp_path)
    async with running(tmp_path / "data", settings=SMALL) as api:
        cut = Between(api.app, refuse=lambda line: 503 if re.search("parts/[567]$", line) else None)
        with pytest.raises(PlatformUnavailable, match=r"upload of events\.jsonl"):
            await send(cut, upload, path)
        kept = cut.count("POST /files/uploads/ID/parts/checkpoint")
        assert 1 <= kept <= 4
        between = Between(api.app)
        assert await send(between, upload, path) == len(LINES)
        assert 7 - kept <= between.count("PUT .*") < 7  # a checkpoint may have been cut off as well
        assert (await content(api.app, upload.file_id))[0] == LINES


async def test_every_answer_may_be_lost_once(tmp_path: Path) -> None:
    upload, path = local(tmp_path)
    async with running(tmp_path / "data", settings=SMALL) as api:
        lost: set[str] = set()

        def drop(line: str) -> bool:
            first = line not in lost
            lost.add(line)
            return first

        between = Between(api.app, drop=drop)
        assert await send(between, upload, path, budget=60) == len(LINES)
        assert (await content(api.app, upload.file_id))[0] == LINES
    assert {line.split(" ")[0] for line in lost} == {"GET", "POST", "PUT"}


@pytest.mark.parametrize("status", [403, 400])
async def test_a_url_that_has_expired_is_replaced(tmp_path: Path, status: int) -> None:
    upload, path = local(tmp_path, LINES[:8])
    async with running(tmp_path / "data", settings=SMALL) as api:
        between = Between(api.app)
        between.refuse = lambda line: status if line.startswith("PUT") and between.count(line) == 1 else None
        assert await send(between, upload, path) == 8
        assert between.count("POST /files/uploads/ID/parts/urls") == 2
        assert (await content(api.app, upload.file_id))[0] == LINES[:8]


async def test_urls_that_expire_by_the_services_own_clock_are_replaced(tmp_path: Path) -> None:
    upload, path = local(tmp_path, LINES[:8])
    clock = Now()
    async with opened(tmp_path / "data", clock=clock) as service:

        def an_hour_passes(line: str) -> None:
            if line == "PUT /files/uploads/ID/parts/2" and between.count(line) == 1:
                clock.moment += timedelta(hours=2)

        between = Between(service.app, before=an_hour_passes)
        assert await send(between, upload, path) == 8
        assert between.count("POST /files/uploads/ID/parts/urls") >= 1


async def test_a_url_that_is_refused_for_ever_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    upload, path = local(tmp_path, LINES[:4])
    async with running(tmp_path / "data", settings=SMALL) as api:
        between = Between(api.app, refuse=lambda line: 403 if line.startswith("PUT") else None)
        with pytest.raises(PlatformError, match=r"upload of events\.jsonl"):
            await send(between, upload, path)
        assert between.count("PUT .*") == 4


async def test_a_file_that_is_there_is_not_sent(tmp_path: Path) -> None:
    upload, path = local(tmp_path)
    async with running(tmp_path / "data", settings=SMALL) as api:
        await send(api.app, upload, path)
        between = Between(api.app)
        assert await send(between, upload, path) == len(LINES)
        assert between.requests == ["POST /files/uploads/initiate", f"GET /files/metadata/{upload.file_id}"]


async def test_another_file_of_the_name_is_not_overwritten(tmp_path: Path) -> None:
    upload, path = local(tmp_path)
    async with running(tmp_path / "data", settings=SMALL) as api:
        await api.upload(upload.file_id, b"another")
        with pytest.raises(PlatformError, match="already") as raised:
            await send(api.app, upload, path)
        assert "events.jsonl" in raised.value.message
        assert (await content(api.app, upload.file_id))[0] == b"another"


async def test_an_upload_of_another_type_under_the_name_is_left_alone(tmp_path: Path) -> None:
    upload, path = local(tmp_path)
    async with running(tmp_path / "data", settings=SMALL) as api:
        body = {"filename": upload.file_id, "file_type": "text/plain", "num_bytes": 3}
        assert (await api.http.post("/files/uploads/initiate", json=body)).status_code == 200
        await send(api.app, upload, path)
        assert (await content(api.app, upload.file_id))[0] == LINES


async def test_what_is_damaged_on_the_way_is_sent_anew(tmp_path: Path) -> None:
    upload, path = local(tmp_path)
    async with running(tmp_path / "data", settings=SMALL) as api:
        once = iter([b"XXXX"])
        between = Between(api.app, spoil=lambda body: next(once, body))
        assert await send(between, upload, path) == len(LINES)
        assert between.count("POST /files/uploads/initiate") == 2
        assert (await content(api.app, upload.file_id))[0] == LINES


async def test_what_is_always_damaged_is_an_error_and_no_file(tmp_path: Path) -> None:
    upload, path = local(tmp_path)
    async with running(tmp_path / "data", settings=SMALL) as api:
        between = Between(api.app, spoil=lambda body: b"X" * len(body))
        with pytest.raises(PlatformError, match="not what was sent"):
            await send(between, upload, path)
        async with Transport(BASE, None, app=api.app) as transport:
            assert not await Client(transport).has_file(upload)


@pytest.mark.parametrize("name", ["events.jsonl", "table.csv"])
@pytest.mark.parametrize("now", [b"other" + LINES[5:], LINES[:-1], LINES + b"x", b""])
async def test_a_file_that_has_changed_is_not_sent(tmp_path: Path, name: str, now: bytes) -> None:
    upload, path = local(tmp_path, name=name)
    path.write_bytes(now)
    async with running(tmp_path / "data", settings=SMALL) as api:
        with pytest.raises(PlatformError, match=f"{name} has changed"):
            await send(api.app, upload, path, budget=60)
        answer = await api.http.get(f"/files/metadata/{upload.file_id}")
        assert answer.status_code == 404


async def test_a_file_that_changes_while_it_is_sent_leaves_nothing_to_go_on_with(tmp_path: Path) -> None:
    upload, path = local(tmp_path)
    async with running(tmp_path / "data", settings=SMALL) as api:

        def written_to(line: str) -> None:
            if line.endswith("parts/1"):
                with path.open("r+b") as file:
                    file.write(b"[")
                os.utime(path, (1, 1))

        between = Between(api.app, before=written_to)
        with pytest.raises(PlatformError, match="has changed"):
            await send(between, upload, path)
        assert between.count("POST /files/uploads/ID/abort") == 1
        path.write_bytes(LINES)
        await send(api.app, upload, path)
        assert (await content(api.app, upload.file_id))[0] == LINES


async def test_a_platform_without_uploads_in_parts_gets_json_lines_as_text(tmp_path: Path) -> None:
    upload, path = local(tmp_path)
    async with running(tmp_path / "data", settings=SMALL) as api:
        between = Between(api.app, refuse=lambda line: 404 if "/uploads" in line else None)
        assert await send(between, upload, path) == len(LINES)
        assert await content(api.app, upload.file_id) == (LINES, "text/plain")


async def test_a_platform_that_forgets_parts_is_told_of_them_at_the_end(tmp_path: Path) -> None:
    upload, path = local(tmp_path)
    async with running(tmp_path / "data", settings=SMALL) as api:
        between = Between(api.app, refuse=lambda line: 404 if line.endswith("checkpoint") else None)
        await send(between, upload, path)
        assert (await content(api.app, upload.file_id))[0] == LINES


async def test_two_runs_that_send_the_same_file_both_succeed(tmp_path: Path) -> None:
    upload, path = local(tmp_path, LINES * 20)
    async with running(tmp_path / "data", settings=SMALL) as api:
        await asyncio.gather(*(send(api.app, upload, path, budget=60) for _ in range(3)))
        assert (await content(api.app, upload.file_id))[0] == LINES * 20


async def test_parts_are_sent_a_few_at_a_time_and_without_a_key(tmp_path: Path) -> None:
    upload, path = local(tmp_path, LINES * 4)
    under_way = most = 0
    async with running(tmp_path / "data", settings=SMALL) as api:
        assert api.app is not None
        inner = api.app

        async def counted(scope: Scope, receive: Receive, send_: Send) -> None:
            nonlocal under_way, most
            put = scope["method"] == "PUT"
            assert (b"authorization" in dict(scope["headers"])) is not put
            under_way += put
            most = max(most, under_way)
            await asyncio.sleep(0.001)
            await inner(scope, receive, send_)
            under_way -= put

        async with Transport(BASE, "sk_test", app=counted) as transport:
            await Client(transport).upload(upload, path)
    assert 2 <= most <= uploads.PARTS


SENDING = """
import asyncio, json, os, signal, sys
from pathlib import Path
from reconciler.client import Client, Transport
from reconciler.job import Upload
url, key, path, told, until = sys.argv[1], sys.argv[2], Path(sys.argv[3]), json.loads(sys.argv[4]), int(sys.argv[5])
total = 0
def sent(num_bytes):
    global total
    total += num_bytes
    if total > until:
        os.kill(os.getpid(), signal.SIGKILL)
async def main():
    async with Transport(url, key) as transport:
        await Client(transport).upload(Upload(**told), path, sent)
asyncio.run(main())
print(total)
"""


@pytest.mark.network
def test_an_upload_survives_kills_between_parts(tmp_path: Path) -> None:
    size, part = 3_000_000, 100_000
    upload, path = local(tmp_path, os.urandom(size))
    told = json.dumps({name: getattr(upload, name) for name in Upload.__dataclass_fields__})
    with served(tmp_path / "data", settings={"part_size": part}) as service:
        base = service.url if service.url.endswith("/v0.5") else service.url + "/v0.5"
        for until in (900_000, 1_900_000, size):
            command = [sys.executable, "-c", SENDING, base, service.key, str(path), told, str(until)]
            ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
            if until < size:
                assert ended.returncode == -signal.SIGKILL, ended.stderr
            else:
                assert (ended.returncode, ended.stdout) == (0, f"{size}\n"), ended.stderr

        async def received() -> bytes:
            async with service.client() as api:
                return (await api.http.get(f"/files/download/{upload.file_id}")).content

        assert asyncio.run(received()) == path.read_bytes()


def test_the_same_content_has_the_same_name_wherever_it_lies(tmp_path: Path) -> None:
    first, _ = local(tmp_path)
    (tmp_path / "other").mkdir()
    second, _ = local(tmp_path / "other")
    assert replace(first, path=second.path) == second
