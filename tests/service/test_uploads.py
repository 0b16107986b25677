"""Uploads in parts over HTTP, from the first URL to the file."""

from __future__ import annotations

import asyncio
import base64
import logging
import os
import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import google_crc32c
import httpx
import pytest
from service_client import BASE, entries, running, served

from reconciler.service.clock import Clock, system_clock
from reconciler.service.folder import DataFolder
from reconciler.service.parts import PartFiles
from reconciler.service.service import open_service
from reconciler.service.settings import Settings
from reconciler.service.uploads import KEPT, MOST_PARTS

pytestmark = pytest.mark.anyio
SMALL = Settings(part_size=4)
TEXT = b"0123456789"  # three parts of SMALL


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def checksum(content: bytes) -> str:
    return base64.b64encode(int(google_crc32c.value(content)).to_bytes(4, "big")).decode()


@dataclass
class Now:
    """A clock that stands still until it is moved."""

    moment: datetime = field(default_factory=lambda: datetime.now(UTC))

    def __call__(self) -> datetime:
        return self.moment


@asynccontextmanager
async def opened(
    data: Path,
    *,
    settings: Settings = SMALL,
    clock: Clock = system_clock,
    key: str | None = None,
    keys_file: Path | None = None,
) -> AsyncIterator[httpx.ASGITransport]:
    """The service with what `running` does not let choose."""
    with open_service(
        data, key=key, keys_file=keys_file, capacity=1, pipelines=None, settings=settings, clock=clock
    ) as service:
        yield httpx.ASGITransport(service.app)


def client(transport: httpx.ASGITransport, key: str | None = None) -> httpx.AsyncClient:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    return httpx.AsyncClient(transport=transport, base_url=BASE, headers=headers)


async def initiate(http: httpx.AsyncClient, name: str = "a.txt", size: int = len(TEXT), **more: Any) -> dict[str, Any]:
    body = {"filename": name, "file_type": "text/plain", "num_bytes": size, **more}
    answer = await http.post("/files/uploads/initiate", json=body)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def put(http: httpx.AsyncClient, part: dict[str, Any], content: bytes = TEXT) -> dict[str, Any]:
    """Send the part's bytes out of the whole `content`. Returns it as the other calls take it."""
    piece = content[part["offset"] : part["offset"] + part["length"]]
    answer = await http.put(part["url"], content=piece)
    assert (answer.status_code, answer.content) == (200, b""), answer.text
    token = answer.headers["etag"]
    assert token.startswith('"')
    assert token.endswith('"')
    return {"part_number": part["part_number"], "part_token": token}


async def put_all(http: httpx.AsyncClient, upload: dict[str, Any], content: bytes = TEXT) -> list[dict[str, Any]]:
    return [await put(http, part, content) for part in upload["parts"]]


async def post(http: httpx.AsyncClient, upload: dict[str, Any], what: str, **body: Any) -> httpx.Response:
    return await http.post(f"/files/uploads/{upload['upload_id']}/{what}", json=body)


async def complete(
    http: httpx.AsyncClient, upload: dict[str, Any], parts: Sequence[Any], **more: Any
) -> dict[str, Any]:
    answer = await post(http, upload, "complete", parts=list(parts), **more)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def refused(http: httpx.AsyncClient, upload: dict[str, Any], what: str, **body: Any) -> tuple[int, str, str]:
    status, errors = entries(await post(http, upload, what, **body))
    return status, errors[0]["code"], errors[0]["message"]


def on_disk(data: Path) -> list[str]:
    """The uploads that have bytes, and what is on its way to `contents`."""
    return [path.name for noun in ("uploads", "incoming") for path in (data / noun).iterdir()]


async def test_a_file_comes_in_parts(tmp_path: Path) -> None:
    async with running(tmp_path, run_jobs=False, settings=SMALL) as api:
        upload = await initiate(api.http, "t.csv", 10, file_type="text/csv")
        parts = upload.pop("parts")
        assert upload["upload_id"].startswith("upl_")
        assert upload["file_uid"].startswith("fil_")
        fixed = {k: v for k, v in upload.items() if k not in {"upload_id", "file_uid", "expires_at"}}
        assert fixed == {
            "file_name": "t.csv",
            "total_bytes": 10,
            "num_parts": 3,
            "part_size": 4,
            "is_resume": False,
            "strategy": "multipart",
            "integrity_algorithm": "crc32c",
        }
        assert [(p["part_number"], p["offset"], p["length"]) for p in parts] == [(1, 0, 4), (2, 4, 4), (3, 8, 2)]
        assert all(p["url"].startswith(f"{BASE}/files/uploads/{upload['upload_id']}/parts/") for p in parts)
        content = b"a,b\n1,2\n\r\n"
        tokens = [await put(api.http, part, content) for part in reversed(parts)]
        bare = [{**token, "part_token": token["part_token"].strip('"')} for token in tokens[:1]] + tokens[1:]
        assert (await api.http.get("/files/metadata/t.csv")).status_code == 404
        done = await complete(api.http, upload, bare, integrity_checksum=checksum(content))
        assert done == {
            "file_uid": upload["file_uid"],
            "file_name": "t.csv",
            "num_bytes": 10,
            "file_status": "Registered",
            "file_attributes": {"num_rows": 1, "num_columns": 2, "column_headers": ["a", "b"]},
        }
        assert (await api.http.get("/files/download/t.csv")).content == content
        found = (await api.http.get("/files/metadata/t.csv")).json()
        assert (found["file_status"], found["is_valid"]) == ("FILE_STATUS_REGISTERED", True)
        assert (await refused(api.http, upload, "complete", parts=tokens))[:2] == (409, "conflict")
        assert (await refused(api.http, upload, "abort"))[:2] == (409, "conflict")
        assert entries(await api.http.put(parts[0]["url"], content=TEXT[:4]))[0] == 409
    assert on_disk(tmp_path) == []


@pytest.mark.parametrize(("size", "strategy"), [(0, "simple"), (4, "simple"), (5, "multipart")])
async def test_small_and_empty_files_have_one_part(tmp_path: Path, size: int, strategy: str) -> None:
    async with running(tmp_path, run_jobs=False, settings=SMALL) as api:
        upload = await initiate(api.http, size=size, file_type="application/x-ndjson")
        assert upload["strategy"] == strategy
        await complete(api.http, upload, await put_all(api.http, upload))
        assert (await api.http.get("/files/download/a.txt")).content == TEXT[:size]
        assert (await api.http.get("/files/metadata/a.txt")).json()["file_type"] == "application/x-ndjson"


async def test_very_many_parts_become_larger_parts(tmp_path: Path) -> None:
    async with running(tmp_path, run_jobs=False, settings=SMALL) as api:
        upload = await initiate(api.http, size=MOST_PARTS * 10 + 1)
        assert len(upload["parts"]) == upload["num_parts"] <= MOST_PARTS
        assert sum(part["length"] for part in upload["parts"]) == MOST_PARTS * 10 + 1


async def test_an_upload_goes_on_after_a_restart(tmp_path: Path) -> None:
    async with running(tmp_path, settings=SMALL) as api:
        first = await initiate(api.http)
        tokens = [await put(api.http, part) for part in first["parts"][:2]]
        answer = await post(api.http, first, "parts/checkpoint", parts=tokens[:1])
        assert answer.json() == {"num_checkpointed": 1}
    async with running(tmp_path, settings=Settings(part_size=3)) as api:
        again = await initiate(api.http, resume_if_started=True)
        assert again["is_resume"]
        same = ("upload_id", "file_uid", "num_parts", "part_size", "total_bytes")
        assert [again[name] for name in same] == [first[name] for name in same]
        assert [part["part_number"] for part in again["parts"]] == [2, 3]
        last = await put(api.http, again["parts"][1])
        await complete(api.http, again, [tokens[1], last], integrity_checksum=checksum(TEXT))
        assert (await api.http.get("/files/download/a.txt")).content == TEXT
    assert on_disk(tmp_path) == []


async def test_with_a_checkpoint_of_all_parts_nothing_needs_to_be_named(tmp_path: Path) -> None:
    async with running(tmp_path, run_jobs=False, settings=SMALL) as api:
        upload = await initiate(api.http)
        tokens = await put_all(api.http, upload)
        for _ in range(2):
            assert (await post(api.http, upload, "parts/checkpoint", parts=tokens)).json() == {"num_checkpointed": 3}
        assert (await initiate(api.http, resume_if_started=True))["parts"] == []
        await complete(api.http, upload, [])


async def test_a_name_is_never_replaced(tmp_path: Path) -> None:
    async with running(tmp_path, run_jobs=False, settings=SMALL) as api:
        slow, fast = await initiate(api.http), await initiate(api.http)
        assert slow["upload_id"] != fast["upload_id"]
        tokens = await put_all(api.http, slow)
        await complete(api.http, fast, await put_all(api.http, fast, b"abcdefghij"))
        body = {"filename": "a.txt", "file_type": "text/plain", "num_bytes": 10}
        for resume in (False, True):
            again = await api.refused("POST", "/files/uploads/initiate", json=body | {"resume_if_started": resume})
            assert (again[0], again[1][0]["code"]) == (409, "conflict")
        assert (await refused(api.http, slow, "complete", parts=tokens))[:2] == (409, "conflict")
        assert (await api.http.get("/files/download/a.txt")).content == b"abcdefghij"
        await api.upload("a.txt", b"the simple way replaces")
        await api.http.delete("/files/delete/a.txt")
        await complete(api.http, slow, tokens)
        assert (await api.http.get("/files/download/a.txt")).content == TEXT


@pytest.mark.parametrize("other", [{"num_bytes": 11}, {"file_type": "text/csv"}])
async def test_only_the_same_upload_goes_on(tmp_path: Path, other: dict[str, Any]) -> None:
    async with running(tmp_path, run_jobs=False, settings=SMALL) as api:
        first = await initiate(api.http)
        body = {"filename": "a.txt", "file_type": "text/plain", "num_bytes": 10, "resume_if_started": True, **other}
        status, errors = await api.refused("POST", "/files/uploads/initiate", json=body)
        assert (status, errors[0]["code"]) == (409, "conflict")
        assert first["upload_id"] in errors[0]["message"]
        assert (await post(api.http, first, "abort")).status_code == 200
        assert not (await initiate(api.http, **{**body, "name": "a.txt", "size": 10, **other}))["is_resume"]


async def test_what_cannot_be_uploaded_is_refused_at_once(tmp_path: Path) -> None:
    async with running(tmp_path, run_jobs=False, settings=Settings(direct_limit=10)) as api:
        good = {"filename": "a", "file_type": "text/plain", "num_bytes": 10}
        for change, status, code in (
            ({"num_bytes": 11}, 413, "invalid_file_size"),
            ({"num_bytes": -1}, 400, "invalid_parameter"),
            ({"num_bytes": "10"}, 400, "invalid_parameter"),
            ({"file_type": "application/zip"}, 400, "invalid_file_type"),
            ({"filename": ""}, 400, "invalid_parameter"),
            ({"filename": "../a"}, 400, "invalid_parameter"),
            ({"part_size": 1}, 400, "invalid_parameter"),
            ({"resume_if_started": "yes"}, 400, "invalid_parameter"),
        ):
            found = await api.refused("POST", "/files/uploads/initiate", json=good | change)
            assert (found[0], found[1][0]["code"]) == (status, code), change
        await initiate(api.http)


async def test_a_url_is_good_for_its_part_for_an_hour(tmp_path: Path) -> None:
    now = Now()
    async with (
        opened(tmp_path, clock=now, key="a key of the service") as transport,
        client(transport) as storage,
        client(transport, "a key of the service") as http,
    ):
        upload = await initiate(http)
        one, two, _ = upload["parts"]
        base, _, query = one["url"].partition("?")
        forged = [
            base,
            f"{base}?signature=x",
            f"{base}?expires=99999999999&{query.partition('&')[2]}",
            f"{base}?{two['url'].partition('?')[2]}",
            f"{two['url'].partition('?')[0]}?{query}",
            one["url"].replace(upload["upload_id"], "upl_other"),
        ]
        for url in forged:
            status, errors = entries(await storage.put(url, content=TEXT[:4]))
            assert (status, errors[0]["code"]) == (403, "invalid_signature"), url
            assert entries(await http.put(url, content=TEXT[:4]))[0] == 403
        assert entries(await storage.get(one["url"]))[0] == 401
        tokens = [await put(storage, one)]
        assert datetime.fromisoformat(two["expires_at"]) - now() <= timedelta(hours=1)
        now.moment += timedelta(hours=1, seconds=1)
        status, errors = entries(await storage.put(two["url"], content=TEXT[4:8]))
        assert (status, errors[0]["code"]) == (403, "link_expired")
        assert "parts/urls" in errors[0]["suggestion"]
        asked = [3, 2, 3]
        fresh = (await post(http, upload, "parts/urls", part_numbers=asked)).json()["parts"]
        assert [part["part_number"] for part in fresh] == asked
        for numbers in ([4], [0], [1.5], ["1"], [1] * 10_001):
            assert (await refused(http, upload, "parts/urls", part_numbers=numbers))[0] == 400
        tokens += [await put(storage, part) for part in fresh[:2]]
        await complete(http, upload, tokens)


async def test_no_log_has_the_url(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "reconciler")
    async with opened(tmp_path) as transport, client(transport) as http:
        upload = await initiate(http)
        await put(http, upload["parts"][0])
        (tmp_path / "uploads" / upload["upload_id"]).rename(tmp_path / "away")
        (tmp_path / "uploads" / upload["upload_id"]).write_text("no folder")  # now the PUT breaks
        with pytest.raises(OSError, match="exists"):
            await http.put(upload["parts"][1]["url"], content=TEXT[4:8])
    ours = [record.getMessage() for record in caplog.records if record.name.startswith("reconciler")]
    assert ours
    assert not any("signature" in message for message in ours)


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
