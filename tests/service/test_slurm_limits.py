"""What a pipeline says of resources, time and priority, as Slurm's jobs and as limits of the processes."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import Any

import pytest
from cluster import wait_until
from slurmtrial import Trial

pytestmark = [pytest.mark.slurm, pytest.mark.network]
pytest_plugins = ["slurmfixtures"]


def shown(service: Trial, name: str) -> dict[str, str]:
    """What Slurm shows of the newest job of that name."""
    said = service.cluster.ask("scontrol", "--oneliner", "show", "job", service.number(name))
    return dict(word.partition("=")[::2] for word in said.split())


def test_the_job_of_slurm_has_the_limits_of_the_pipeline(service: Trial) -> None:
    service.submit("job", ["sleep", 600], key="limited", width=2)
    service.begun("job", width=2)
    job = shown(service, "job")
    asked = {name: job[name] for name in ("Partition", "NumTasks", "CPUs/Task", "MinMemoryCPU", "TimeLimit", "Requeue")}
    assert asked == {
        "Partition": "high",
        "NumTasks": "2",
        "CPUs/Task": "1",
        "MinMemoryCPU": "600M",
        "TimeLimit": "00:03:00",  # 90 seconds, rounded up, and a minute in which the service ends it
        "Requeue": "0",
    }
    assert job["Comment"] == f"reconciler/{(service.data / 'cluster-name').read_text()[:12]}/{service.jobs['job']}.1"
    service.cancel("job")
    service.judge()


@pytest.mark.parametrize(
    ("step", "code", "said"),
    [
        (["allocate", 1200], "worker_died", "MemoryError"),
        (["spin"], "cpu_limit_exceeded", "more processor time than the pipeline allows"),
        (["write", 3], "worker_died", "File too large"),
    ],
)
def test_a_worker_that_breaks_a_limit_fails_as_on_this_machine(
    service: Trial, step: list[Any], code: str, said: str
) -> None:
    service.submit("job", step, key="limited")
    error = service.wait("job")["error"]
    assert error["code"] == code, error
    assert said in error["message"]
    assert service.on_record("job") == ["FAILED"]
    service.judge()


def test_the_time_limit_of_slurm_ends_a_job_also_while_the_service_is_away(service: Trial) -> None:
    service.submit("job", ["sleep", 600])
    service.begun("job")
    service.stop(signal.SIGKILL)
    service.cluster.ask("scontrol", "update", f"JobId={service.number('job')}", "TimeLimit=1")
    wait_until(lambda: service.slurm()[0][2] == "TIMEOUT", service.slurm, within=150)  # it looks every half minute
    service.start()
    error = service.wait("job")["error"]
    assert error["code"] == "timeout"
    assert "at its time limit" in error["message"]
    service.judge()


def test_what_was_preempted_waits_in_its_old_place(service: Trial) -> None:
    """Before what came after it, as its count and its place in the queue say."""
    gate = str(service.folder / "gate")
    service.submit("low", ["wait", gate], width=4)
    service.begun("low", width=4)
    service.submit("later", ["wait", gate], width=4)
    service.handed_over("later")
    service.submit("high", ["wait", f"{gate}.high"], width=4, key="high")
    service.begun("high", width=4)
    service.handed_over("low", times=2)
    jobs = [service.job(name) for name in ("low", "later")]
    assert [(job["status"], job["queue_position"], job["queue_depth"]) for job in jobs] == [
        ("PENDING", 1, 2),
        ("PENDING", 2, 2),
    ]
    assert [job["preemption_count"] for job in jobs] == [1, 0]
    assert any("-> PREEMPTED" in message for message in service.events("low", "job_preempted"))
    Path(f"{gate}.high").touch()
    Path(gate).touch()
    service.wait("later")
    service.wait("low")
    service.judge()
