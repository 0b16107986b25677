"""How many requests a key may make. Time is virtual where it matters."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from service_client import BASE, entries, running

from reconciler.service.ratelimit import Buckets, RateLimit
from reconciler.service.settings import Settings


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


# (seconds since the start, who, what `take` says)
@pytest.mark.parametrize(
    ("rate", "steps"),
    [
        (2, [(0, "a", 0), (0, "a", 0), (0, "a", 0.5), (0.25, "a", 0.25), (0.5, "a", 0), (0.5, "a", 0.5)]),
        (0.1, [(0, "a", 0), (0, "a", 10), (9, "a", 1), (10, "a", 0), (10, "a", 10)]),  # a burst of one
        (1, [(0, "a", 0), (0, "a", 1), (0, "b", 0), (0, "b", 1)]),  # each for itself
        (2, [(0, "a", 0), (1000, "a", 0), (1000, "a", 0), (1000, "a", 0.5)]),  # silence saves up no more than a burst
        (1, [(5, "a", 0), (5, "a", 1), (5, "a", 1), (6, "a", 0)]),  # a refusal costs nothing
    ],
)
def test_tokens(rate: float, steps: list[tuple[float, str, float]]) -> None:
    now = 0.0
    buckets = Buckets(rate, lambda: now)
    for at, who, wait in steps:
        now = at
        assert buckets.take(who) == pytest.approx(wait), (at, who)


def test_many_callers_do_not_fill_the_memory_and_forget_no_debt() -> None:
    now = 0.0
    buckets = Buckets(1, lambda: now)
    for number in range(1024):
        buckets.take(str(number))
    now = 1.0
    buckets.take("1023")
    assert buckets.take("one more") == 0
    assert set(buckets._buckets) == {"1023", "one more"}
    assert buckets.take("1023") == 1


@pytest.mark.anyio
async def test_too_many_requests_are_told_to_wait(tmp_path: Path) -> None:
    async with running(tmp_path, run_jobs=False, settings=Settings(rate_limit=0.5)) as api:
        assert (await api.http.get("/batch/jobs")).status_code == 200
        answer = await api.http.get("/batch/jobs")
        assert entries(answer)[1][0]["code"] == "rate_limited"
        assert answer.status_code == 429
        assert answer.headers["retry-after"] == "2"


@pytest.mark.anyio
async def test_by_default_nothing_is_limited(tmp_path: Path) -> None:
    async with running(tmp_path, run_jobs=False) as api:
        assert {(await api.http.get("/batch/jobs")).status_code for _ in range(50)} == {200}


@pytest.mark.anyio
async def test_a_key_is_one_however_it_is_written_and_some_paths_are_free() -> None:
    async def app(scope, receive, send):  # type: ignore[no-untyped-def]
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    limited = RateLimit(app, buckets=Buckets(1, lambda: 0.0), exempt=frozenset({"/free"}))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(limited), base_url=BASE) as http:

        async def status(key: str, path: str = "http://service/x") -> int:
            return (await http.get(path, headers={"Authorization": key})).status_code

        assert [await status(key) for key in ("Bearer one", "bearer  one", "BEARER one")] == [204, 429, 429]
        assert await status("Bearer two") == 204
        assert [await status("Bearer one", "http://service/free") for _ in range(3)] == [204, 204, 204]
