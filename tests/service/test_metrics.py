"""`/metrics`: what is counted, and under which names."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest
from prometheus_client.parser import text_string_to_metric_families
from service_client import Api, running

from reconciler.service.database import Database
from reconciler.service.metrics import Metrics
from reconciler.service.scheduler import Scheduler

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def scrape(api: Api) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    answer = await api.http.get("http://service/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=")
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def named(name: str, **labels: str) -> tuple[str, frozenset[tuple[str, str]]]:
    return name, frozenset(labels.items())


async def test_requests_are_counted_by_route_not_by_path(tmp_path: Path) -> None:
    async with running(tmp_path, run_jobs=False) as api:
        for path in ("/batch/jobs/a", "/batch/jobs/b", "/nowhere", "/elsewhere"):
            await api.http.get(path)
        await api.http.request("MADEUP", "/batch/jobs")
        found = await scrape(api)
        requests = {labels: value for (name, labels), value in found.items() if name == "http_requests_total"}
        expected = {
            named("", method="GET", route="/batch/jobs/{job_id}", status="404")[1]: 2,
            named("", method="GET", route="none", status="404")[1]: 2,
            named("", method="other", route="/batch/jobs", status="405")[1]: 1,
        }
        assert requests == expected
        assert found[named("http_request_duration_seconds_count", method="GET", route="/batch/jobs/{job_id}")] == 2


async def test_jobs_queues_slots_and_files(tmp_path: Path) -> None:
    async with running(tmp_path, capacity=2) as api:
        await api.upload("a", b"xyz")
        jobs = [await api.submit("waiter") for _ in range(3)]
        for job in jobs[:2]:
            await api.event(job["id"], "asleep")
        found = await scrape(api)
        assert found[named("jobs", pipeline_type="batch", status="RUNNING")] == 2
        assert found[named("jobs", pipeline_type="batch", status="PENDING")] == 1
        assert found[named("jobs", pipeline_type="training", status="FAILED")] == 0
        assert found[named("queue_depth", pipeline_type="batch")] == 1
        assert found[named("queue_depth", pipeline_type="training")] == 0
        assert found[named("slots_total")] == found[named("slots_used")] == 2
        assert (found[named("files")], found[named("files_bytes")]) == (1, 3)


async def test_two_services_in_one_process_count_for_themselves(tmp_path: Path) -> None:
    async with running(tmp_path / "a", run_jobs=False) as one, running(tmp_path / "b", run_jobs=False) as other:
        await one.http.get("/batch/jobs")
        wanted = named("http_requests_total", method="GET", route="/batch/jobs", status="200")
        assert (await scrape(one))[wanted] == 1
        assert wanted not in await scrape(other)


def test_a_request_that_breaks_is_counted_as_500(tmp_path: Path) -> None:
    import asyncio

    from reconciler.service.metrics import Measured

    database = Database(tmp_path / "d.db")

    class Idle:
        capacity = free = 1

    metrics = Metrics(database, cast(Scheduler, Idle()))

    async def broken(*_: object) -> None:
        raise RuntimeError

    with pytest.raises(RuntimeError):
        asyncio.run(Measured(broken, metrics=metrics)({"type": "http", "method": "GET"}, None, None))  # type: ignore[arg-type]
    assert 'http_requests_total{method="GET",route="none",status="500"} 1.0' in metrics.text().decode()
    database.close()
