"""What every engine promises, by its five calls: `make test-slurm` runs this on a real cluster too."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from cluster import Cluster, started
from scripting import WORKER
from service_client import gone

from reconciler.service.definition import Resources
from reconciler.service.engines.engine import Engine, Handle, How, Phase, Record, Work
from reconciler.service.engines.local import LocalEngine
from reconciler.service.engines.slurm import SlurmEngine, SlurmOptions
from reconciler.service.engines.tasks import Task, prepare

pytestmark = pytest.mark.anyio
DEADLINE = 40.0


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with started(tmp_path_factory.mktemp("cluster")) as running:
        yield running


class Bench:
    """An engine, and work for it whose workers do what a test says."""

    def __init__(self, runs: Path, make: Callable[[], Engine]) -> None:
        self.runs = runs
        self.make = make  # also what a service that was started again would have
        self.engine = make()

    def work(self, marker: str, *steps: list[Any], indexes: int = 1) -> Work:
        folder = self.runs / marker
        return Work(
            "a name: of people", folder, indexes, Resources(memory_mb=512), tasks=self._tasks(folder, steps, indexes)
        )

    def _tasks(self, folder: Path, steps: tuple[list[Any], ...], indexes: int) -> tuple[Task, ...]:
        return tuple(
            prepare(
                Task(
                    (sys.executable, str(WORKER)),
                    folder / str(index),
                    {
                        "job": {"name": folder.name},
                        "attempt": 1,
                        "index": index,
                        "parallelism": indexes,
                        "config": {"steps": list(steps)},
                        "inputs": {},
                        "output_dir": str(folder / str(index) / "outputs"),
                    },
                    Resources(memory_mb=512),
                )
            )
            for index in range(indexes)
        )

    async def until(self, handle: Handle, happened: Callable[[Record], bool]) -> Record:
        deadline = time.monotonic() + DEADLINE
        while True:
            record = (await self.engine.observe([handle], 0.05))[handle]
            if happened(record):
                return record
            assert time.monotonic() < deadline, record

    async def forgotten(self, marker: str) -> None:
        """There is no such place any more. A cluster's own list may lag behind what has ended there."""
        deadline = time.monotonic() + DEADLINE
        while found := await self.engine.find(marker):
            assert time.monotonic() < deadline, found
            await asyncio.sleep(0.05)

    async def begun(self, marker: str, work: Work) -> Handle:
        """The work goes on at its place."""
        handle = await self.engine.ensure(marker, None, work)
        await self.until(handle, lambda record: record.phase is Phase.READY)
        await self.engine.ensure(marker, 1, work)
        return handle


@pytest.fixture(params=["local", pytest.param("slurm", marks=pytest.mark.slurm)])
async def bench(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    runs = tmp_path / "runs"
    runs.mkdir()
    makers: Mapping[str, Callable[[], Engine]] = {
        "local": lambda: LocalEngine(4),
        "slurm": lambda: SlurmEngine(SlurmOptions(lease=4), owner=tmp_path.name, runs=runs, slots=4),
    }
    if request.param == "slurm":
        for name, value in request.getfixturevalue("cluster").environment.items():
            monkeypatch.setenv(name, value)
    made = Bench(runs, makers[request.param])
    yield made
    for handle in await made.engine.find(""):
        await made.engine.cancel(handle)


def noted(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


async def see(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE
    while not happened():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


async def test_work_begins_when_it_may_and_only_once(bench: Bench, tmp_path: Path) -> None:
    log = tmp_path / "log"
    work = bench.work("m.1", ["note", str(log)], ["wait", str(tmp_path / "gate")])
    handle = await bench.engine.ensure("m.1", None, work)
    assert await bench.engine.ensure("m.1", None, work) == handle
    await bench.until(handle, lambda record: record.phase is Phase.READY)
    assert noted(log) == []
    await bench.engine.ensure("m.1", 1, work)
    await see(lambda: noted(log) != [])
    assert await bench.engine.ensure("m.1", 1, work) == handle
    assert await bench.engine.find("m.1") == [handle]
    assert (await bench.until(handle, lambda record: record.phase is Phase.WORKING)).exits == {}
    (tmp_path / "gate").touch()
    assert (await bench.until(handle, lambda record: bool(record.exits))).exits == {0: 0}
    await bench.engine.cancel(handle)
    assert noted(log) == ["m.1 1 0"]


async def test_all_indexes_work_at_the_same_time_and_each_end_is_told(bench: Bench, tmp_path: Path) -> None:
    log, gate = tmp_path / "log", tmp_path / "gate"
    work = bench.work("m.2", ["note", str(log)], ["wait", str(gate)], ["exit", 7], indexes=3)
    handle = await bench.begun("m.2", work)
    await see(lambda: len(noted(log)) == 3)  # none has ended: all wait for the gate
    gate.touch()
    record = await bench.until(handle, lambda record: len(record.exits) == 3)
    assert record.exits == {0: 7, 1: 7, 2: 7}


async def test_what_a_worker_said_is_in_its_file_when_its_end_is_told(bench: Bench) -> None:
    said = [["say", {"type": "event", "message": f"line {number}"}] for number in range(200)]
    work = bench.work("m.3", *said, ["exit", 3])
    await bench.until(await bench.begun("m.3", work), lambda record: record.exits == {0: 3})
    lines = [json.loads(line) for line in work.tasks[0].stdout.read_text().splitlines()]
    assert [line["message"] for line in lines] == [f"line {number}" for number in range(200)]


async def test_a_worker_that_is_killed_has_ended_by_a_signal(bench: Bench) -> None:
    work = bench.work("m.4", ["kill"])
    record = await bench.until(await bench.begun("m.4", work), lambda record: bool(record.exits))
    assert record.exits == {0: -9}


async def test_nothing_works_any_more_after_a_cancel(bench: Bench, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    work = bench.work("m.5", ["child", str(pids)], ["sleep", 600], indexes=2)
    handle = await bench.begun("m.5", work)
    await see(lambda: len(noted(pids)) == 4)
    await bench.engine.cancel(handle)
    assert await gone([int(line) for line in noted(pids)])
    await bench.forgotten("m.5")
    await bench.engine.cancel(handle)
    await bench.engine.cancel(Handle("never-heard-of.1"))
    record = (await bench.engine.observe([handle]))[handle]
    assert not record.exits  # it was ended, it did not end by itself


async def test_work_that_is_given_up_before_it_may_begin_never_does(bench: Bench, tmp_path: Path) -> None:
    log = tmp_path / "log"
    work = bench.work("m.6", ["note", str(log)])
    handle = await bench.engine.ensure("m.6", None, work)
    await bench.engine.cancel(handle)
    other = bench.work("m.7", ["exit", 0])
    await bench.until(await bench.begun("m.7", other), lambda record: record.exits == {0: 0})
    assert noted(log) == []


async def test_a_place_that_nobody_has_is_lost(bench: Bench) -> None:
    handle = Handle("m.8")
    record = await bench.until(handle, lambda record: record.phase is Phase.ENDED)
    assert record.ending
    assert record.ending.how is How.LOST


async def test_a_service_that_was_started_again_finds_what_outlived_it(bench: Bench, tmp_path: Path) -> None:
    if not bench.engine.capabilities().outlives:
        pytest.skip("its work ends with the service")
    log, gate = tmp_path / "log", tmp_path / "gate"
    work = bench.work("m.9", ["note", str(log)], ["wait", str(gate)], ["exit", 5])
    handle = await bench.begun("m.9", work)
    await see(lambda: noted(log) != [])
    bench.engine = bench.make()
    assert await bench.engine.find("m.9") == [handle]
    await bench.engine.ensure("m.9", 1, work)
    gate.touch()
    await bench.until(Handle("m.9"), lambda record: record.exits == {0: 5})
    assert noted(log) == ["m.9 1 0"]
