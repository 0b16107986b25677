"""What a pipeline's policies do with jobs: priority, retries, limits of time and resources, failed inputs, resuming."""

from __future__ import annotations

import asyncio
from asyncio.base_subprocess import BaseSubprocessTransport
from pathlib import Path
from typing import Any

import pytest
from scripting import pipeline, submit, types
from service_client import Api, gone, running

from reconciler.service.engines import local

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def test_a_higher_priority_preempts_and_the_preempted_job_runs_again(tmp_path: Path) -> None:
    folder = pipeline(pipeline(tmp_path / "p", "low", priority=-1), "high", priority=10)
    gate = tmp_path / "gate"
    async with running(tmp_path / "d", pipelines=folder, capacity=1) as api:
        low = await submit(api, ["wait", str(gate)], key="low")
        await api.wait(low, "RUNNING")
        waiting = await submit(api, key="low")
        high = await api.wait(await submit(api, key="high"))
        assert high["status"] == "COMPLETED"
        gate.touch()
        ended = await api.wait(low)
        assert (ended["status"], ended["preemption_count"], ended["retry_count"]) == ("COMPLETED", 1, 0)
        other = await api.wait(waiting)
        assert other["preemption_count"] == 0
        assert high["completed_at"] <= ended["started_at"]
        assert ended["completed_at"] <= other["started_at"]  # it kept its place in the queue
        (event,) = await api.event(low, "job_preempted")
        assert event["message"] == "RUNNING -> PREEMPTED: a job of a higher priority needs its slots"


DONE_UNSEEN: tuple[list[Any], ...] = (["each"], ["say", {"type": "done"}])


async def done_but_not_seen(api: Api, folder: Path, key: str) -> str:
    """A job whose worker has said that it is done, and does not end; the service has not looked since."""
    job_id = await submit(api, *DONE_UNSEEN, ["note", str(folder / "said")], ["sleep", 60], key=key, files=("a",))
    while not (folder / "said").exists():
        await asyncio.sleep(0.01)
    assert (await api.job(job_id))["status"] == "RUNNING"
    return job_id


async def test_what_a_preempted_worker_had_done_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "LOOK", 60)
    folder = pipeline(pipeline(tmp_path / "p", "low", priority=-1), "high")
    async with running(tmp_path / "d", pipelines=folder, capacity=1) as api:
        job_id = await done_but_not_seen(api, tmp_path, "low")
        await api.wait(await submit(api, key="high"))
        job = await api.wait(job_id)
        assert (job["status"], job["preemption_count"]) == ("COMPLETED", 0)
        assert [o["data"]["filename"] for o in await api.rows(job_id, "outputs")] == ["a.1.txt"]


async def test_what_a_worker_had_done_when_the_service_stops_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "LOOK", 60)
    folder = pipeline(tmp_path / "p")
    async with running(tmp_path / "d", pipelines=folder) as api:
        job_id = await done_but_not_seen(api, tmp_path, "scripted")
    async with running(tmp_path / "d", pipelines=folder, run_jobs=False) as api:
        assert (await api.job(job_id))["status"] == "COMPLETED"
    assert list((tmp_path / "d" / "runs").iterdir()) == []


async def test_nobody_is_preempted_by_an_equal_or_when_it_would_not_make_room(tmp_path: Path) -> None:
    folder = pipeline(pipeline(tmp_path / "p", "low"), "high", priority=1)
    gate = str(tmp_path / "gate")
    async with running(tmp_path / "d", pipelines=folder, capacity=2) as api:
        first = await submit(api, ["wait", str(tmp_path / "high")], key="high")
        second = await submit(api, ["wait", str(tmp_path / "low")], key="low")
        await api.wait(first, "RUNNING")
        await api.wait(second, "RUNNING")
        wide = await submit(api, key="high", files=("a", "b"), width=2)
        queued = await api.job(wide)
        assert (queued["queue_position"], queued["queue_depth"]) == (1, 1)
        (tmp_path / "low").touch()
        assert (await api.wait(second))["preemption_count"] == 0  # one of two slots would not have been enough
        third = await submit(api, ["wait", gate], key="high")
        await api.job(third)
        (tmp_path / "high").touch()
        Path(gate).touch()
        for job in (first, wide, third):
            assert (await api.wait(job))["preemption_count"] == 0


async def test_a_resuming_pipeline_keeps_what_was_done(tmp_path: Path) -> None:
    folder = pipeline(pipeline(tmp_path / "p", "low", resume=True, priority=-1), "high")
    gate, log = tmp_path / "gate", str(tmp_path / "log")
    (tmp_path / "gate.a").touch()
    async with running(tmp_path / "d", pipelines=folder, capacity=1) as api:
        steps: list[list[Any]] = [["checkpoint", "half", 2], ["each", str(gate)], ["note", log], ["echo"]]
        job_id = await submit(api, *steps, key="low", files=("a", "b"))
        while (await api.job(job_id))["input_progress"]["completed"] != 1:
            pass
        await api.wait(await submit(api, key="high"))
        (tmp_path / "gate.b").touch()
        job = await api.wait(job_id)
        assert (job["status"], job["preemption_count"]) == ("COMPLETED", 1)
        outputs = await api.rows(job_id, "outputs")
        assert [o["data"]["filename"] for o in outputs] == ["a.1.txt", "b.2.txt"]
        (greeting,) = (e["payload"] for e in await api.event(job_id, "greeting"))
        assert [item["file_id"] for item in greeting["inputs"]["data"]] == ["b"]
        assert [(c["name"], c["step"]) for c in greeting["checkpoints"]] == [("half", 2)]
        assert Path(log).read_text() == "low 2 0\n"


async def test_without_resuming_everything_is_done_again(tmp_path: Path) -> None:
    folder = pipeline(pipeline(tmp_path / "p", "low", priority=-1), "high")
    (tmp_path / "gate.a").touch()
    async with running(tmp_path / "d", pipelines=folder, capacity=1) as api:
        job_id = await submit(api, ["each", str(tmp_path / "gate")], key="low", files=("a", "b"))
        while (await api.job(job_id))["input_progress"]["completed"] != 1:
            pass
        await api.wait(await submit(api, key="high"))
        (tmp_path / "gate.b").touch()
        await api.wait(job_id)
        names = [o["data"]["filename"] for o in await api.rows(job_id, "outputs")]
        assert names == ["a.2.txt", "b.2.txt"]


async def test_the_retry_policy_tries_again_and_counts(tmp_path: Path) -> None:
    folder = pipeline(tmp_path / "p", retry_policy={"max_retries": 2})
    async with running(tmp_path / "d", pipelines=folder) as api:
        good = await api.wait(await submit(api, ["exit", 1, 3]))
        assert (good["status"], good["retry_count"], good["error"]) == ("COMPLETED", 2, None)
        assert (await types(api, good["id"])).count("attempt_failed") == 2
        bad = await api.wait(await submit(api, ["exit", 1]))
        assert (bad["status"], bad["retry_count"]) == ("FAILED", 2)
        assert bad["error"]["code"] == "worker_died"
        await api.http.post(f"/batch/jobs/{bad['id']}/retry")  # by hand: the budget starts anew
        assert (await api.wait(bad["id"]))["retry_count"] == 5


async def test_the_retry_policy_waits_and_looks_at_the_code(tmp_path: Path) -> None:
    folder = pipeline(tmp_path / "p", "waits", retry_policy={"max_retries": 1, "backoff_seconds": 3600})
    pipeline(folder, "picks", retry_policy={"max_retries": 1, "retry_on": ["out_of_luck"]})
    async with running(tmp_path / "d", pipelines=folder, capacity=1) as api:
        waits = await submit(api, ["exit", 1], key="waits")
        await api.event(waits, "attempt_failed")
        job = await api.job(waits)
        assert (job["status"], job["retry_count"], job["started_at"], job["error"]) == ("PENDING", 1, None, None)
        assert (job["queue_position"], job["queue_depth"]) == (1, 1)
        luck = {"type": "error", "error": {"code": "out_of_luck", "message": "no luck"}}
        tried = await api.wait(await submit(api, ["say", luck], ["exit", 1], key="picks"))  # passes the one that waits
        assert (tried["status"], tried["retry_count"]) == ("FAILED", 1)
        other = await api.wait(await submit(api, ["exit", 1], key="picks"))
        assert (other["status"], other["retry_count"]) == ("FAILED", 0)
        assert (await api.http.post(f"/batch/jobs/{waits}/cancel")).status_code == 200


async def test_a_job_that_runs_for_too_long_fails_with_all_its_processes(tmp_path: Path) -> None:
    folder = pipeline(tmp_path / "p", timeout_seconds=0.5)
    async with running(tmp_path / "d", pipelines=folder) as api:
        job = await api.wait(await submit(api, ["stray", str(tmp_path / "pid")], ["sleep", 60]))
        assert (job["status"], job["error"]["code"]) == ("FAILED", "timeout")
        assert await gone([int((tmp_path / "pid").read_text())])


async def test_a_worker_that_has_stopped_is_found_by_its_silence(tmp_path: Path) -> None:
    folder = pipeline(tmp_path / "p", heartbeat_seconds=0.4)
    async with running(tmp_path / "d", pipelines=folder) as api:
        beat: list[list[Any]] = [["say", {"type": "heartbeat"}], ["sleep", 0.2]] * 4
        alive = await api.wait(await submit(api, *beat))
        assert alive["status"] == "COMPLETED"
        job = await api.wait(await submit(api, ["stop"]))
        assert (job["status"], job["error"]["code"]) == ("FAILED", "worker_silent")


@pytest.mark.parametrize(
    ("resources", "step", "code", "says"),
    [
        ({"cpu_seconds": 1}, ["spin"], "cpu_limit_exceeded", ""),
        ({"file_mb": 1}, ["write", 2], "worker_died", "File too large"),
        ({"memory_mb": 200}, ["allocate", 300], "worker_died", "MemoryError"),
    ],
)
async def test_an_index_gets_no_more_than_the_pipeline_allows(
    tmp_path: Path, resources: dict[str, int], step: list[Any], code: str, says: str
) -> None:
    async with running(tmp_path / "d", pipelines=pipeline(tmp_path / "p", resources=resources)) as api:
        job = await api.wait(await submit(api, step))
        assert (job["status"], job["error"]["code"]) == ("FAILED", code), job
        if code == "worker_died":
            assert says in job["error"]["message"]


@pytest.mark.parametrize(
    ("rule", "bad", "status"),
    [
        ("any_input", ["a"], "FAILED"),
        ("all_inputs", ["a"], "COMPLETED"),
        ("all_inputs", ["a", "b"], "FAILED"),
        ("never", ["a", "b"], "COMPLETED"),
    ],
)
async def test_a_bad_input_fails_itself_and_the_job_by_the_rule(
    tmp_path: Path, rule: str, bad: list[str], status: str
) -> None:
    async with running(tmp_path / "d", pipelines=pipeline(tmp_path / "p", fail_job_on=rule)) as api:
        job = await api.wait(await submit(api, ["fail", bad], files=("a", "b")))
        assert job["status"] == status
        assert job["input_progress"] == {
            "pending": 0, "processing": 0, "completed": 2 - len(bad), "failed": len(bad)
        }  # fmt: skip
        failed = await api.rows(job["id"], "inputs", status="failed")
        assert [each["error_message"] for each in failed] == [f"{name} is bad" for name in bad]
        if status == "FAILED":
            assert job["error"]["code"] == "inputs_failed"
            assert job["error"]["message"] == f"{len(bad)} of 2 inputs failed: a is bad"


async def test_after_done_nothing_counts(tmp_path: Path) -> None:
    async with running(tmp_path / "d", pipelines=pipeline(tmp_path / "p")) as api:
        late = {"type": "event", "event_type": "late"}
        job = await api.wait(await submit(api, ["say", {"type": "done"}], ["say", late], ["exit", 1]))
        assert job["status"] == "COMPLETED"
        assert "late" not in await types(api, job["id"])


async def test_nobody_else_takes_the_exit_status_of_a_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A transport that is closed asks for the status itself; when it gets it, asyncio warns and makes one up."""
    known: list[int | None] = []
    close = BaseSubprocessTransport.close

    def closed(transport: BaseSubprocessTransport) -> None:
        known.append(transport.get_returncode())
        close(transport)

    monkeypatch.setattr(BaseSubprocessTransport, "close", closed)
    async with running(tmp_path / "d", pipelines=pipeline(tmp_path / "p")) as api:
        await api.wait(await submit(api, ["say", {"type": "done"}], ["sleep", 60]))
    assert known
    assert None not in known


async def test_a_checkpoint_is_listed_and_goes_into_another_job(tmp_path: Path) -> None:
    async with running(tmp_path / "d", pipelines=pipeline(tmp_path / "p")) as api:
        first = await api.wait(await submit(api, ["checkpoint", "epoch-1", 1], ["checkpoint", "epoch-2", 2]))
        rows = await api.rows(first["id"], "checkpoints")
        assert [(row["name"], row["step"], row["metrics"]) for row in rows] == [
            ("epoch-1", 1, {"loss": 1.0}),
            ("epoch-2", 2, {"loss": 0.5}),
        ]
        start = {"start": [{"kind": "checkpoint", "checkpoint_id": rows[-1]["id"], "metadata": {"why": "best"}}]}
        made = await api.submit("scripted", inputs=start, parameters={"worker": {"config": {"steps": [["echo"]]}}})
        (greeting,) = (e["payload"] for e in await api.event(made["id"], "greeting"))
        (given,) = greeting["inputs"]["start"]
        assert Path(given["path"]).read_text() == "weights of epoch-2"
        assert (given["kind"], given["metadata"]) == ("checkpoint", {"why": "best"})
        (shown,) = await api.rows(made["id"], "inputs")
        assert (shown["file_id"], shown["status"]) == (rows[-1]["id"], "reference")
        content = await api.http.get(f"http://service/v0.5{shown['data']['ref']}")
        assert content.text == "weights of epoch-2"
        wrong = {"data": start["start"], "start": [{"file_id": "no-such-file"}]}
        body = {"name": "n", "pipeline_type": "batch", "pipeline_key": "scripted", "inputs": wrong}
        status, errors = await api.refused("POST", "/batch/jobs", json=body)
        assert status == 400
        assert [e["message"] for e in errors] == [
            "inputs.data[0]: this port takes a file, not a checkpoint",
            "inputs.start[0]: this port takes a checkpoint, not a file",
            "there is no file 'no-such-file'",
        ]
