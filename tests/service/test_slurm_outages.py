"""What takes Slurm its time to notice, or to come back from: no job is lost, and none is run to completion twice."""

from __future__ import annotations

import os
import signal
import time

import pytest
from cluster import wait_until
from slurmtrial import Trial

pytestmark = [pytest.mark.slurm, pytest.mark.network]
pytest_plugins = ["slurmfixtures"]


def test_the_controller_is_away_for_a_minute(service: Trial) -> None:
    """Jobs end meanwhile, and their results are there at once; others wait until it is back."""
    service.submit("works", ["wait", str(service.folder / "gate")])
    service.begun("works")
    service.cluster.kill("slurmctld")
    away = time.monotonic()
    service.submit("waits")
    (service.folder / "gate").touch()
    assert service.wait("works")["status"] == "COMPLETED"
    assert time.monotonic() - away < 50
    wait_until(lambda: time.monotonic() - away > 60, within=90)
    assert service.job("waits")["status"] == "PENDING"
    service.cluster.run("slurmctld")
    assert service.wait("waits")["status"] == "COMPLETED"
    for name in ("works", "waits"):
        assert service.counts(name) == ("COMPLETED", 0, 0)
    service.judge()


def test_a_machine_dies_and_what_worked_there_is_not_published(service: Trial) -> None:
    """The daemon of the machine dies and the job's processes do not: they are told to stop before it runs again."""
    service.submit("job", ["wait", str(service.folder / "gate")])
    service.begun("job")
    node = service.node("job")
    first = service.processes("worker")
    service.cluster.kill(node)
    service.begun("job", attempts=2)
    assert not any(process.is_running() for process in first)
    (service.folder / "gate").touch()
    service.wait("job")
    assert service.counts("job") == ("COMPLETED", 1, 0)
    service.cluster.run(node)
    service.judge()
    wait_until(lambda: service.cluster.idle() == 2, service.cluster.log)


def test_the_supervisor_of_slurm_is_killed(service: Trial) -> None:
    """Slurm takes its time to notice; the work may be done by then, and counts."""
    service.submit("done", ["wait", str(service.folder / "gate")])
    service.submit("again", ["wait", str(service.folder / "later")])
    service.begun("done")
    service.begun("again")
    for pid in service.cluster.supervisors():
        os.kill(pid, signal.SIGKILL)
    (service.folder / "gate").touch()
    service.wait("done")
    assert service.counts("done") == ("COMPLETED", 0, 0)
    service.begun("again", attempts=2)
    (service.folder / "later").touch()
    service.wait("again")
    assert service.counts("again") == ("COMPLETED", 1, 0)
    service.judge()
