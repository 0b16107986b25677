"""Machines that die with all that works there, and orphans that come back: what they write is not published."""

from __future__ import annotations

import os
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psutil
import pytest
from cluster import wait_until
from slurmtrial import Trial

from reconciler.service.folder import DataFolder

pytestmark = [pytest.mark.slurm, pytest.mark.network]
pytest_plugins = ["slurmfixtures"]


def published(service: Trial, name: str) -> set[str]:
    """The names of the job's outputs; each has the attempt that made it."""
    query = "SELECT filename FROM outputs WHERE job_id = ?"
    with closing(sqlite3.connect(DataFolder(service.data).database)) as database:
        return {row[0] for row in database.execute(query, (service.jobs[name],))}


def below(pids: list[int]) -> Iterator[psutil.Process]:
    """The processes that these have started, and those, and so on."""
    for pid in pids:
        yield from psutil.Process(pid).children(recursive=True)


@pytest.mark.parametrize("width", [1, 4])
def test_a_machine_dies_with_all_that_works_there(service: Trial, width: int) -> None:
    """Nobody is left who could say so: the job is handed over again when the lease is over. A gang dies as a whole."""
    service.submit("job", ["wait", str(service.folder / "gate")], width=width)
    service.begun("job", width=width)
    node = service.node("job") if width == 1 else "n1"
    service.cluster.kill_machine(node)
    service.cluster.run(node)  # it is mended, so that there is room again for the gang
    service.begun("job", attempts=2, width=width)
    (service.folder / "gate").touch()
    service.wait("job")
    assert service.counts("job") == ("COMPLETED", 1, 0)
    assert published(service, "job") == {f"{each}.2.txt" for each in "abcd"[:width]}
    service.judge()


def test_what_a_frozen_orphan_does_when_it_comes_back_is_not_published(service: Trial) -> None:
    """A machine that nobody reaches: Slurm cannot end what is there, and its supervisor cannot see that it should."""
    gate = service.folder / "gate"
    service.submit("job", ["wait", str(gate)])
    service.begun("job")
    (worker,), (supervisor,) = service.processes("worker"), service.processes("supervisor")
    node = service.node("job")
    service.cluster.kill(node)
    supervisor.suspend()
    worker.suspend()
    service.begun("job", attempts=2)
    gate.touch()
    worker.resume()  # alone: nobody tells it to stop before it has done all of its work
    service.wait("job")
    wait_until(lambda: not worker.is_running() or worker.status() == psutil.STATUS_ZOMBIE)
    assert service.counts("job") == ("COMPLETED", 1, 0)
    assert published(service, "job") == {"a.2.txt"}
    supervisor.resume()
    service.cluster.run(node)
    service.judge()


def test_the_daemon_of_a_machine_is_started_again(service: Trial) -> None:
    """What works there does not even notice."""
    service.submit("job", ["wait", str(service.folder / "gate")], width=4)
    service.begun("job", width=4)
    for node in ("n1", "n2"):
        service.cluster.kill(node)
        service.cluster.run(node)
    (service.folder / "gate").touch()
    service.wait("job")
    assert service.counts("job") == ("COMPLETED", 0, 0)
    service.judge()


def test_the_process_that_holds_a_gang_together_is_killed(service: Trial) -> None:
    """`srun`: the job runs again as a whole."""
    service.submit("job", ["wait", str(service.folder / "gate")], width=4)
    service.begun("job", width=4)
    (srun,) = {each.pid for each in below(service.cluster.supervisors()) if each.name() == "srun" and is_first(each)}
    os.kill(srun, signal.SIGKILL)
    service.begun("job", attempts=2, width=4)
    (service.folder / "gate").touch()
    service.wait("job")
    assert service.counts("job") == ("COMPLETED", 1, 0)
    assert published(service, "job") == {f"{each}.2.txt" for each in "abcd"}
    service.judge()


def is_first(srun: psutil.Process) -> bool:
    """It forks one of its own."""
    parent = srun.parent()
    return parent is not None and parent.name() != "srun"


def test_the_keeper_of_the_cluster_key_is_killed(service: Trial) -> None:
    """Without `munged` nobody can talk to anybody; what works goes on, and what waits is handed over afterwards."""
    gate = Path(service.folder / "gate")
    service.submit("works", ["wait", str(gate)])
    service.begun("works")
    service.cluster.kill("munged")
    service.submit("waits")
    gate.touch()
    assert service.wait("works")["status"] == "COMPLETED"
    assert service.job("waits")["status"] == "PENDING"
    service.cluster.run("munged")
    for name in ("works", "waits"):
        service.wait(name)
        assert service.counts(name) == ("COMPLETED", 0, 0)
    service.judge()
