"""What is read about jobs that FAILED: little, few at a time, and never an error."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from http_server import Answer, Request, answer, silence, talk
from nouns import recorded

from reconciler.job import RecordedJob
from reconciler.reconcile import failures
from reconciler.reconcile.failures import EVENTS, JOBS, read_failures

pytestmark = pytest.mark.network


def event(number: int) -> dict[str, Any]:
    return {"id": number, "created_at": f"2026-01-01T00:00:00.{number:06d}Z", "message": f"event {number}"}


def platform(count: int, *, newest_first: bool) -> Any:
    """A job with `count` events, and inputs of which the platform also sends one that has not failed."""
    events = [event(n) for n in range(count)]
    if newest_first:
        events.reverse()

    def script(request: Request) -> Answer:
        query = {k: v[0] for k, v in parse_qs(urlsplit(request.target).query).items()}
        if "/inputs" in request.target:
            rows = [
                {"id": "inp_1", "file_id": "a", "status": "failed", "error_message": "bad", "data": {"ref": "secret"}},
                {"id": "inp_2", "file_id": "b", "status": "completed", "data": {"ref": "secret"}},
            ]
            return answer(200, {"inputs": rows, "total": 2})
        offset, limit = int(query["offset"]), int(query["limit"])
        return answer(200, {"events": events[offset : offset + limit], "total": count})

    return script


def failed(count: int = 1) -> dict[str, RecordedJob]:
    return {
        f"n{i}": recorded("FAILED", job_id=f"job_{i}", observed={"failed_at": f"2026-01-01T00:{i:02d}:00Z"})
        for i in range(count)
    }


@pytest.mark.parametrize("newest_first", [True, False])
@pytest.mark.parametrize(("count", "requests"), [(0, 1), (7, 1), (100, 1), (5000, 2)])
def test_the_newest_events_take_two_requests_at_most(count: int, requests: int, newest_first: bool) -> None:
    told = talk(platform(count, newest_first=newest_first), lambda c: read_failures(c, failed()))
    log = told.result["n0"]
    kept = min(count, EVENTS)
    assert [e["message"] for e in log.events] == [f"event {n}" for n in range(count - kept, count)]
    assert log.events_left_out == count - kept
    assert log.absent is None
    assert sum("/events" in r.target for r in told.requests) == requests


def test_only_inputs_that_failed_are_kept_and_without_what_opens_them() -> None:
    told = talk(platform(1, newest_first=True), lambda c: read_failures(c, failed()))
    assert told.result["n0"].inputs == ({"id": "inp_1", "file_id": "a", "status": "failed", "error_message": "bad"},)


def test_only_jobs_that_failed_are_asked_about_and_of_many_the_last() -> None:
    records = failed(JOBS + 3) | {"ok": recorded("COMPLETED"), "gone": recorded("FAILED", gone=True)}
    told = talk(platform(1, newest_first=True), lambda c: read_failures(c, records))
    assert told.result.keys() == failed(JOBS + 3).keys()
    left_out = [name for name, log in told.result.items() if log.absent]
    assert left_out == ["n0", "n1", "n2"]
    assert str(JOBS) in told.result["n0"].absent


@pytest.mark.parametrize("said", [answer(404), answer(403), answer(200, b"<html>"), answer(200, {"events": [1]})])
def test_an_answer_that_is_none_is_said_and_ends_nothing(said: bytes) -> None:
    log = talk([said], lambda c: read_failures(c, failed()), budget=0).result["n0"]
    assert log.events == ()
    assert log.absent.startswith("its events could not be read: ")


def test_events_without_inputs_are_kept() -> None:
    script = platform(3, newest_first=True)
    told = talk(
        lambda r: answer(500) if "/inputs" in r.target else script(r), lambda c: read_failures(c, failed()), budget=0
    )
    log = told.result["n0"]
    assert len(log.events) == 3
    assert log.absent.startswith("its inputs could not be read: ")


def test_a_platform_that_does_not_answer_costs_little_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(failures, "_PATIENCE", 0.3)

    async def call(client: Any) -> Any:
        return await asyncio.wait_for(read_failures(client, failed(2)), 5)

    result = talk([silence], call).result
    assert all("too long" in log.absent for log in result.values())
