"""Uploads in parts over HTTP, from the first URL to the file."""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from service_client import BASE, entries, running
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

from reconciler.service.settings import Settings
from reconciler.service.uploads import MOST_PARTS

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


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
            ({"num_bytes": 300_000_000_000}, 400, "invalid_file_size"),
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
