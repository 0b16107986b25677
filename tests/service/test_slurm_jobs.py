"""Jobs of the service on a real Slurm cluster: what users and the people who run the cluster see and do."""

from __future__ import annotations

import signal
from typing import Any

import pytest
from cluster import wait_until
from slurmtrial import Trial

pytestmark = [pytest.mark.slurm, pytest.mark.network]
pytest_plugins = ["slurmfixtures"]


def test_jobs_and_gangs_wait_for_room_in_the_order_of_the_queue(service: Trial) -> None:
    gate = ["wait", str(service.folder / "gate")]
    service.submit("gang", gate, width=4)  # over both machines, all of their slots
    service.begun("gang", width=4)
    assert {row[3] for row in service.slurm()} == {"n[1-2]"}
    for name in ("first", "second"):
        service.submit(name)
        service.handed_over(name)
    places = [service.job(name) for name in ("first", "second")]
    assert [job["status"] for job in places] == ["PENDING", "PENDING"]
    assert [(job["queue_position"], job["queue_depth"]) for job in places] == [(1, 2), (2, 2)]
    assert service.job("gang")["status"] == "RUNNING"
    (service.folder / "gate").touch()
    for name in ("gang", "first", "second"):
        service.wait(name)
        assert service.counts(name) == ("COMPLETED", 0, 0)
    service.judge()


def test_one_bad_index_ends_the_gang(service: Trial) -> None:
    service.submit("gang", ["exit", 9, 2], ["sleep", 600], width=3)
    job = service.wait("gang")
    assert (job["status"], job["error"]["code"]) == ("FAILED", "worker_died")
    assert job["error"]["details"]["exit_status"] == 9
    wait_until(lambda: all(row[2] not in ("RUNNING", "COMPLETING") for row in service.slurm()), service.slurm)
    service.judge()


def test_a_cancelled_job_ends_on_the_cluster_whether_it_waits_or_runs(service: Trial) -> None:
    service.submit("runs", ["sleep", 600], width=4)
    service.begun("runs", width=4)
    service.submit("waits")
    service.handed_over("waits")
    service.cancel("waits")
    service.cancel("runs")
    wait_until(lambda: {row[2] for row in service.slurm()} == {"CANCELLED"}, service.slurm)
    assert service.noted("begun", "waits") == []
    service.judge()


def test_the_record_of_slurm_says_what_became_of_each_job(service: Trial) -> None:
    """Nobody who looks at the cluster takes a job that did well for one that failed, or the other way round."""
    error: list[Any] = ["say", {"type": "error", "error": {"code": "bad", "message": "no"}}]
    # What it does after it was done does not count
    lives: list[list[Any]] = [["each"], ["say", {"type": "done"}], ["sleep", 600]]
    table: list[tuple[str, int, list[list[Any]], str]] = [
        ("done", 1, lives, "low"),
        ("gang-done", 3, lives, "low"),
        ("both-done", 2, [["each"], ["say", {"type": "done"}], ["sleep", 0.1]], "low"),
        ("at-once-done", 2, [], "low"),
        ("died", 1, [["exit", 9]], "low"),
        ("gang-died", 2, [["exit", 9]], "low"),
        ("said", 1, [error, ["exit", 0]], "low"),
        ("gang-said", 2, [error, ["sleep", 600]], "low"),
        ("late", 1, [["sleep", 600]], "brief"),
    ]
    for name, width, steps, key in table:
        service.submit(name, *steps, width=width, key=key)
        if name == "gang-said":
            service.begun(name, width=width)
            for process in service.processes("worker"):  # an error is for the end of the worker
                process.kill()
        job = service.wait(name)
        assert job["status"] == ("COMPLETED" if name.endswith("done") else "FAILED"), service.state(name)
        assert service.on_record(name) == [job["status"]], name
    for name, width in [("cancelled", 1), ("gang-cancelled", 3)]:
        service.submit(name, ["sleep", 600], width=width)
        service.begun(name, width=width)
    service.submit("waits")
    service.handed_over("waits")
    for name in ("waits", "gang-cancelled", "cancelled"):
        service.cancel(name)
    for name in ("waits", "gang-cancelled", "cancelled"):
        assert service.on_record(name) == ["CANCELLED"]
    service.judge()


def test_a_retry_by_hand_is_another_job_of_slurm(service: Trial) -> None:
    service.submit("job", ["exit", 1, 2])
    service.wait("job")
    assert service.http.post(f"/batch/jobs/{service.jobs['job']}/retry").status_code == 200
    service.wait("job", "COMPLETED")
    assert service.counts("job") == ("COMPLETED", 1, 0)
    assert len(service.slurm()) == 2
    service.judge()


def test_slurm_preempts_by_partition_and_the_job_runs_again(service: Trial) -> None:
    service.submit("low", ["wait", str(service.folder / "gate")], width=4)
    service.begun("low", width=4)
    service.submit("high", key="high")
    assert service.wait("high")["status"] == "COMPLETED"
    service.begun("low", attempts=2, width=4)
    (service.folder / "gate").touch()
    service.wait("low")
    assert service.counts("low") == ("COMPLETED", 0, 1)
    (message,) = service.events("low", "job_preempted")
    assert "Slurm preempted job" in message
    assert service.on_record("low") == ["PREEMPTED", "COMPLETED"]
    service.judge()


def test_what_somebody_cancels_in_slurm_is_cancelled(service: Trial) -> None:
    service.submit("runs", ["sleep", 600], width=4)
    service.begun("runs", width=4)
    service.submit("waits")
    service.handed_over("waits")
    for row in service.slurm():
        service.cluster.ask("scancel", row[0])
    for name in ("runs", "waits"):
        assert service.wait(name)["status"] == "CANCELLED"
        assert any("cancelled in Slurm" in message for message in service.events(name))
    service.judge()


def test_what_slurm_refuses_fails_with_its_words(service: Trial) -> None:
    service.submit("large", key="large")
    error = service.wait("large")["error"]
    assert error["code"] == "refused_by_slurm"
    assert "finds no machines" in error["message"]
    service.judge()


def test_jobs_go_on_while_the_service_is_away(service: Trial) -> None:
    """Also when they come to their end meanwhile; nothing is begun without it."""
    service.submit("ends", ["wait", str(service.folder / "gate")], width=2)
    service.submit("goes-on", ["wait", str(service.folder / "later")], width=2)
    service.begun("ends", width=2)
    service.begun("goes-on", width=2)
    service.submit("waits")
    service.handed_over("waits")
    service.stop(signal.SIGTERM)
    (service.folder / "gate").touch()
    wait_until(lambda: len(service.noted("ended", "ends")) == 2)
    service.start()
    service.wait("ends")
    service.wait("waits")
    assert service.job("goes-on")["status"] == "RUNNING"
    (service.folder / "later").touch()
    for name in ("ends", "goes-on", "waits"):
        service.wait(name)
        assert service.counts(name) == ("COMPLETED", 0, 0)
    service.judge()
