"""What each call concludes from what the platform says, odd answers included."""

from __future__ import annotations

import asyncio
import hashlib
import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from http_server import KEY, Answer, Clock, Request, Told, answer, reset, serve, silence, talk

from reconciler.client import Client, Made, Refused, Transport, Unknown, api
from reconciler.client import transport as transport_module
from reconciler.errors import ExitCode, PlatformError, PlatformUnavailable
from reconciler.job import Gone, Seen, Unreachable, Upload

pytestmark = pytest.mark.network

WIRE = Path(__file__).parent.parent / "data" / "wire"
REQUEST = json.loads((WIRE / "create-job.request.json").read_text())
JOB = json.loads((WIRE / "create-job.response.json").read_text())
NAME = REQUEST["name"]
BODY = {k: v for k, v in REQUEST.items() if k != "name"}


def submit(*script: Answer, budget: float = 60) -> Told:
    return talk(script, lambda c: c.submit(NAME, BODY, "token-1"), budget=budget)


def observe(*script: Answer, job_id: str = JOB["id"]) -> Told:
    return talk(script, lambda c: c.observe(job_id), budget=0)


@pytest.mark.parametrize("status", [200, 201, 202])
def test_a_submission_sends_the_documented_request_and_reads_the_job(status: int) -> None:
    told = submit(answer(status, JOB))
    assert isinstance(told.result, Made)
    assert told.result.job.id == JOB["id"]
    (request,) = told.requests
    assert (request.method, request.target) == ("POST", "/v0.5/batch/jobs")
    assert request.json() == REQUEST
    assert request.headers["content-type"] == "application/json"
    assert request.headers["idempotency-key"] == "token-1"


NOT_THE_JOB = {
    "empty": b"",
    "null": None,
    "a list": [JOB],
    "html": b"<html>queued</html>",
    "cut off": json.dumps(JOB).encode()[:-20],
    "only a location": {},
    "without an id": {**JOB, "id": None},
    "an empty id": {**JOB, "id": ""},
    "a number for an id": {**JOB, "id": 5},
    "an id that climbs": {**JOB, "id": "../../x"},
    "an id that is a path": {**JOB, "id": ".."},
    "an id with a line end": {**JOB, "id": "job_1\n"},
    "an id of a megabyte": {**JOB, "id": "x" * 2**20},
    "another name": {**JOB, "name": "another"},
    "no status": {**JOB, "status": None},
    "nan": json.dumps(JOB).replace("0.8", "NaN").encode(),
    "beyond a float": json.dumps(JOB).replace("0.8", "1e999").encode(),
    "half a surrogate pair": json.dumps(JOB).replace("resnet50", "\\ud800").encode(),
    "5000 digits": json.dumps(JOB).replace("0.8", "9" * 5000).encode(),
    "deep": json.dumps(JOB).replace("0.8", "[" * 90_000 + "]" * 90_000).encode(),
}


@pytest.mark.parametrize("body", NOT_THE_JOB.values(), ids=list(NOT_THE_JOB))
def test_a_success_that_is_not_the_job_leaves_the_outcome_unknown(body: Any) -> None:
    told = submit(answer(201, body))
    assert isinstance(told.result, Unknown)
    assert len(told.requests) == 1


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308, 408, 425, 500, 501, 502, 503, 504, 507, 520])
def test_answers_that_do_not_exclude_a_job_leave_the_outcome_unknown(status: int) -> None:
    told = submit(answer(status, {"detail": "hm"}, Location="http://127.0.0.1:1/"), answer(201, JOB))
    assert isinstance(told.result, Unknown)
    assert len(told.requests) == 1


def test_a_reset_and_silence_leave_the_outcome_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport_module, "REQUEST_TIMEOUT", 0.2)
    for broken in (reset, silence):
        told = submit(broken, answer(201, JOB))
        assert isinstance(told.result, Unknown)
        assert len(told.requests) == 1


def test_an_answer_cut_anywhere_leaves_the_outcome_unknown() -> None:
    whole = answer(201, JOB)
    for length in range(0, len(whole), 23):
        told = submit(whole[:length])
        assert isinstance(told.result, Unknown), whole[:length]
        assert len(told.requests) == 1


@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 405, 409, 410, 413, 415, 422, 451])
def test_a_refusal_is_definite_and_carries_the_platforms_words(status: int) -> None:
    errors = {"errors": [{"code": "missing_parameter", "message": "no\x1b[2J name", "suggestion": "give one"}]}
    told = submit(answer(status, errors), answer(201, JOB))
    assert isinstance(told.result, Refused)
    error = told.result.error
    assert (error.status, error.code, error.hint) == (status, "missing_parameter", "give one")
    assert "no\\u001b[2J name" in error.message
    assert len(told.requests) == 1


def test_429_and_then_201_is_one_job() -> None:
    told = submit(answer(429, Retry_After="1"), answer(429), answer(201, JOB))
    assert isinstance(told.result, Made)
    assert len(told.requests) == 3


def test_429_for_ever_is_a_refusal_to_come_back_to() -> None:
    told = submit(answer(429, {"error": {"code": "RATE", "message": "slow down"}}, Retry_After="4"), budget=10)
    assert isinstance(told.result, Refused)
    assert told.result.error.exit_code == ExitCode.TRY_LATER
    assert told.slept == [4, 4]


def test_a_refused_connection_is_a_refusal_because_nothing_was_sent() -> None:
    async def run() -> Any:
        with socket.socket() as deaf:  # bound, but nobody listens
            deaf.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{deaf.getsockname()[1]}/v0.5"
            async with Transport(url, KEY, timing=Clock().timing(0)) as transport:
                return await Client(transport).submit(NAME, BODY, "token-1")

    result = asyncio.run(run())
    assert isinstance(result, Refused)
    assert result.error.exit_code == ExitCode.TRY_LATER
    assert "nothing was sent" in (result.error.hint or "")


def test_a_key_that_the_platform_echoes_is_in_no_outcome() -> None:
    for status in (400, 500):
        told = submit(answer(status, {"detail": f"Bearer {KEY}"}))
        assert KEY not in repr(vars(told.result.error) if isinstance(told.result, Refused) else told.result)


def test_observing_sees_the_job() -> None:
    told = observe(answer(200, JOB))
    assert isinstance(told.result, Seen)
    assert told.result.job.raw == JOB
    assert told.requests[0].target == f"/v0.5/batch/jobs/{JOB['id']}"


@pytest.mark.parametrize("body", [{"errors": [{"code": "NOT_FOUND", "message": "no such job"}]}, {"detail": "x"}, b""])
def test_a_job_is_gone_only_when_the_batch_api_says_so(body: Any) -> None:
    assert isinstance(observe(answer(404, body)).result, Gone)


@pytest.mark.parametrize(
    "said",
    [
        answer(404, b"<html>nginx</html>", content_type="text/html"),
        answer(500),
        answer(503, {"detail": "later"}),
        answer(418, {"detail": "teapot"}),
        answer(302, Location="http://127.0.0.1:1/"),
        answer(200, b""),
        answer(200, b"<html>"),
        answer(200, []),
        answer(200, {**JOB, "status": None}),
        answer(200, {**JOB, "id": "job_of_somebody_else"}),
        reset,
    ],
)
def test_anything_else_is_no_news(said: Answer) -> None:
    result = observe(said).result
    assert isinstance(result, Unreachable)
    assert result.reason


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_stops_observing(status: int) -> None:
    result = observe(answer(status, {"detail": "no"})).result
    assert isinstance(result, PlatformError)
    assert result.status == status


def test_an_odd_id_stays_one_segment_of_the_path() -> None:
    told = observe(answer(404), job_id="a/../b?c=d#e\n%2f\u00f6")
    path = told.requests[0].target
    assert path.startswith("/v0.5/batch/jobs/a%2F")
    assert path.removeprefix("/v0.5/batch/jobs/").isascii()
    assert not set("/?#\n ") & set(path.removeprefix("/v0.5/batch/jobs/"))


def rows(count: int) -> list[dict[str, Any]]:
    return [{**JOB, "id": f"job_{i}", "name": f"n{i}"} for i in range(count)]


def paged(pages: Callable[[int, int], dict[str, Any]]) -> Callable[[Request], Answer]:
    """A list that answers as `pages` says from offset and limit."""

    def script(request: Request) -> Answer:
        query = parse_qs(urlsplit(request.target).query)
        return answer(200, pages(int(query["offset"][0]), int(query["limit"][0])))

    return script


async def listed(client: Client) -> list[str]:
    return [job.id async for job in client.jobs()]


def list_jobs(pages: Callable[[int, int], dict[str, Any]]) -> Any:
    return talk(paged(pages), listed, budget=0).result


@pytest.mark.parametrize("count", [0, 1, 99, 100, 101, 250])
@pytest.mark.parametrize("cap", [100, 30])
def test_a_list_is_read_to_its_end_whatever_the_size_of_its_pages(count: int, cap: int) -> None:
    every = rows(count)
    ids = [row["id"] for row in every]

    def pages(offset: int, limit: int) -> dict[str, Any]:
        return {"jobs": every[offset:][: min(limit, cap)], "total": count}

    assert list_jobs(pages) == ids


@pytest.mark.parametrize("total", [None, "many", -1, 0.5, 10**30, 1000])
def test_a_total_that_is_missing_or_too_high_loses_no_job(total: Any) -> None:
    every = rows(250)
    assert len(list_jobs(lambda offset, limit: {"jobs": every[offset:][:limit], "total": total})) == 250


def test_a_total_that_counts_the_page_alone_loses_no_job() -> None:
    every = rows(250)

    def pages(offset: int, limit: int) -> dict[str, Any]:
        page = every[offset:][:limit]
        return {"jobs": page, "total": len(page)}

    assert len(list_jobs(pages)) == 250


def test_a_total_of_nothing_loses_no_job() -> None:
    every = rows(250)
    assert len(list_jobs(lambda offset, limit: {"jobs": every[offset:][:limit], "total": 0})) == 250


def test_rows_that_shift_between_pages_are_told_once() -> None:
    every = rows(250)
    grown = [{**JOB, "id": "job_new"}, *every]  # a new job comes in front after the first page

    def pages(offset: int, limit: int) -> dict[str, Any]:
        return {"jobs": (grown if offset else every)[offset:][:limit], "total": 251 if offset else 250}

    found = list_jobs(pages)
    assert len(found) == len(set(found))
    assert set(found) >= {row["id"] for row in every}


def test_a_platform_without_pages_is_read_when_one_page_holds_all() -> None:
    assert len(list_jobs(lambda offset, limit: {"jobs": rows(3)})) == 3
    assert len(list_jobs(lambda offset, limit: {"jobs": rows(100), "total": 100})) == 100


@pytest.mark.parametrize("total", [250, None])
def test_a_platform_that_ignores_the_offset_and_has_more_is_not_believed(total: int | None) -> None:
    result = list_jobs(lambda offset, limit: {"jobs": rows(100), "total": total})
    assert isinstance(result, PlatformUnavailable)
    assert "nothing new" in result.message


def test_a_list_that_never_ends_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "_PAGES", 5)
    result = list_jobs(lambda offset, limit: {"jobs": [{**JOB, "id": f"job_{offset}"}], "total": 10**9})
    assert isinstance(result, PlatformUnavailable)
    assert "pages" in result.message


@pytest.mark.parametrize(
    "said", [answer(200, []), answer(200, b"<html>"), answer(200, {"jobs": [None]}), answer(400), answer(500), reset]
)
def test_a_list_that_cannot_be_read_is_no_empty_list(said: Answer) -> None:
    assert isinstance(talk([said], listed, budget=0).result, PlatformError)


@pytest.mark.parametrize("row", [{"id": "x"}, {**JOB, "id": ".."}, {**JOB, "id": 5}, {**JOB, "status": None}])
def test_a_list_with_a_row_that_is_no_job_is_not_believed(row: dict[str, Any]) -> None:
    """It could be the job that somebody looks for."""
    told = talk([answer(200, {"jobs": [JOB, row], "total": 2})], listed)
    assert isinstance(told.result, PlatformUnavailable)


def test_events_come_oldest_first_and_once_whatever_their_order() -> None:
    def event(number: Any, at: Any) -> dict[str, Any]:
        return {"id": number, "created_at": at, "level": "INFO"}

    mixed = [
        event(3, "2026-01-02"),
        event(10, "2026-01-01"),
        event(9, "2026-01-01"),
        event(3, "2026-01-02"),
        event("x", None),
    ]
    told = talk([answer(200, {"events": mixed, "total": 5})], lambda c: c.events("job_1"))
    assert [e["id"] for e in told.result] == [9, 10, 3, "x"]


@pytest.mark.parametrize("status", [200, 404, 409])
def test_cancelling_what_has_ended_is_fine(status: int) -> None:
    told = talk([answer(503), answer(status, {})], lambda c: c.cancel("job_1"))
    assert told.result is (status == 200), "whether the platform accepted it"
    assert [r.target for r in told.requests] == ["/v0.5/batch/jobs/job_1/cancel"] * 2


@pytest.mark.parametrize("status", [401, 403, 500])
def test_a_cancel_that_failed_says_so(status: int) -> None:
    result = talk([answer(status)], lambda c: c.cancel("job_1"), budget=0).result
    assert isinstance(result, PlatformError)
    assert result.status == status


def test_a_retry_is_asked_for_once() -> None:
    assert talk([answer(200, {})], lambda c: c.retry("job_1")).result is None
    for failing in (answer(500), answer(409), reset):
        told = talk([failing, answer(200, {})], lambda c: c.retry("job_1"))
        assert isinstance(told.result, PlatformError)
        assert len(told.requests) == 1


@pytest.mark.parametrize("said", [answer(404), answer(200, []), answer(200, b"<html>")])
def test_what_is_no_schema_is_an_error(said: Answer) -> None:
    assert isinstance(talk([said], lambda c: c.pipeline_schema("ppl_1")).result, PlatformError)


@pytest.fixture
def upload(tmp_path: Path) -> Iterator[tuple[Upload, Path]]:
    path = tmp_path / "a.csv"
    path.write_bytes(b"1,2\n")
    digest = "sha256:" + hashlib.sha256(b"1,2\n").hexdigest()
    yield Upload("data/a.csv", "abc-a.csv", digest, 4, "text/csv"), path


@pytest.mark.parametrize(
    ("said", "there"),
    [
        (answer(404, {}), False),
        (answer(200, {"num_bytes": 4, "is_valid": True}), True),
        (answer(200, {"num_bytes": 4}), True),
        (answer(200, {"num_bytes": 5, "is_valid": True}), False),
        (answer(200, {"num_bytes": 4, "is_valid": False}), False),
        (answer(200, []), False),
    ],
)
def test_a_file_is_there_when_it_is_whole(upload: tuple[Upload, Path], said: Answer, there: bool) -> None:
    assert talk([said], lambda c: c.has_file(upload[0])).result is there


def test_an_upload_is_repeated_from_the_beginning_of_the_file(upload: tuple[Upload, Path]) -> None:
    taken = answer(200, {"is_valid": True, "file_id": "abc-a.csv", "file_uid": "fil_1"})
    told = talk([answer(503), reset, taken], lambda c: c.upload(*upload))
    assert told.result is None
    assert len(told.requests) == 3
    for request in told.requests:
        assert b'filename="abc-a.csv"' in request.body
        assert b"Content-Type: text/csv" in request.body
        assert b"\r\n\r\n1,2\n\r\n" in request.body


@pytest.mark.parametrize(
    "said",
    [
        answer(413, {"detail": "too large"}),
        answer(200, {"is_valid": False, "file_id": "abc-a.csv"}),
        answer(200, {"is_valid": True, "file_id": "other"}),
        answer(200, b""),
    ],
)
def test_an_upload_that_was_not_taken_as_named_is_an_error(upload: tuple[Upload, Path], said: Answer) -> None:
    result = talk([said], lambda c: c.upload(*upload)).result
    assert isinstance(result, PlatformError)
    assert "data/a.csv" in result.message


def test_an_upload_of_a_file_that_is_gone_is_an_os_error(upload: tuple[Upload, Path]) -> None:
    upload[1].unlink()
    told = talk([answer(200)], lambda c: c.upload(*upload))
    assert isinstance(told.result, FileNotFoundError)
    assert told.requests == []


def test_a_download_is_written_once(tmp_path: Path) -> None:
    target = tmp_path / "out.csv"
    output = {"data": {"ref": "/files/out.csv"}}
    assert talk([answer(200, b"1,2\n")], lambda c: c.download(output, target)).result == 4
    assert target.read_bytes() == b"1,2\n"
    assert isinstance(talk([answer(200, b"x")], lambda c: c.download(output, target)).result, FileExistsError)
    assert target.read_bytes() == b"1,2\n"


@pytest.mark.parametrize(
    "output", [{}, {"data": None}, {"data": {}}, {"data": {"ref": 5}}, {"data": {"ref": "file:///etc/passwd"}}]
)
def test_an_output_without_a_reference_to_follow_is_an_error(output: Any, tmp_path: Path) -> None:
    assert isinstance(talk([answer(200)], lambda c: c.download(output, tmp_path / "x")).result, PlatformError)


def test_many_submissions_at_once_are_each_one_request() -> None:
    def script(request: Request) -> Answer:
        return answer(201, {**JOB, "name": request.json()["name"], "id": f"job_{request.json()['name']}"})

    async def run() -> tuple[list[Any], list[Request]]:
        async with serve(script) as server, Transport(server.url, KEY, parallelism=8) as transport:
            client = Client(transport)
            made = await asyncio.gather(*(client.submit(f"n{i}", BODY, f"t{i}") for i in range(40)))
            return list(made), server.requests

    made, requests = asyncio.run(run())
    assert sorted(m.job.id for m in made) == sorted(f"job_n{i}" for i in range(40))
    assert len(requests) == 40
