"""Files over HTTP."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from PIL import Image
from service_client import running

from reconciler.service.errors import ApiError
from reconciler.service.links import LIFETIME, Links
from reconciler.service.settings import Settings

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_a_file_goes_in_and_comes_out(tmp_path: Path) -> None:
    async with running(tmp_path, run_jobs=False) as api:
        handle = await api.upload("a.txt", b"hello")
        assert (handle["is_valid"], handle["file_id"]) == (True, "a.txt")
        assert (await api.http.get("/files/download/a.txt")).content == b"hello"
        info = (await api.http.get("/files/info")).json()
        assert (info["num_files"], info["num_bytes"], info["num_ingested"]) == (1, 5, 0)
        assert abs(info["last_updated"] - datetime.now(UTC).timestamp()) < 60
        gone = await api.http.delete("/files/delete/a.txt")
        assert gone.json() == handle
        assert (await api.http.get("/files/info")).json()["num_files"] == 0
    assert list((tmp_path / "contents").iterdir()) == []


async def test_the_same_name_gets_new_content_and_a_new_uid(tmp_path: Path) -> None:
    async with running(tmp_path, run_jobs=False) as api:
        first = await api.upload("a.txt", b"1")
        second = await api.upload("a.txt", b"2")
        assert first["file_uid"] != second["file_uid"]
        assert (await api.http.get("/files/download/a.txt")).content == b"2"
        assert (await api.http.get("/files/metadata")).json()["data"][0]["file_uid"] == second["file_uid"]
    assert [path.name for path in (tmp_path / "contents").iterdir()] == [second["file_uid"]]


async def test_attributes_are_read_from_the_content(tmp_path: Path) -> None:
    async with running(tmp_path, run_jobs=False) as api:
        image = io.BytesIO()
        Image.new("RGBA", (7, 5)).save(image, "PNG")
        await api.upload("i.png", image.getvalue(), "image/png")
        await api.upload("t.csv", b'a,"b\nc"\r\n1,2\r\n\r\n3,4', "text/csv")
        await api.upload("broken.png", b"no image", "image/png")
        await api.upload("latin.csv", b"\xe4\n", "text/csv")

        found = {f["file_id"]: f for f in (await api.http.get("/files/metadata")).json()["data"]}
        assert list(found) == ["latin.csv", "broken.png", "t.csv", "i.png"]
        attributes = {name: f["file_attributes"] for name, f in found.items()}
        assert attributes == {
            "i.png": {"width": 7, "height": 5, "num_channels": 4, "channel_bands": ["R", "G", "B", "A"]},
            "t.csv": {"num_rows": 2, "num_columns": 2, "column_headers": ["a", "b\nc"]},
            "broken.png": {},
            "latin.csv": {},
        }
        one = (await api.http.get("/files/metadata/t.csv")).json()
        assert one == found["t.csv"]
        assert (one["file_status"], one["file_type"]) == ("FILE_STATUS_REGISTERED", "text/csv")


@pytest.mark.parametrize("name", ["..", "a/b", "a\\b", "a\x07b", "ä" * 201])
async def test_a_name_that_is_none_is_refused(tmp_path: Path, name: str) -> None:
    async with running(tmp_path, run_jobs=False) as api:
        boundary = b'--x\r\ncontent-disposition: form-data; name=f; filename="' + name.encode()
        body = boundary + b'"\r\ncontent-type: text/plain\r\n\r\nhi\r\n--x--\r\n'
        headers = {"content-type": "multipart/form-data; boundary=x"}
        status, errors = await api.refused("POST", "/files", content=body, headers=headers)
        assert (status, errors[0]["code"]) == (400, "invalid_parameter")
    assert list((tmp_path / "incoming").iterdir()) == []


async def test_uploads_that_are_none_are_refused(tmp_path: Path) -> None:
    async with running(tmp_path, run_jobs=False, settings=Settings(upload_limit=10)) as api:
        jsonl = {"file": ("a.jsonl", b"{}", "application/x-ndjson")}
        status, errors = await api.refused("POST", "/files", files=jsonl)
        assert (status, errors[0]["code"]) == (400, "invalid_file_type")
        for size in (11, 200_000):
            big = {"file": ("a.txt", b"x" * size, "text/plain")}
            status, errors = await api.refused("POST", "/files", files=big)
            assert (status, errors[0]["code"]) == (413, "invalid_file_size")
        assert (await api.refused("POST", "/files", json={}))[0] == 400
        broken = {"content-type": "multipart/form-data; boundary=x"}
        assert (await api.refused("POST", "/files", content=b"--y", headers=broken))[0] == 400
        field = {"content-type": "multipart/form-data; boundary=x"}
        no_file = b"--x\r\ncontent-disposition: form-data; name=f\r\n\r\nhi\r\n--x--\r\n"
        status, errors = await api.refused("POST", "/files", content=no_file, headers=field)
        assert (status, errors[0]["code"]) == (400, "missing_parameter")
        await api.upload("fits.txt", b"x" * 10)


async def test_cursors_walk_all_files_both_ways(tmp_path: Path) -> None:
    async with running(tmp_path, run_jobs=False) as api:
        for number in range(5):
            await api.upload(f"f{number}")

        async def page(**query: str | int) -> tuple[list[str], str | None, str | None]:
            answer = (await api.http.get("/files/metadata", params={"limit": 2, **query})).json()
            assert answer["has_more"] == (answer["next_cursor"] is not None)
            return [f["file_id"] for f in answer["data"]], answer["next_cursor"], answer["prev_cursor"]

        first, after, none = await page()
        assert (first, none) == (["f4", "f3"], None)
        assert after is not None
        first_after = after
        await api.http.delete("/files/delete/f3")
        second, after, before = await page(after=after)
        assert second == ["f2", "f1"]
        assert after is not None
        assert before is not None
        assert (await page(after=after))[:2] == (["f0"], None)
        assert (await page(before=before))[0] == ["f4"]
        _, oldest, _ = await page(after=first_after)
        assert oldest is not None
        assert (await page(after=first_after, before=oldest))[0] == ["f2"]  # between the two
        assert (await api.refused("GET", "/files/metadata", params={"after": "nonsense"}))[0] == 400


async def test_a_link_works_for_an_hour_and_for_its_own_content(tmp_path: Path) -> None:
    async with running(tmp_path, run_jobs=False) as api:
        await api.upload("a", b"secret")
        job = await api.submit("babble", inputs={"data": [{"file_id": "a"}]})
        ref = (await api.rows(job["id"], "inputs"))[0]["data"]["ref"]
        assert ref.startswith("/")
        url = f"http://service/v0.5{ref}"
        assert (await api.http.get(url)).content == b"secret"
        forged = url[:-1] + ("0" if url[-1] != "0" else "1")
        status, errors = await api.refused("GET", forged)
        assert (status, errors[0]["code"]) == (403, "invalid_signature")


def test_a_link_expires() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    links = Links("secret", lambda: now)
    made = links.make("out_1")
    assert made.expires_at == "2026-01-01T01:00:00.000000Z"
    query = dict(pair.split("=") for pair in made.ref.partition("?")[2].split("&"))
    expires, signature = int(query["expires"]), query["signature"]
    now += LIFETIME - timedelta(seconds=1)
    links.check("out_1", expires, signature)
    for content_id, until in (("out_2", expires), ("out_1", expires + 1)):
        with pytest.raises(ApiError):
            links.check(content_id, until, signature)
    now += timedelta(seconds=1)
    with pytest.raises(ApiError, match="expired"):
        links.check("out_1", expires, signature)


async def test_a_small_file_may_come_inside_of_json(tmp_path: Path) -> None:
    async with running(tmp_path, run_jobs=False, settings=Settings(upload_limit=10)) as api:
        body = {"filename": "a.csv", "file_type": "text/csv", "data": "YSxiCjEsMgo="}
        first = await api.http.post("/files/base64", json=body)
        assert first.status_code == 200
        assert set(first.json()) == {"is_valid", "file_id", "file_uid"}
        found = (await api.http.get("/files/metadata/a.csv")).json()
        assert (found["file_type"], found["file_attributes"]["num_rows"]) == ("text/csv", 1)
        second = await api.http.post("/files/base64", json=body | {"data": "eA=="})
        assert second.json()["file_uid"] != first.json()["file_uid"]
        assert (await api.http.get("/files/download/a.csv")).content == b"x"
        for change, status, code in (
            ({"data": "eA="}, 400, "invalid_parameter"),
            ({"data": "eA==\n"}, 400, "invalid_parameter"),
            ({"data": "e_-="}, 400, "invalid_parameter"),
            ({"data": "ä"}, 400, "invalid_parameter"),
            ({"data": None}, 400, "invalid_parameter"),
            ({"data": "eHh4eHh4eHh4eHg="}, 413, "invalid_file_size"),
            ({"file_type": "application/x-ndjson"}, 400, "invalid_file_type"),
            ({"filename": ""}, 400, "invalid_parameter"),
            ({"size": 1}, 400, "invalid_parameter"),
        ):
            refused = await api.refused("POST", "/files/base64", json=body | change)
            assert (refused[0], refused[1][0]["code"]) == (status, code), change


async def test_base64_has_a_limit_of_its_own(tmp_path: Path) -> None:
    settings = Settings(body_limit=1000, base64_limit=3000)
    async with running(tmp_path, run_jobs=False, settings=settings) as api:
        body = {"filename": "a", "file_type": "text/plain", "data": "AAAA" * 500}
        assert (await api.http.post("/files/base64", json=body)).status_code == 200
        body["data"] *= 2
        status, errors = await api.refused("POST", "/files/base64", json=body)
        assert (status, errors[0]["code"]) == (413, "payload_too_large")
        assert (await api.refused("POST", "/batch/jobs", json={"name": "n" * 1500}))[0] == 413


async def test_a_long_body_is_read_whole_and_strictly(tmp_path: Path) -> None:
    async with running(tmp_path, run_jobs=False) as api:
        text = '{"filename": "a", "file_type": "text/plain", "data": "' + "AAAA" * 800_000 + '"'
        headers = {"content-type": "application/json"}
        twice = await api.refused("POST", "/files/base64", content=text + ', "data": ""}', headers=headers)
        assert twice[0] == 400
        assert "twice" in twice[1][0]["message"]
        assert (await api.http.post("/files/base64", content=text + "}", headers=headers)).status_code == 200
        assert (await api.http.get("/files/metadata/a")).json()["num_bytes"] == 2_400_000


async def test_a_range_of_the_bytes_may_be_asked_for(tmp_path: Path) -> None:
    async with running(tmp_path, run_jobs=False) as api:
        await api.upload("a.txt", b"0123456789")
        for asked, status, content in (
            ("bytes=2-4", 206, b"234"),
            ("bytes=7-", 206, b"789"),
            ("bytes=-2", 206, b"89"),
            ("bytes=10-", 416, None),
        ):
            answer = await api.http.get("/files/download/a.txt", headers={"range": asked})
            assert answer.status_code == status
            assert content is None or answer.content == content


async def test_files_of_one_type_are_walked_alone(tmp_path: Path) -> None:
    async with running(tmp_path, run_jobs=False) as api:
        for number in range(3):
            await api.upload(f"{number}.csv", b"a", "text/csv")
            await api.upload(f"{number}.txt", b"a")

        async def page(**query: str | int) -> tuple[list[str], str | None, str | None]:
            query = {"limit": 2, "file_type": "text/csv", **query}
            answer = (await api.http.get("/files/metadata", params=query)).json()
            return [f["file_id"] for f in answer["data"]], answer["next_cursor"], answer["prev_cursor"]

        first, after, none = await page()
        assert (first, none) == (["2.csv", "1.csv"], None)
        assert after is not None
        second, none, before = await page(after=after)
        assert (second, none) == (["0.csv"], None)
        assert before is not None
        assert (await page(before=before))[0] == first
        assert await page(file_type="video/mp4") == ([], None, None)
        assert len((await page(file_type="", limit=10))[0]) == 6
