"""Fewer requests at a time after a 429, slowly more after that; and patience that is shared."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from http_server import KEY, Request, Talk, answer, serve

from reconciler.client import Client, Made, Transport
from reconciler.client.pace import Pace
from reconciler.client.patience import Patience, Retries, Timing


class Clock:
    """Time that passes by sleeping only."""

    def __init__(self) -> None:
        self.time = datetime(2026, 1, 1, tzinfo=UTC)
        self.slept: list[float] = []

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.time += timedelta(seconds=seconds)
        await asyncio.sleep(0)

    def timing(self, budget: float = 60.0) -> Timing:
        return Timing(budget=budget, sleep=self.sleep, now=lambda: self.time)


@pytest.fixture
def clock() -> Clock:
    return Clock()


async def most_at_a_time(pace: Pace, count: int) -> int:
    under_way = most = 0

    async def request() -> None:
        nonlocal under_way, most
        async with pace.turn():
            under_way += 1
            most = max(most, under_way)
            for _ in range(5):
                await asyncio.sleep(0)
            under_way -= 1

    await asyncio.gather(*(request() for _ in range(count)))
    return most


def test_no_more_than_the_parallelism_is_under_way_and_all_get_their_turn(clock: Clock) -> None:
    assert asyncio.run(most_at_a_time(Pace(5, clock.timing()), 40)) == 5


def test_a_429_halves_the_pace_once_a_round(clock: Clock) -> None:
    pace = Pace(16, clock.timing())
    for _ in range(16):
        pace.too_fast(0, None)  # all sixteen that were under way were told the same
    assert pace.limit == 8
    pace.too_fast(1, None)
    assert pace.limit == 4
    assert asyncio.run(most_at_a_time(pace, 20)) == 4


def test_the_pace_never_falls_below_one_and_grows_back_to_what_was_asked(clock: Clock) -> None:
    pace = Pace(16, clock.timing())
    for round_ in range(10):
        pace.too_fast(round_, None)
    assert pace.limit == 1
    answers = 0
    while pace.limit < 16:
        pace.went_well()
        answers += 1
    assert 50 < answers < 500, "one more a round, not all at once"
    pace.went_well()
    assert pace.limit == 16


def test_no_request_begins_before_the_time_that_the_platform_named(clock: Clock) -> None:
    async def run() -> datetime:
        pace = Pace(2, clock.timing())
        pace.too_fast(0, 7.0)
        async with pace.turn():
            return clock.time

    assert asyncio.run(run()) == datetime(2026, 1, 1, 0, 0, 7, tzinfo=UTC)


def test_a_request_that_is_given_up_while_it_waits_gives_its_turn_to_the_next(clock: Clock) -> None:
    async def run() -> int:
        pace = Pace(1, clock.timing())
        async with pace.turn():
            given_up = asyncio.create_task(most_at_a_time(pace, 1))
            next_one = asyncio.create_task(most_at_a_time(pace, 1))
            await asyncio.sleep(0)
        given_up.cancel()
        return await asyncio.wait_for(next_one, 5)

    assert asyncio.run(run()) == 1


async def attempts_until_given_up(patience: Patience) -> int:
    count = 0

    async def attempt() -> str:
        nonlocal count
        count += 1
        return "busy"

    def always(result: str) -> bool:
        return True

    await patience.until_done(attempt, again=always, again_after=(), asked=lambda result: None)
    return count


def test_one_request_is_patient_for_its_budget_only(clock: Clock) -> None:
    patience = Patience(clock.timing(budget=30.0), Retries())
    assert asyncio.run(attempts_until_given_up(patience)) > 3
    assert sum(clock.slept) <= 30.0


def test_ten_thousand_requests_share_their_retries(clock: Clock) -> None:
    """When the platform is down they do not each wait a minute to find it out."""

    async def run() -> int:
        patience = Patience(clock.timing(), Retries())
        return sum([await attempts_until_given_up(patience) for _ in range(10_000)])

    assert asyncio.run(run()) == 10_000 + 160


def test_usable_answers_earn_retries_back() -> None:
    retries = Retries(left=0.0)
    assert not retries.take()
    for _ in range(5):
        retries.earn()
    assert retries.take()
    assert not retries.take()
    for _ in range(10_000):
        retries.earn()
    assert retries.left == retries.most


def test_pauses_have_full_jitter(clock: Clock) -> None:
    """Not a fixed wait with a little noise: anything from nothing up to the bound."""

    async def run() -> None:
        patience = Patience(clock.timing(budget=1e9), Retries(left=400, most=400))
        await attempts_until_given_up(patience)

    asyncio.run(run())
    late = clock.slept[10:]
    assert max(late) <= 30.0
    assert min(late) < 6.0
    assert max(late) > 24.0


@pytest.mark.network
def test_a_platform_that_takes_eight_at_a_time_gets_each_submission_once() -> None:
    """Sixty-four at a time are asked for: fewer after the first refusals, more again after it, and none twice."""
    made: Counter[str] = Counter()
    under_way: list[int] = []
    refused = now = 0

    def script(request: Request) -> Talk:
        name = request.json()["name"]

        async def say(writer: asyncio.StreamWriter) -> None:
            nonlocal now, refused
            now += 1
            under_way.append(now)
            try:
                if now > 8:
                    refused += 1
                    writer.write(answer(429, {"detail": "too many"}, retry_after="7"))
                    return
                await asyncio.sleep(0.001)
                made[name] += 1
                writer.write(answer(201, {"id": f"job_{name}", "name": name, "status": "PENDING", "pipeline_key": "k"}))
            finally:
                now -= 1

        return say

    clock = Clock()

    async def run() -> tuple[list[Any], int]:
        async with (
            serve(script) as server,
            Transport(server.url, KEY, parallelism=64, timing=clock.timing(600)) as transport,
        ):
            client = Client(transport)
            names = [f"n{number}" for number in range(400)]
            results = await asyncio.gather(*(client.submit(name, {"pipeline_key": "k"}, name) for name in names))
            return results, transport._pace.limit

    results, limit = asyncio.run(run())
    assert all(isinstance(result, Made) for result in results)
    assert set(made.values()) == {1}
    assert len(made) == 400
    assert refused < 200, "most of the requests were not refused: fewer were sent at a time"
    assert limit >= 4
    assert max(clock.slept) >= 6, "it waited as long as it was asked to"
