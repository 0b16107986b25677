"""Many jobs from few pages, and no job lost or misjudged by a list that is wrong, old, in motion, or not there."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from http_server import Clock, Request, Told, answer, serve, talk
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.client import Client, Transport
from reconciler.job import Gone, JsonObject, Observation, Seen, Unreachable
from reconciler.observe import observe, watch

NONE: Mapping[str, Any] = {}
Lie = Callable[[str, list[JsonObject]], list[JsonObject]]


def job(number: int, status: str = "RUNNING", **more: Any) -> JsonObject:
    return {
        "id": f"job_{number}",
        "name": f"n{number}",
        "status": status,
        "parameters": {"worker": {"config": {"value": number}}},
        "retry_count": 0,
        "updated_at": "2026-01-01T10:00:00Z",
        "error": None,
        **more,
    }


@dataclass
class Platform:
    """A platform with a list of jobs, newest first, and a page size of its own. `lie` changes the rows of a page."""

    jobs: list[JsonObject]
    page: int = 100
    lie: Lie = lambda query, rows: rows
    total: Callable[[int], int] = lambda total: total
    list_status: int = 200
    by_status: bool = True
    asked: Counter[str] = field(default_factory=Counter)

    def __call__(self, request: Request) -> Any:
        split = urlsplit(request.target)
        if not split.path.endswith("/batch/jobs"):
            self.asked["get"] += 1
            job_id = split.path.rpartition("/")[2]
            self.asked[job_id] += 1
            found = [j for j in self.jobs if j["id"] == job_id]
            return answer(200, found[0]) if found else answer(404, {"detail": "no"})
        self.asked["list"] += 1
        if self.list_status != 200:
            return answer(self.list_status, {"detail": "no"})
        query = dict(parse_qsl(split.query))
        rows = [j for j in self.jobs if not self.by_status or query.get("status") in (None, j["status"])]
        offset, limit = int(query["offset"]), min(int(query["limit"]), self.page)
        shown = self.lie(split.query, rows[offset : offset + limit])
        return answer(200, {"total": self.total(len(rows)), "offset": offset, "limit": limit, "jobs": shown})


def ids(jobs: Sequence[JsonObject]) -> dict[str, str]:
    return {j["name"]: j["id"] for j in jobs}


def known(jobs: Sequence[JsonObject], **then: Any) -> dict[str, JsonObject]:
    return {j["id"]: {**j, **then} for j in jobs}


def seen(platform: Platform, jobs: Sequence[JsonObject], last: Mapping[str, JsonObject] | None = None) -> Told:
    """Observe `jobs`, which were RUNNING when they were seen last."""
    last = known(jobs, status="RUNNING") if last is None else last
    return talk(platform, lambda c: observe(c, ids(jobs), last), budget=0)


def statuses(told: Told) -> dict[str, str]:
    return {name: s.job.status if isinstance(s, Seen) else type(s).__name__ for name, s in told.result.items()}


def truth(platform: Platform, jobs: Sequence[JsonObject]) -> dict[str, str]:
    now = {j["id"]: j["status"] for j in platform.jobs}
    return {j["name"]: now.get(j["id"], "Gone") for j in sorted(jobs, key=lambda j: str(j["name"]))}


@pytest.mark.network
def test_many_jobs_are_read_from_pages_one_request_for_a_hundred() -> None:
    mine = [job(n) for n in range(1000)]
    told = seen(platform := Platform(mine), mine)
    assert statuses(told) == truth(platform, mine)
    assert platform.asked == {"list": 10}


@pytest.mark.network
def test_few_jobs_are_asked_for_by_id() -> None:
    mine = [job(n) for n in range(3)]
    told = seen(platform := Platform([*mine, *(job(n) for n in range(50, 90))]), mine)
    assert statuses(told) == truth(platform, mine)
    assert platform.asked["list"] == 0
    assert platform.asked["get"] == 3


@pytest.mark.network
def test_in_a_long_history_only_the_pages_of_what_is_in_flight_are_read() -> None:
    mine = [job(n) for n in range(150)]
    history = [job(n, "COMPLETED") for n in range(1000, 21_000)]
    told = seen(platform := Platform(history + mine), mine)
    assert statuses(told) == truth(platform, mine)
    assert platform.asked == {"list": 3}, "a look at the whole list, and two pages of those that are RUNNING"


@pytest.mark.network
def test_a_platform_that_takes_no_status_costs_a_few_looks_and_no_job() -> None:
    mine = [job(n) for n in range(30)]
    history = [job(n, "COMPLETED") for n in range(1000, 6000)]
    told = seen(platform := Platform(history + mine, by_status=False), mine)
    assert statuses(told) == truth(platform, mine)
    assert platform.asked["list"] <= 5
    assert platform.asked["get"] == 30


@pytest.mark.network
def test_small_pages_are_taken_as_they_come() -> None:
    mine = [job(n) for n in range(40)]
    told = seen(platform := Platform(mine, page=20), mine)
    assert statuses(told) == truth(platform, mine)
    assert platform.asked == {"list": 2}


@pytest.mark.network
@pytest.mark.parametrize("status", [404, 405, 403, 500])
def test_without_a_list_each_job_is_asked_for(status: int) -> None:
    mine = [job(n) for n in range(12)]
    told = seen(platform := Platform(mine, list_status=status), mine)
    assert statuses(told) == truth(platform, mine)
    assert platform.asked["get"] == 12


@pytest.mark.network
def test_jobs_that_a_list_hides_are_asked_for_and_are_not_gone() -> None:
    mine = [job(n) for n in range(60)]
    hidden = {f"job_{n}" for n in range(0, 60, 7)}
    platform = Platform(mine, lie=lambda query, rows: [r for r in rows if r["id"] not in hidden])
    told = seen(platform, mine)
    assert statuses(told) == truth(platform, mine)
    assert platform.asked["get"] == len(hidden)


@pytest.mark.network
def test_a_job_that_is_really_gone_is_told_by_its_own_answer_only() -> None:
    mine = [job(n) for n in range(20)]
    told = seen(Platform(mine[1:]), mine)
    assert told.result["n0"] == Gone()
    assert statuses(told)["n1"] == "RUNNING"


@pytest.mark.network
@pytest.mark.parametrize("total", [lambda n: 0, lambda n: 10**9, lambda n: 17, lambda n: n - 1])
def test_a_total_that_lies_loses_no_job_and_reads_no_pages_without_end(total: Callable[[int], int]) -> None:
    mine = [job(n) for n in range(250)]
    told = seen(platform := Platform(mine, total=total), mine)
    assert statuses(told) == truth(platform, mine)
    assert sum(platform.asked[k] for k in ("list", "get")) <= 250 + 5


@pytest.mark.network
def test_a_platform_that_ignores_the_offset_is_read_to_its_claimed_end_at_most() -> None:
    mine = [job(n) for n in range(250)]
    told = seen(platform := Platform(mine, lie=lambda query, rows: mine[:100]), mine)
    assert statuses(told) == truth(platform, mine)
    assert platform.asked["list"] == 3


@pytest.mark.network
def test_parameters_that_rows_leave_out_are_those_that_were_seen_before() -> None:
    mine = [job(n) for n in range(30)]
    told = seen(platform := Platform(mine, lie=lambda query, rows: [{**r, "parameters": {}} for r in rows]), mine)
    assert platform.asked["get"] == 0
    assert told.result["n7"].job.raw == mine[7]
    assert told.result["n7"].job.parameters == mine[7]["parameters"]


@pytest.mark.network
def test_what_a_short_row_says_of_an_end_is_asked_for_in_full() -> None:
    mine = [job(n, "FAILED" if n == 3 else "RUNNING", error={"code": "broken"} if n == 3 else None) for n in range(30)]

    def short(query: str, rows: list[JsonObject]) -> list[JsonObject]:
        return [{k: r[k] for k in ("id", "name", "status", "updated_at")} for r in rows]

    told = seen(platform := Platform(mine, lie=short), mine)
    assert [told.result[f"n{n}"].job.raw for n in range(30)] == mine
    assert platform.asked["get"] == platform.asked["job_3"] == 1


@pytest.mark.network
def test_an_end_from_before_a_retry_is_not_believed() -> None:
    mine = [job(n, updated_at="2026-01-01T12:00:00Z", retry_count=1) for n in range(30)]
    before = [{**r, "status": "FAILED", "updated_at": "2026-01-01T11:00:00Z", "retry_count": 0} for r in mine]
    told = seen(platform := Platform(mine, lie=lambda query, rows: before), mine)
    assert statuses(told) == truth(platform, mine)
    assert set(statuses(told).values()) == {"RUNNING"}


@pytest.mark.network
def test_an_end_without_a_time_is_asked_for() -> None:
    mine = [{k: v for k, v in job(n, "COMPLETED").items() if k != "updated_at"} for n in range(8)]
    told = seen(platform := Platform(mine), mine)
    assert statuses(told) == truth(platform, mine)
    assert platform.asked["get"] == 8


@pytest.mark.network
def test_two_pages_that_disagree_about_a_job_are_settled_by_asking() -> None:
    mine = [job(n) for n in range(150)]
    twice = {**mine[20], "status": "PENDING"}
    told = seen(
        platform := Platform(mine, lie=lambda query, rows: [*rows, twice] if "offset=100" in query else rows), mine
    )
    assert statuses(told) == truth(platform, mine)
    assert platform.asked["job_20"] == 1


@pytest.mark.network
def test_rows_that_are_no_jobs_hide_nothing() -> None:
    mine = [job(n) for n in range(20)]
    told = seen(platform := Platform(mine, lie=lambda query, rows: [{"id": 7}, *rows[1:]]), mine)
    assert statuses(told) == truth(platform, mine)
    assert platform.asked["job_0"] == 1


@pytest.mark.network
def test_a_platform_that_is_down_is_no_news_of_any_job() -> None:
    mine = [job(n) for n in range(20)]
    told = talk([answer(503)], lambda c: observe(c, ids(mine), known(mine)), budget=0)
    assert all(isinstance(s, Unreachable) for s in told.result.values())
    assert len(told.result) == 20


MOVES = st.lists(st.sampled_from(["new", "drop", "end", "hide", "none"]), max_size=12)


@pytest.mark.network
@settings(max_examples=25, deadline=None)
@given(moves=MOVES, page=st.integers(3, 20), number=st.integers(5, 60))
def test_whatever_happens_between_two_pages_no_job_is_lost_or_misjudged(
    moves: list[str], page: int, number: int
) -> None:
    mine = [job(n) for n in range(number)]
    platform = Platform([dict(j) for j in mine], page=page)
    steps = iter(moves)
    ended: set[str] = set()

    def shift(query: str, rows: list[JsonObject]) -> list[JsonObject]:
        rows = json.loads(json.dumps(rows))
        match next(steps, "none"):
            case "new":  # everything moves one page place down
                platform.jobs[:0] = [job(1000 + len(platform.jobs) + n, "PENDING") for n in range(3)]
            case "drop":  # somebody deletes a job that is not ours
                platform.jobs[:] = platform.jobs[1:] if platform.jobs[0]["name"] not in ids(mine) else platform.jobs
            case "end":
                platform.jobs[-1] |= {"status": "COMPLETED", "updated_at": "2026-01-01T11:00:00Z"}
                ended.add(platform.jobs[-1]["name"])
            case "hide":
                rows = rows[::2]
        return rows

    platform.lie = shift
    told = seen(platform, mine, known(mine))
    assert told.result.keys() == ids(mine).keys()
    for name, status in statuses(told).items():
        assert status == "RUNNING" or (status == "COMPLETED" and name in ended), "what was true at some moment"


def watched(platform: Platform, jobs: Sequence[JsonObject], **more: Any) -> tuple[list[dict[str, Observation]], Clock]:
    polls = Clock()

    async def run() -> list[dict[str, Observation]]:
        async with serve(platform) as server, Transport(server.url, "k", timing=Clock().timing(0)) as transport:
            rounds = watch(Client(transport), ids(jobs), last=known(jobs), sleep=polls.sleep, **more)
            return [news async for news in rounds]

    return asyncio.run(run()), polls


@pytest.mark.network
def test_waiting_for_many_jobs_asks_one_page_a_round_and_nothing_twice() -> None:
    mine = [job(n) for n in range(40)]
    platform = Platform(mine)

    def later(query: str, rows: list[JsonObject]) -> list[JsonObject]:
        if platform.asked["list"] == 5:
            for each in mine:
                each |= {"status": "COMPLETED", "updated_at": "2026-01-01T11:00:00Z"}
        return rows

    platform.lie = later
    news, _ = watched(platform, mine)
    assert [len(n) for n in news] == [40] * 5
    assert platform.asked == {"list": 5}


@pytest.mark.network
def test_an_old_job_is_asked_for_less_often_than_a_young_one() -> None:
    mine = [job(1), job(2)]
    platform = Platform(mine)
    wanted = {"job_1": 12}

    def script(request: Request) -> Any:
        said = platform(request)
        if platform.asked["job_1"] >= wanted["job_1"]:
            for each in mine:
                each["status"] = "COMPLETED"
        return said

    polls = Clock()

    async def run() -> None:
        async with serve(script) as server, Transport(server.url, "k", timing=Clock().timing(0)) as transport:
            rounds = watch(Client(transport), ids(mine), last=known(mine), ages={"n2": 3600}, sleep=polls.sleep)
            assert [set(news) async for news in rounds][:2] == [{"n1", "n2"}, {"n1"}]

    asyncio.run(run())
    assert platform.asked["job_1"] >= 12
    assert platform.asked["job_2"] <= 3
    assert sum(polls.slept) < 31


@pytest.mark.network
def test_a_page_that_is_read_anyway_spares_the_old_jobs_a_question_of_their_own() -> None:
    mine = [job(n) for n in range(30)]
    platform = Platform(mine)

    def later(query: str, rows: list[JsonObject]) -> list[JsonObject]:
        if platform.asked["list"] == 20:
            for each in mine:
                each |= {"status": "COMPLETED", "updated_at": "2026-01-01T11:00:00Z"}
        return rows

    platform.lie = later
    news, _ = watched(platform, mine, ages={f"n{n}": 3600 for n in range(20)})
    assert [len(n) for n in news] == [30] * 20, "ten are young, and the page shows them all"
    assert platform.asked == {"list": 20}
