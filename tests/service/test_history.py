"""The checker of the kill tests: it is content with a folder in order, and sees each kind of damage."""

from __future__ import annotations

import shutil
from contextlib import closing
from pathlib import Path

import history
import pytest
from scripting import pipeline, submit
from service_client import running

pytestmark = pytest.mark.anyio
TRANSITION = (
    "INSERT INTO events (job_id, event_type, level, payload, created_at) SELECT id, 'x', 'INFO', json_object("
    "'from', '{}', 'to', '{}', 'retry_count', 0, 'preemption_count', 0), '9' FROM jobs WHERE name = 'one'"
)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def ended(folder: Path) -> Path:
    """A data folder with a job that was completed, and one that was cancelled and waits again."""
    data = folder / "data"
    history.prepare(data)
    async with running(data, pipelines=pipeline(folder / "pipelines"), capacity=1) as api:
        await api.wait(await submit(api, ["each"], files=("a",), name="one"))
    async with running(data, pipelines=folder / "pipelines", run_jobs=False) as api:
        other = await submit(api, files=("b",), name="other")
        await api.http.post(f"/batch/jobs/{other}/cancel")
        await api.http.post(f"/batch/jobs/{other}/retry")
    return data


async def test_a_folder_in_order_has_no_faults(tmp_path: Path) -> None:
    data = await ended(tmp_path)
    assert history.faults(data) == []
    with closing(history.connect(data)) as database:
        assert history.faults_of_positions(database) == []
        assert history.most_slots(database, {"one": 2, "other": 1}) == 2


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        ("UPDATE jobs SET status = 'RUNNING' WHERE name = 'one'", "its events say"),
        ("UPDATE jobs SET preemption_count = 1 WHERE name = 'one'", "its events say"),
        ("UPDATE jobs SET completed_at = '2' WHERE name = 'one'", "was COMPLETED at 2"),
        ("UPDATE jobs SET cancelled_at = '2' WHERE name = 'one'", "but never was"),
        ("DELETE FROM jobs WHERE name = 'other'", "was PENDING and is gone"),
        (TRANSITION.format("COMPLETED", "PENDING"), "COMPLETED -> PENDING is not legal"),
        (TRANSITION.format("RUNNING", "COMPLETED"), "was completed 2 times"),
        ("UPDATE job_counts SET n = n + 1", "job_counts has"),
        ("DELETE FROM queue_counts", "queue_counts has"),
        ("DELETE FROM queue_blocks", "queue_blocks has"),
        ("DELETE FROM outputs", "has 0 outputs for a"),
        ("UPDATE outputs SET num_bytes = num_bytes + 1", "not whole"),
        ("UPDATE inputs SET status = 'processing'", "left inputs"),
    ],
)
async def test_damage_to_the_database_is_seen(tmp_path: Path, damage: str, says: str) -> None:
    data = await ended(tmp_path)
    with closing(history.connect(data)) as database:
        database.execute(damage)
    assert any(says in fault for fault in history.faults(data)), history.faults(data)


async def test_damage_to_the_files_is_seen(tmp_path: Path) -> None:
    data = await ended(tmp_path)
    (data / "runs" / "left").mkdir()
    shutil.rmtree(next((data / "contents").iterdir()))
    (data / "contents" / "young").mkdir()
    found = history.faults(data)
    assert ["runs holds left" in found, len(found)] == [True, 3], found  # what is young and unlisted may stay


async def test_a_wrong_place_in_the_queue_is_seen(tmp_path: Path) -> None:
    data = await ended(tmp_path)
    with closing(history.connect(data)) as database:
        database.execute("UPDATE queue_blocks SET n = 2, block = -1")
        assert len(history.faults_of_positions(database)) == 2
