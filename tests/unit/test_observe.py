"""What the platform says about our jobs, and which files its outputs may become."""

from __future__ import annotations

import asyncio
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from http_server import Clock, Request, answer, reset, serve, talk
from hypothesis import given
from hypothesis import strategies as st
from nouns import recorded

from reconciler.client import Client, Transport
from reconciler.errors import PlatformError
from reconciler.facts import in_flight
from reconciler.job import Gone, Observation, Seen, Unreachable, parse_time
from reconciler.observe import observe, output_names, watch


def job_id(request: Request) -> str:
    return request.target.rpartition("/")[2]


def job(job_id: str, status: str) -> bytes:
    return answer(200, {"id": job_id, "name": "n", "status": status})


@pytest.mark.network
def test_each_job_is_asked_for_once_and_told_by_name() -> None:
    def script(request: Request) -> Any:
        return {"job_1": job("job_1", "RUNNING"), "job_2": answer(404, {"detail": "no"}), "job_3": reset}[
            job_id(request)
        ]

    told = talk(script, lambda c: observe(c, {"c": "job_3", "a": "job_1", "b": "job_2"}), budget=0)
    assert list(told.result) == ["a", "b", "c"]
    assert isinstance(told.result["a"], Seen)
    assert isinstance(told.result["b"], Gone)
    assert isinstance(told.result["c"], Unreachable)
    assert len(told.requests) == 3


@pytest.mark.network
def test_one_answer_for_all_ids_is_not_believed() -> None:
    told = talk([job("job_1", "COMPLETED")], lambda c: observe(c, {"a": "job_1", "b": "job_2"}), budget=0)
    assert isinstance(told.result["a"], Seen)
    assert told.result["b"] == Unreachable("the platform answered with another job, job_1")


@pytest.mark.network
def test_a_refused_key_stops_observing_at_once() -> None:
    told = talk([answer(401)], lambda c: observe(c, {f"n{i}": f"job_{i}" for i in range(30)}))
    assert isinstance(told.result, PlatformError)
    assert told.result.status == 401


def test_what_has_ended_is_never_asked_for_again() -> None:
    records = {
        s: recorded(s, job_id=f"job_{s}")
        for s in ("PENDING", "PREEMPTED", "NEW_ONE", "COMPLETED", "FAILED", "CANCELLED")
    }
    records["gone"] = recorded("RUNNING", gone=True)
    in_flight_ids = {s: f"job_{s}" for s in ("PENDING", "PREEMPTED", "NEW_ONE")}
    assert in_flight(records) == {**in_flight_ids, "gone": "job_1"}, "it may only have been out of sight"


@pytest.mark.network
def test_watching_goes_on_until_all_have_ended_less_and_less_often() -> None:
    asked: dict[str, int] = {}
    ends = {"job_1": 3, "job_2": 40}

    def script(request: Request) -> bytes:
        name = job_id(request)
        asked[name] = asked.get(name, 0) + 1
        if asked[name] == 2:
            return answer(503)  # no news
        return job(name, "COMPLETED" if asked[name] == ends[name] else "RUNNING")

    async def run() -> tuple[list[dict[str, Observation]], list[float]]:
        clock, polls = Clock(), Clock()
        async with serve(script) as server, Transport(server.url, "k", timing=clock.timing(0)) as transport:
            jobs = {"a": "job_1", "b": "job_2"}
            return [news async for news in watch(Client(transport), jobs, sleep=polls.sleep)], polls.slept

    news, pauses = asyncio.run(run())
    assert len(news) == 40
    assert [set(n) for n in news[:4]] == [{"a", "b"}, {"a", "b"}, {"a", "b"}, {"b"}]
    assert isinstance(news[1]["a"], Unreachable)
    assert asked == ends
    assert pauses == sorted(pauses)
    assert pauses[0] == 0.5
    assert 0.5 < pauses[-1] <= 15


def test_watching_nothing_ends_at_once() -> None:
    async def run() -> int:
        async with Transport("http://127.0.0.1:1", None) as transport:
            return len([news async for news in watch(Client(transport), {})])

    assert asyncio.run(run()) == 0


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("2026-04-14T10:00:00Z", datetime(2026, 4, 14, 10, tzinfo=UTC)),
        ("2026-04-14T10:00:00.5Z", datetime(2026, 4, 14, 10, 0, 0, 500_000, tzinfo=UTC)),
        ("2026-04-14T10:00:00.283818Z", datetime(2026, 4, 14, 10, 0, 0, 283_818, tzinfo=UTC)),
        ("2026-04-14T10:00:00.123456789Z", datetime(2026, 4, 14, 10, 0, 0, 123_456, tzinfo=UTC)),
        ("2026-04-14T12:00:00+02:00", datetime(2026, 4, 14, 10, tzinfo=UTC)),
        ("2026-04-14T10:00:00", datetime(2026, 4, 14, 10, tzinfo=UTC)),
        (None, None),
        ("", None),
        ("yesterday", None),
        ("2026-13-01T00:00:00Z", None),
        ("99999-01-01T00:00:00Z", None),
    ],
)
def test_times_are_read_with_any_digits_of_a_second(text: str | None, moment: datetime | None) -> None:
    assert parse_time(text) == moment


def row(name: Any, output_id: Any = "out_1") -> dict[str, Any]:
    return {"id": output_id, "data": {"filename": name, "ref": "/files/x"}}


@pytest.mark.parametrize(
    ("name", "file_name"),
    [
        ("pred_a_part_1.csv", "pred_a_part_1.csv"),
        ("größe.csv", "größe.csv"),
        ("../../.bashrc", "bashrc"),
        ("/etc/passwd", "passwd"),
        ("..\\..\\evil.exe", "evil.exe"),
        ("C:\\x", "x"),
        ("..", "output"),
        (".", "output"),
        ("a/", "output"),
        ("", "output"),
        ("-rf", "rf"),
        ("~/x", "x"),
        ("a\x00b", "a_b"),
        ("a\nb\x1b[2J", "a_b__2J"),
        ("$(id) `x` & *", "__id___x_____"),
        ("a\u202etxt.exe", "a_txt.exe"),
        (None, "output"),
        (5, "output"),
    ],
)
def test_the_name_of_an_output_is_made_harmless(name: Any, file_name: str) -> None:
    (found,) = output_names([row(name)])
    assert found == file_name


@pytest.mark.parametrize("data", [{}, {"data": None}, {"data": []}, {"data": "x"}])
def test_an_output_without_a_name_has_one(data: dict[str, Any]) -> None:
    assert output_names([{"id": "out_1", **data}]) == ["output"]


def test_outputs_of_one_name_are_told_apart_by_their_ids() -> None:
    rows = [row("a.csv", "out_1"), row("A.csv", "out_2"), row("b.csv", "out_3"), row("x/a.csv", "../out/4")]
    assert output_names(rows) == ["out_1-a.csv", "out_2-A.csv", "b.csv", "4-a.csv"]


def test_names_stay_apart_when_the_ids_do_not_help() -> None:
    rows = [row("a", "x"), row("a", "x"), row("a", None), row("a", ".."), row("x-a", "y"), row("a", 0)]
    assert len(set(output_names(rows))) == len(rows)


names = st.text(max_size=300) | st.sampled_from(["a", "A", "x-a", "0-a", "../a", ".a", "…" * 200, "💥" * 100])
ids = st.none() | st.integers(0, 3) | st.sampled_from(["x", "../x", "0", "", "…" * 200])


@given(st.lists(st.tuples(names, ids), max_size=8))
def test_no_outputs_can_leave_the_folder_or_overwrite_each_other(
    tmp_path_factory: pytest.TempPathFactory, outputs: list[tuple[str, Any]]
) -> None:
    found = output_names([row(name, output_id) for name, output_id in outputs])
    assert len({name.casefold() for name in found}) == len(outputs)
    for name in found:
        assert Path(name).name == name
        assert name[0] not in ".-"
        assert name.isprintable()
        assert len(os.fsencode(name)) <= 240  # a temporary name is a little longer
    folder = tmp_path_factory.getbasetemp()
    assert all((folder / name).resolve().parent == folder.resolve() for name in found)


def test_longest_names_can_be_made(tmp_path: Path) -> None:
    for name in output_names([row("💥" * 300, "…" * 300), row("💥" * 300, "…" * 300)]):
        (tmp_path / f".{name}.part").touch()
