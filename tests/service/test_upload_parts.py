"""Parts of uploads: their bytes, their tokens, their end, and who comes at the same time."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from service_client import entries, running, served
from starlette.concurrency import run_in_threadpool
from uploading import (
    SMALL,
    TEXT,
    Now,
    checksum,
    client,
    complete,
    initiate,
    on_disk,
    opened,
    post,
    put,
    put_all,
    refused,
)

from reconciler.service.folder import DataFolder
from reconciler.service.parts import PartFiles, PartWriter
from reconciler.service.routes import uploads as routes
from reconciler.service.service import open_service
from reconciler.service.settings import Settings
from reconciler.service.uploads import KEPT

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_a_part_has_the_length_that_was_agreed(tmp_path: Path) -> None:
    async with running(tmp_path, run_jobs=False, settings=SMALL) as api:
        upload = await initiate(api.http)
        url = upload["parts"][0]["url"]

        async def chunks(*pieces: bytes) -> AsyncIterator[bytes]:
            for piece in pieces:
                yield piece

        for content, length, status in (
            (b"012", None, 400),
            (b"01234", None, 413),
            (chunks(b"0123"), None, 411),
            (chunks(b"0123"), "four", 400),
            (chunks(b"01", b"2"), "4", 400),
            (chunks(b"01", b"234"), "4", 413),
        ):
            headers = {} if length is None else {"content-length": length}
            found, _ = entries(await api.http.put(url, content=content, headers=headers))
            assert found == status, (length, status)
        folder = tmp_path / "uploads" / upload["upload_id"]
        assert not folder.exists() or list(folder.iterdir()) == []
        assert (await refused(api.http, upload, "complete", parts=[]))[:2] == (400, "missing_parameter")
        answer = await api.http.put(url, content=chunks(b"01", b"23"), headers={"content-length": "4"})
        assert answer.status_code == 200


async def test_who_is_cut_off_while_a_part_comes_in_leaves_nothing_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on = threading.Event(), threading.Event()
    opened_at: list[PartWriter] = []
    write = PartWriter.write

    def slow(self: PartWriter, data: bytes) -> None:
        opened_at.append(self)
        begun.set()
        assert go_on.wait(30)
        write(self, data)

    monkeypatch.setattr(PartWriter, "write", slow)
    async with running(tmp_path, run_jobs=False, settings=SMALL) as api:
        upload = await initiate(api.http)
        sending = asyncio.create_task(api.http.put(upload["parts"][0]["url"], content=b"0123"))
        assert await asyncio.to_thread(begun.wait, 30)
        sending.cancel()
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await sending
        assert not (tmp_path / "uploads" / upload["upload_id"] / opened_at[0].place).exists()


async def test_who_is_cut_off_after_the_last_byte_has_sent_the_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def cut_off(work: Callable[..., Any], *args: Any) -> Any:
        if work.__name__ == "keep":
            sending.cancel()
        return await run_in_threadpool(work, *args)

    monkeypatch.setattr(routes, "run_in_threadpool", cut_off)
    async with running(tmp_path, run_jobs=False, settings=SMALL) as api:
        upload = await initiate(api.http)
        sending = asyncio.create_task(api.http.put(upload["parts"][0]["url"], content=b"0123"))
        with pytest.raises(asyncio.CancelledError):
            await sending
        (part,) = (tmp_path / "uploads" / upload["upload_id"]).glob("prt_*")
        assert part.read_bytes() == b"0123"


async def test_a_part_may_be_any_bytes_of_any_size(tmp_path: Path) -> None:
    """It is neither JSON nor small, whatever its content type says."""
    size = 3 << 20
    content = os.urandom(size)
    async with running(tmp_path, run_jobs=False) as api:
        upload = await initiate(api.http, size=size)
        headers = {"content-type": "application/json"}
        answer = await api.http.put(upload["parts"][0]["url"], content=content, headers=headers)
        assert answer.status_code == 200
        token = {"part_number": 1, "part_token": answer.headers["etag"]}
        await complete(api.http, upload, [token], integrity_checksum=checksum(content))
        assert (await api.http.get("/files/download/a.txt")).content == content


async def test_a_part_that_is_sent_again_replaces_the_first(tmp_path: Path) -> None:
    async with running(tmp_path, run_jobs=False, settings=SMALL) as api:
        upload = await initiate(api.http)
        old = await put_all(api.http, upload, b"xxxxxxxxxx")
        await post(api.http, upload, "parts/checkpoint", parts=old)
        assert await put(api.http, upload["parts"][0], b"xxxxxxxxxx") == old[0]
        assert [p["part_number"] for p in (await initiate(api.http, resume_if_started=True))["parts"]] == []
        new = await put(api.http, upload["parts"][0])
        assert [p["part_number"] for p in (await initiate(api.http, resume_if_started=True))["parts"]] == [1]
        status, code, message = await refused(api.http, upload, "complete", parts=[old[0]])
        assert (status, code) == (400, "invalid_parameter")
        assert "part_token of 1" in message
        status, code, message = await refused(api.http, upload, "complete", parts=[])
        assert (status, code, message) == (400, "missing_parameter", "parts: 1 of 3 are missing: 1")
        assert len(list((tmp_path / "uploads" / upload["upload_id"]).glob("prt_*"))) == 3
        await complete(api.http, upload, [new])
        assert (await api.http.get("/files/download/a.txt")).content == b"0123xxxxxx"


async def test_many_puts_of_one_part_at_once_leave_one_of_them(tmp_path: Path) -> None:
    size = 1 << 18
    async with running(tmp_path, run_jobs=False, settings=Settings(part_size=size)) as api:
        upload = await initiate(api.http, size=2 * size)
        versions = [bytes([65 + number]) * 2 * size for number in range(6)]
        sent = await asyncio.gather(*(put(api.http, part, v) for v in versions for part in upload["parts"]))
        for number in (1, 2):  # the token of the one that came last is the only one that counts
            mine = [token for token in sent if token["part_number"] == number]
            checked = [await post(api.http, upload, "parts/checkpoint", parts=[token]) for token in mine]
            assert sorted(answer.status_code for answer in checked) == [200] + [400] * 5
        await complete(api.http, upload, [])
        found = (await api.http.get("/files/download/a.txt")).content
        assert len(found) == 2 * size
        assert {found[:size], found[size:]} <= {version[:size] for version in versions}


async def test_tokens_that_are_wrong_are_named(tmp_path: Path) -> None:
    async with running(tmp_path, run_jobs=False, settings=SMALL) as api:
        upload = await initiate(api.http)
        one = await put(api.http, upload["parts"][0])
        wrong = {"part_number": 1, "part_token": "x"}
        early = {"part_number": 3, "part_token": "x"}
        beyond = {"part_number": 4, "part_token": "x"}
        for what in ("parts/checkpoint", "complete"):
            for parts, says in (
                ([wrong], "part_token of 1"),
                ([one, early], "part_token of 3"),
                ([beyond], "no part 4"),
                ([one, wrong], "twice"),
                ([{"part_number": 0, "part_token": "x"}], "part_number"),
                ([{**one, "etag": "x"}], "unknown key"),
            ):
                status, code, message = await refused(api.http, upload, what, parts=parts)
                assert (status, code) == (400, "invalid_parameter")
                assert says in message
        assert len((await initiate(api.http, resume_if_started=True))["parts"]) == 3  # all or none


async def test_a_wrong_checksum_leaves_a_corrupt_file(tmp_path: Path) -> None:
    async with running(tmp_path, run_jobs=False, settings=SMALL) as api:
        upload = await initiate(api.http)
        tokens = await put_all(api.http, upload)
        for nonsense in ("", "AAAA", "not base64", "ä", "AAAAAAAA"):
            said = await refused(api.http, upload, "complete", parts=tokens, integrity_checksum=nonsense)
            assert said[:2] == (400, "invalid_parameter"), nonsense
        status, code, message = await refused(
            api.http, upload, "complete", parts=tokens, integrity_checksum=checksum(b"other")
        )
        assert (status, code) == (400, "integrity_mismatch")
        assert checksum(b"other") in message
        assert checksum(TEXT) in message
        found = (await api.http.get("/files/metadata/a.txt")).json()
        assert (found["file_status"], found["is_valid"], found["file_uid"]) == (
            "FILE_STATUS_CORRUPT",
            False,
            upload["file_uid"],
        )
        status, errors = await api.refused("GET", "/files/download/a.txt")
        assert (status, errors[0]["code"]) == (400, "file_corrupt")
        job = {"name": "n", "pipeline_type": "batch", "pipeline_key": "babble"}
        job["inputs"] = {"data": [{"file_id": "a.txt"}]}  # type: ignore[assignment]
        status, errors = await api.refused("POST", "/batch/jobs", json=job)
        assert (status, [e["code"] for e in errors]) == (400, ["file_corrupt"])
        assert (await refused(api.http, upload, "complete", parts=tokens))[0] == 409
        assert on_disk(tmp_path) == []
        assert list((tmp_path / "contents").iterdir()) == []
        again = await initiate(api.http)
        await complete(api.http, again, await put_all(api.http, again), integrity_checksum=checksum(TEXT))
        assert (await api.http.get("/files/download/a.txt")).content == TEXT
        assert (await api.http.get("/files/info")).json()["num_files"] == 1


async def test_an_aborted_upload_takes_no_room(tmp_path: Path) -> None:
    async with running(tmp_path, run_jobs=False, settings=SMALL) as api:
        upload = await initiate(api.http)
        await put_all(api.http, upload)
        for _ in range(2):
            answer = await post(api.http, upload, "abort")
            assert (answer.status_code, answer.content) == (200, b"")
        assert on_disk(tmp_path) == []
        assert (await refused(api.http, upload, "complete", parts=[]))[:2] == (409, "conflict")
        assert (await refused(api.http, upload, "parts/urls", part_numbers=[1]))[0] == 409
        assert entries(await api.http.put(upload["parts"][0]["url"], content=TEXT[:4]))[0] == 409
        assert not (await initiate(api.http, resume_if_started=True))["is_resume"]


async def test_an_upload_that_ends_while_a_part_comes_in_has_no_place_for_it(tmp_path: Path) -> None:
    async with running(tmp_path, run_jobs=False, settings=SMALL) as api:
        upload = await initiate(api.http)

        async def slow() -> AsyncIterator[bytes]:
            yield b"01"
            assert (await post(api.http, upload, "abort")).status_code == 200
            yield b"23"

        late = await api.http.put(upload["parts"][0]["url"], content=slow(), headers={"content-length": "4"})
        assert entries(late)[0] == 409


async def test_one_request_at_a_time_ends_an_upload(tmp_path: Path) -> None:
    async with running(tmp_path, run_jobs=False, settings=Settings(part_size=1 << 20)) as api:
        content = os.urandom(4 << 20)
        upload = await initiate(api.http, size=len(content))
        tokens = await put_all(api.http, upload, content)
        answers = await asyncio.gather(*(post(api.http, upload, "complete", parts=tokens) for _ in range(4)))
        assert sorted(answer.status_code for answer in answers) == [200, 409, 409, 409]
        assert (await api.http.get("/files/download/a.txt")).content == content


async def test_another_organisation_sees_nothing_of_it(tmp_path: Path) -> None:
    keys = {name: f"the-key-of-{name}-here" for name in ("one", "two")}
    keys_file = tmp_path / "keys"
    keys_file.touch(0o600)
    keys_file.write_text("".join(f"{name}: {key}\n" for name, key in keys.items()))
    async with (
        opened(tmp_path / "data", keys_file=keys_file) as transport,
        client(transport, keys["one"]) as one,
        client(transport, keys["two"]) as two,
        client(transport) as nobody,
    ):
        upload = await initiate(one)
        tokens = await put_all(nobody, upload)
        calls: list[tuple[str, dict[str, Any]]] = [
            ("parts/urls", {"part_numbers": [1]}),
            ("parts/checkpoint", {"parts": tokens}),
            ("complete", {"parts": tokens}),
            ("abort", {}),
        ]
        for what, body in calls:
            assert (await refused(two, upload, what, **body))[:2] == (404, "upload_not_found")
            assert (await refused(one, {"upload_id": "upl_none"}, what, **body))[:2] == (404, "upload_not_found")
            assert (await refused(nobody, upload, what, **body))[:2] == (401, "unauthorized")
        theirs = await initiate(two, resume_if_started=True)
        assert not theirs["is_resume"]
        await complete(one, upload, tokens)
        assert entries(await two.get("/files/metadata/a.txt"))[0] == 404
        await complete(two, theirs, await put_all(two, theirs, b"abcdefghij"))
        assert (await one.get("/files/download/a.txt")).content == TEXT
        assert (await two.get("/files/download/a.txt")).content == b"abcdefghij"


async def test_what_is_abandoned_is_swept_after_a_week(tmp_path: Path) -> None:
    """The start of whatever runs jobs does it; here with a clock that has been moved."""
    now = Now()
    async with opened(tmp_path, clock=now) as transport, client(transport) as http:
        left, held, done = [await initiate(http, name) for name in ("left", "held", "done")]
        await put_all(http, left)
        await put_all(http, held)
        await complete(http, done, await put_all(http, done))
        (tmp_path / "uploads" / "upl_of_nobody").mkdir()
        os.utime(tmp_path / "uploads" / "upl_of_nobody", (0, 0))
        now.moment += KEPT - timedelta(minutes=1)
        await put(http, (await post(http, held, "parts/urls", part_numbers=[1])).json()["parts"][0])
        assert len(on_disk(tmp_path)) == 3
        now.moment += timedelta(minutes=2)
    with open_service(tmp_path, key=None, capacity=1, pipelines=None, settings=SMALL, clock=now) as service:
        task = asyncio.create_task(service.scheduler.run())
        async with client(httpx.ASGITransport(service.app)) as http:
            for _ in range(500):
                if len(on_disk(tmp_path)) == 1:
                    break
                await asyncio.sleep(0.01)
            service.scheduler.stop()
            await task
            assert on_disk(tmp_path) == [held["upload_id"]]
            assert (await refused(http, left, "complete", parts=[]))[:2] == (404, "upload_not_found")
            assert (await http.get("/files/download/done")).content == TEXT
            assert len((await initiate(http, "held", resume_if_started=True))["parts"]) == 3
    with sqlite3.connect(tmp_path / "service.db") as database:
        assert database.execute("SELECT COUNT(*) FROM upload_parts").fetchone() == (3,)
    database.close()


@pytest.mark.network
async def test_a_served_process_may_die_between_parts(tmp_path: Path) -> None:
    size = (8 << 20) + 5
    content = os.urandom(size)
    with served(tmp_path) as service:
        async with service.client() as api:
            upload = await initiate(api.http, size=size)
            async with httpx.AsyncClient(trust_env=False) as storage:
                one = await put(storage, upload["parts"][0], content)
            assert (await post(api.http, upload, "parts/checkpoint", parts=[one])).status_code == 200
        service.process.kill()
        service.process.wait()
    with served(tmp_path) as service:
        async with service.client() as api, httpx.AsyncClient(trust_env=False) as storage:
            again = await initiate(api.http, size=size, resume_if_started=True)
            assert [part["part_number"] for part in again["parts"]] == [2]
            two = await put(storage, again["parts"][0], content)
            await complete(api.http, again, [two], integrity_checksum=checksum(content))
            assert (await api.http.get("/files/download/a.txt")).content == content


def test_an_api_is_an_api(tmp_path: Path) -> None:
    """The description of the API says of the PUT that it needs no key."""
    with open_service(tmp_path, key=None, capacity=1, pipelines=None, settings=SMALL) as service:
        paths = service.app.openapi()["paths"]
    part = paths["/v0.5/files/uploads/{upload_id}/parts/{part_number}"]["put"]
    assert part["security"] == []
    assert "application/octet-stream" in part["requestBody"]["content"]


async def test_nothing_changes_while_another_process_ends_the_upload(tmp_path: Path) -> None:
    async with running(tmp_path, run_jobs=False, settings=SMALL) as api:
        upload = await initiate(api.http)
        tokens = await put_all(api.http, upload, b"xxxxxxxxxx")
        with PartFiles(DataFolder(tmp_path)).lock(upload["upload_id"]):
            for what in ("complete", "abort"):
                body = {"parts": tokens} if what == "complete" else {}
                assert (await refused(api.http, upload, what, **body))[:2] == (409, "conflict")
            assert entries(await api.http.put(upload["parts"][0]["url"], content=TEXT[:4]))[0] == 409
        await complete(api.http, upload, tokens)
        assert (await api.http.get("/files/download/a.txt")).content == b"xxxxxxxxxx"


async def test_of_two_uploads_that_end_at_once_one_gets_the_name(tmp_path: Path) -> None:
    content = os.urandom(4 << 20)
    async with running(tmp_path, run_jobs=False) as api:
        uploads = [await initiate(api.http, size=len(content)) for _ in range(2)]
        tokens = [await put_all(api.http, upload, content) for upload in uploads]
        ends = (post(api.http, up, "complete", parts=t) for up, t in zip(uploads, tokens, strict=True))
        assert sorted(answer.status_code for answer in await asyncio.gather(*ends)) == [200, 409]
        assert (await api.http.get("/files/download/a.txt")).content == content
        assert len((await api.http.get("/files/metadata")).json()["data"]) == 1
    assert len(list((tmp_path / "contents").iterdir())) == 1
    assert list((tmp_path / "incoming").iterdir()) == []


async def test_a_part_that_is_lost_can_be_sent_again(tmp_path: Path) -> None:
    async with running(tmp_path, run_jobs=False, settings=SMALL) as api:
        upload = await initiate(api.http)
        one = await put(api.http, upload["parts"][0])
        for path in (tmp_path / "uploads" / upload["upload_id"]).glob("prt_*"):
            path.unlink()
        rest = [await put(api.http, part) for part in upload["parts"][1:]]
        assert (await refused(api.http, upload, "complete", parts=[one, *rest]))[2] == "parts: 1 of 3 are missing: 1"
        await put(api.http, upload["parts"][0])
        await complete(api.http, upload, [one, *rest])
        assert (await api.http.get("/files/download/a.txt")).content == TEXT


async def test_a_body_that_is_too_long_is_not_read_to_its_end(tmp_path: Path) -> None:
    read = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal read
        while read < 1000:
            read += 1
            yield b"x"

    async with running(tmp_path, run_jobs=False, settings=SMALL) as api:
        upload = await initiate(api.http)
        headers = {"content-length": "4"}
        assert entries(await api.http.put(upload["parts"][0]["url"], content=endless(), headers=headers))[0] == 413
    assert read < 10


async def test_a_sweep_leaves_what_is_being_put_together(tmp_path: Path) -> None:
    """Another process may be at it for hours, and its folder does not change meanwhile."""
    async with running(tmp_path, run_jobs=False, settings=SMALL) as api:
        upload = await initiate(api.http)
        half = tmp_path / "incoming" / upload["file_uid"]
        orphan = tmp_path / "incoming" / "fil_orphan"
        for folder in (half, orphan):
            folder.mkdir()
            os.utime(folder, (0, 0))
        with open_service(tmp_path, key=None, capacity=1, pipelines=None, settings=SMALL) as other:
            other.app.state.context.files.sweep()
        assert (half.exists(), orphan.exists()) == (True, False)
        await post(api.http, upload, "abort")
        assert not half.exists()
