"""Whatever process of service and cluster dies, and when: no job is lost, and none is run to completion twice."""

from __future__ import annotations

import os
import random
import signal
import time

import pytest
from cluster import wait_until
from slurmtrial import ENDED, Trial

pytestmark = [pytest.mark.slurm, pytest.mark.network]
pytest_plugins = ["slurmfixtures"]


def test_a_worker_is_killed(service: Trial) -> None:
    """As on this machine: the pipeline says whether it is tried again."""
    gate = ["wait", str(service.folder / "gate")]
    service.submit("fails", gate, key="low")
    service.submit("retried", gate, key="retried")
    service.begun("fails")
    service.begun("retried")
    for process in service.processes("worker"):
        process.kill()
    assert service.wait("fails")["error"]["code"] == "worker_died"
    service.begun("retried", attempts=2)
    (service.folder / "gate").touch()
    service.wait("retried")
    assert service.counts("retried") == ("COMPLETED", 1, 0)
    service.judge()


def test_the_supervisor_of_a_job_is_killed(service: Trial) -> None:
    """Its worker ends with it, and the job runs again by itself."""
    service.submit("job", ["wait", str(service.folder / "gate")])
    service.begun("job")
    for process in service.processes("supervisor"):
        process.kill()
    service.begun("job", attempts=2)
    (service.folder / "gate").touch()
    service.wait("job")
    assert service.counts("job") == ("COMPLETED", 1, 0)
    service.judge()


def test_the_service_is_killed_while_jobs_wait_begin_work_and_end(service: Trial) -> None:
    """What works on the cluster does not even notice: each job has one attempt."""
    dice = random.Random(8)
    names = [f"job{number}" for number in range(10)]
    for number, name in enumerate(names):
        service.submit(name, ["sleep", dice.uniform(0, 2)], width=1 + number % 3)
    for _ in range(6):
        time.sleep(dice.uniform(0, 2))
        service.stop(signal.SIGKILL)
        service.start()
    for name in names:
        service.wait(name)
        assert service.counts(name) == ("COMPLETED", 0, 0)
        assert {attempt for attempt, _ in service.noted("begun", name)} == {1}
    service.judge()


def test_the_controller_is_killed_right_after_a_submission(service: Trial) -> None:
    """It loses jobs that it has acknowledged, and gives their ids to others."""
    for number in range(4):
        name = f"job{number}"
        service.submit(name)
        service.handed_over(name)
        service.kill_controller()
    for number in range(4):
        assert service.wait(f"job{number}")["status"] == "COMPLETED"
    service.judge()


def test_the_controller_is_killed_when_jobs_have_just_begun(service: Trial) -> None:
    """It starts them a second time, and says nothing about it."""
    names = [f"job{number}" for number in range(4)]
    for name in names:
        service.submit(name, ["sleep", 4])
    for name in names:
        service.handed_over(name)
    time.sleep(1.5)
    service.kill_controller()
    for name in names:
        assert service.wait(name)["status"] == "COMPLETED"
    service.judge()


def test_a_submission_that_gets_no_answer_makes_one_job(service: Trial) -> None:
    """The controller stands still; when it goes on, it does what it was asked after all."""
    controller = service.cluster.daemons["slurmctld"]
    controller.send_signal(signal.SIGSTOP)
    try:
        service.submit("job")
        wait_until(lambda: any("gave no answer" in line for line in service.said), lambda: service.said)
        time.sleep(5)
    finally:
        controller.send_signal(signal.SIGCONT)
    assert service.wait("job")["status"] == "COMPLETED"
    assert service.counts("job") == ("COMPLETED", 0, 0)
    service.judge()


def test_everything_is_killed_at_random(service: Trial) -> None:
    dice = random.Random(3)
    names = [f"job{number}" for number in range(12)]
    for number, name in enumerate(names):
        service.submit(name, ["sleep", dice.uniform(0, 3)], width=1 + number % 2, key="retried")
    victims = ["service", "controller", "supervisor", "slurmstepd", "service", "controller"]
    dice.shuffle(victims)
    for victim in victims:
        time.sleep(dice.uniform(0.2, 2))
        if victim == "service":
            service.stop(signal.SIGKILL)
            service.start()
        elif victim == "controller":
            service.kill_controller(dice.uniform(0, 2))
        elif victim == "supervisor":
            for process in service.processes("supervisor")[:1]:
                process.kill()
        else:
            for pid in service.cluster.supervisors()[:1]:
                os.kill(pid, signal.SIGKILL)
    for name in names:
        assert service.wait(name, *ENDED)["status"] == "COMPLETED", service.state(name)
    service.judge()
