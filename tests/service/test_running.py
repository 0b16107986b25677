"""Jobs that really run: processes, their lines, their ends."""

from __future__ import annotations

import asyncio
import os
import threading
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from scripting import pipeline, submit
from service_client import Api, gone, running

from reconciler.service import runs
from reconciler.service.engines.tasks import Task, prepare
from reconciler.service.errors import ServiceError

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def word_count(api: Api, parallelism: int = 1, **config: Any) -> dict[str, Any]:
    await api.upload("a.txt", b"one two Two")
    await api.upload("b.txt", b"three")
    await api.upload("c.txt", b"four")
    await api.upload("stop.txt", b"stop")
    return await api.submit(
        "word-count",
        inputs={
            "worker.text": [{"file_id": name} for name in ("a.txt", "b.txt", "c.txt")],
            "worker.stop": [{"file_id": "stop.txt", "metadata": {"note": "all get it"}}],
        },
        parameters={"worker": {"parallelism": parallelism, "config": config}},
    )


async def content(api: Api, output: dict[str, Any]) -> str:
    answer = await api.http.get(f"http://service/v0.5{output['data']['ref']}")
    assert answer.status_code == 200, answer.text
    return answer.text


async def test_a_job_computes_its_outputs(tmp_path: Path) -> None:
    async with running(tmp_path) as api:
        job = await api.wait((await word_count(api))["id"])
        assert job["status"] == "COMPLETED", job
        assert job["started_at"] <= job["completed_at"]
        outputs = await api.rows(job["id"], "outputs")
        assert {o["data"]["filename"]: await content(api, o) for o in outputs} == {
            "a.txt.csv": "one,1\ntwo,2\n",
            "b.txt.csv": "three,1\n",
            "c.txt.csv": "four,1\n",
        }
        assert [o["input_file_id"] for o in outputs] == ["a.txt", "b.txt", "c.txt"]
        assert outputs[0]["data"]["num_bytes"] == 12
        statuses = Counter(i["status"] for i in await api.rows(job["id"], "inputs"))
        assert statuses == {"completed": 3, "reference": 1}
        types = [e["event_type"] for e in await api.rows(job["id"], "events")]
        assert types == ["job_completed", "info", "running_job", "job_admitted", "job_queued"]
    assert list((tmp_path / "runs").iterdir()) == []


async def test_inputs_are_shared_out_and_replicated(tmp_path: Path) -> None:
    async with running(tmp_path, capacity=3) as api:
        job = await api.wait((await word_count(api, parallelism=8))["id"])
        told = [e["payload"] for e in await api.event(job["id"], "info", 3)]
        assert sorted(t["index"] for t in told) == [0, 1, 2]
        assert all(t["parallelism"] == 3 and t["stop_words"] == ["stop"] for t in told)
        assert len(await api.rows(job["id"], "outputs")) == 3


async def test_a_worker_sees_a_small_environment_without_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATAI_API_KEY", "sk_secret")
    async with running(tmp_path) as api:
        job = await api.wait((await word_count(api))["id"])
        (told,) = (e["payload"] for e in await api.event(job["id"], "info"))
    assert set(told["environment"]) <= {
        "BATCH_RUN", "PATH", "HOME", "TMPDIR", "LANG", "LC_CTYPE", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"
    }  # fmt: skip
    assert told["working_folder"] == []


async def test_an_error_line_fails_the_job_also_when_done_follows_it(tmp_path: Path) -> None:
    async with running(tmp_path / "data", pipelines=pipeline(tmp_path / "pipelines")) as api:
        said = ["say", {"type": "error", "error": {"code": "bad", "message": "no"}}]
        job = await api.wait(await submit(api, said, ["say", {"type": "done"}], ["sleep", 600]))
        assert (job["status"], job["error"]["code"]) == ("FAILED", "bad")


async def test_an_error_line_fails_the_job_and_stops_the_other_indexes(tmp_path: Path) -> None:
    async with running(tmp_path) as api:
        await api.upload("a")
        made = await api.submit(
            "gives-up",
            inputs={"data": [{"file_id": "a"}, {"file_id": "a"}]},
            parameters={"worker": {"parallelism": 2}},
        )
        job = await api.wait(made["id"])
        assert job["status"] == "FAILED"
        assert job["error"] == {
            "code": "column_not_found",
            "message": "there is no column 'p'",
            "suggestion": "name it",
        }
        assert job["input_progress"] == {"pending": 1, "processing": 0, "completed": 0, "failed": 1}
        assert (await api.event(job["id"], "job_failed"))[0]["level"] == "FAILED"


async def test_a_worker_that_dies_is_quoted_without_its_control_characters(tmp_path: Path) -> None:
    async with running(tmp_path) as api:
        job = await api.wait((await api.submit("crash"))["id"])
        assert job["status"] == "FAILED"
        assert job["error"]["code"] == "worker_died"
        assert job["error"]["message"] == "index 0 ended with exit status 3: [31mfell over"
        assert job["error"]["details"] == {
            "index": 0,
            "exit_status": 3,
            "stderr": "about to fall\n[31mfell over",
        }


async def test_lines_that_are_none_are_warned_about_and_skipped(tmp_path: Path) -> None:
    async with running(tmp_path) as api:
        job = await api.wait((await api.submit("babble"))["id"])
        assert job["status"] == "COMPLETED"
        answer = await api.http.get(f"/batch/jobs/{job['id']}/events", params={"event_type": "bad_line"})
        assert answer.json()["total"] == 100  # of 1007: garbage must not fill the disk
        bad = await api.rows(job["id"], "events", event_type="bad_line", limit=7, offset=93)
        assert {e["level"] for e in bad} == {"WARN"}
        assert "longer than" in bad[0]["message"]
        assert "inp_of_another_job" in bad[2]["message"]
        assert (await api.event(job["id"], "sense"))[0]["message"] == "after all that"


@pytest.mark.parametrize(
    "path",
    ["../outside.txt", "{outside}", "link.txt", "folder/outside.txt", "hard.txt", "pipe", "directory", "missing", "."],
)  # fmt: skip
async def test_an_output_that_is_no_plain_file_of_its_folder_fails_the_job(tmp_path: Path, path: str) -> None:
    async with running(tmp_path) as api:
        made = await api.submit("stray", parameters={"worker": {"config": {"path": path}}})
        job = await api.wait(made["id"])
        assert job["status"] == "FAILED"
        assert job["error"]["code"] == "invalid_output"
        assert await api.rows(job["id"], "outputs") == []
    assert list((tmp_path / "contents").iterdir()) == []
    assert list((tmp_path / "incoming").iterdir()) == []


async def test_an_output_in_a_folder_is_taken_and_an_unknown_port_is_not(tmp_path: Path) -> None:
    async with running(tmp_path) as api:
        config = {"path": "directory/good.txt"}
        good = await api.submit("stray", parameters={"worker": {"config": config}})
        assert (await api.wait(good["id"]))["status"] == "COMPLETED"
        (output,) = await api.rows(good["id"], "outputs")
        assert await content(api, output) == "good"
        bad = await api.submit("stray", parameters={"worker": {"config": {**config, "port": "nowhere"}}})
        said = (await api.wait(bad["id"]))["error"]["message"]
        assert "'nowhere'" in said
        assert said.endswith("it has out")


async def test_cancel_kills_the_processes_and_their_children(tmp_path: Path) -> None:
    async with running(tmp_path) as api:
        await api.upload("a")
        job = await api.submit(
            "sleeper",
            inputs={"data": [{"file_id": "a"}] * 2},
            parameters={"worker": {"parallelism": 2}},
        )
        asleep = await api.event(job["id"], "asleep", 2)
        pids = [pid for event in asleep for pid in event["payload"]["pids"]]
        assert len(set(pids)) == 4
        answer = await api.http.post(f"/batch/jobs/{job['id']}/cancel")
        assert answer.status_code == 200
        assert set(answer.json()) == {"id", "status", "cancelled_at"}
        assert (await api.job(job["id"]))["status"] == "CANCELLED"
        assert await gone(pids)
        status, errors = await api.refused("POST", f"/batch/jobs/{job['id']}/cancel")
        assert (status, errors[0]["code"]) == (409, "invalid_job_state")


async def test_a_job_that_is_cancelled_while_its_folder_is_made_leaves_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slow(task: Task) -> Task:
        if not begun.is_set():
            begun.set()
            assert go_on.wait(30)
        return prepare(task)

    monkeypatch.setattr(runs, "prepare", slow)
    async with running(tmp_path, capacity=2) as api:
        job = await api.submit("sleeper")
        assert await asyncio.to_thread(begun.wait, 30)
        await api.http.post(f"/batch/jobs/{job['id']}/cancel")
        await api.wait((await api.submit("babble"))["id"])  # before that began, the scheduler saw the other cancelled
        go_on.set()
    assert list((tmp_path / "runs").iterdir()) == []


async def test_a_cancelled_job_that_is_retried_runs_again(tmp_path: Path) -> None:
    async with running(tmp_path) as api:
        job = await api.submit("sleeper")
        first = (await api.event(job["id"], "asleep"))[0]["payload"]["pids"]
        await api.http.post(f"/batch/jobs/{job['id']}/cancel")
        answer = await api.http.post(f"/batch/jobs/{job['id']}/retry")
        assert answer.json() == {"id": job["id"], "status": "PENDING", "retry_count": 1}
        again = await api.wait(job["id"], "RUNNING")
        assert (again["cancelled_at"], again["retry_count"]) == (None, 1)
        await api.event(job["id"], "asleep", 2)
        assert await gone(first)


async def test_retry_removes_what_a_failed_attempt_had_put_out(tmp_path: Path) -> None:
    async with running(tmp_path) as api:
        config = {"first": "directory/good.txt", "path": "missing"}
        made = await api.submit("stray", parameters={"worker": {"config": config}})
        await api.wait(made["id"], "FAILED")
        (before,) = await api.rows(made["id"], "outputs")
        assert (await api.http.post(f"/batch/jobs/{made['id']}/retry")).status_code == 200
        await api.event(made["id"], "job_failed", 2)
        again = await api.job(made["id"])
        assert (again["status"], again["retry_count"]) == ("FAILED", 1)
        (after,) = await api.rows(made["id"], "outputs")
        assert after["id"] != before["id"]
        status, _ = await api.refused("GET", f"http://service/v0.5{before['data']['ref']}")
        assert status == 404
    assert [path.name for path in (tmp_path / "contents").iterdir()] == [after["id"]]


async def test_a_job_that_runs_cannot_be_retried_and_goes_on(tmp_path: Path) -> None:
    async with running(tmp_path) as api:
        job = await api.wait((await api.submit("sleeper"))["id"], "RUNNING")
        status, errors = await api.refused("POST", f"/batch/jobs/{job['id']}/retry")
        assert (status, errors[0]["code"]) == (409, "invalid_job_state")
        now = await api.job(job["id"])
        assert (now["status"], now["retry_count"]) == ("RUNNING", 0)


async def test_a_completed_job_cannot_be_retried(tmp_path: Path) -> None:
    async with running(tmp_path) as api:
        job = await api.wait((await api.submit("babble"))["id"], "COMPLETED")
        status, errors = await api.refused("POST", f"/batch/jobs/{job['id']}/retry")
        assert (status, errors[0]["code"]) == (409, "invalid_job_state")


async def test_the_queue_is_first_in_first_out_within_the_capacity(tmp_path: Path) -> None:
    async with running(tmp_path, capacity=1) as api:
        blocker = await api.submit("sleeper")
        await api.event(blocker["id"], "asleep")
        waiting = [await api.submit("crash", name=f"w{n}") for n in range(3)]
        assert [(j["queue_position"], j["queue_depth"]) for j in waiting] == [(1, 1), (2, 2), (3, 3)]
        await api.http.post(f"/batch/jobs/{waiting[0]['id']}/cancel")
        second, third = [await api.job(j["id"]) for j in waiting[1:]]
        assert [(j["queue_position"], j["queue_depth"]) for j in (second, third)] == [(1, 2), (2, 2)]
        queues = (await api.http.get("/batch/jobs/queue")).json()
        assert queues == {"queues": [{"pipeline_type": "batch", "depth": 2}, {"pipeline_type": "training", "depth": 0}]}
        running_job = await api.job(blocker["id"])
        assert (running_job["queue_position"], running_job["queue_depth"]) == (None, None)
        await api.http.post(f"/batch/jobs/{blocker['id']}/cancel")
        ends = [await api.wait(j["id"]) for j in waiting[1:]]
        assert ends[0]["failed_at"] <= ends[1]["started_at"]


async def test_a_wide_job_waits_for_room_and_is_not_overtaken(tmp_path: Path) -> None:
    async with running(tmp_path, capacity=2) as api:
        await api.upload("a")
        blocker = await api.submit("sleeper")
        await api.event(blocker["id"], "asleep")
        wide = await api.submit(
            "sleeper",
            inputs={"data": [{"file_id": "a"}] * 2},
            parameters={"worker": {"parallelism": 2}},
        )
        narrow = await api.submit("sleeper")
        await asyncio.sleep(0.4)  # two polls of the scheduler, in which nothing may happen
        assert [(await api.job(j["id"]))["status"] for j in (wide, narrow)] == ["PENDING", "PENDING"]
        await api.http.post(f"/batch/jobs/{blocker['id']}/cancel")
        await api.event(wide["id"], "asleep", 2)
        assert (await api.job(narrow["id"]))["status"] == "PENDING"


async def test_at_the_end_running_jobs_are_preempted_and_run_again_at_the_next_start(tmp_path: Path) -> None:
    async with running(tmp_path) as api:
        job = await api.submit("sleeper")
        pids = (await api.event(job["id"], "asleep"))[0]["payload"]["pids"]
    assert await gone(pids)
    async with running(tmp_path, run_jobs=False) as api:
        stopped = await api.job(job["id"])
        assert (stopped["status"], stopped["preemption_count"]) == ("PREEMPTED", 1)
        assert stopped["queue_position"] is None
        (event,) = await api.event(job["id"], "job_preempted")
        assert event["message"] == "RUNNING -> PREEMPTED: the service stops"
    async with running(tmp_path) as api:
        await api.event(job["id"], "asleep", 2)
        again = await api.job(job["id"])
        assert (again["status"], again["preemption_count"], again["retry_count"]) == ("RUNNING", 1, 0)
        await api.http.post(f"/batch/jobs/{job['id']}/cancel")


async def test_a_preempted_job_can_be_cancelled(tmp_path: Path) -> None:
    async with running(tmp_path) as api:
        job = await api.submit("sleeper")
        await api.event(job["id"], "asleep")
    async with running(tmp_path, run_jobs=False) as api:
        answer = await api.http.post(f"/batch/jobs/{job['id']}/cancel")
        assert answer.json()["status"] == "CANCELLED"


async def test_one_service_runs_jobs_and_another_on_the_folder_takes_over(tmp_path: Path) -> None:
    first = running(tmp_path)
    owner = await first.__aenter__()
    async with running(tmp_path) as other:
        job = await other.submit("sleeper")  # noticed by the owner although it came through the other
        await owner.event(job["id"], "asleep")
        await other.http.post(f"/batch/jobs/{job['id']}/cancel")
        kept = await other.submit("sleeper")
        await owner.event(kept["id"], "asleep")
        await first.__aexit__(None, None, None)
        await other.event(kept["id"], "asleep", 2)
        assert (await other.job(kept["id"]))["preemption_count"] == 1


async def test_a_job_reads_what_it_was_made_with(tmp_path: Path) -> None:
    async with running(tmp_path, run_jobs=False) as api:
        job = await word_count(api)
        await api.upload("a.txt", b"changed")
        assert (await api.http.delete("/files/delete/b.txt")).status_code == 200
    async with running(tmp_path) as api:
        assert (await api.wait(job["id"]))["status"] == "COMPLETED"
        outputs = await api.rows(job["id"], "outputs")
        assert [await content(api, o) for o in outputs] == ["one,1\ntwo,2\n", "three,1\n", "four,1\n"]


async def test_a_job_whose_pipeline_is_gone_fails_and_says_so(tmp_path: Path) -> None:
    async with running(tmp_path, run_jobs=False) as api:
        job = await api.submit("babble")
    async with running(tmp_path, pipelines=None) as api:
        ended = await api.wait(job["id"])
        assert (ended["status"], ended["error"]["code"]) == ("FAILED", "pipeline_not_found")


async def test_a_command_that_cannot_be_started_fails_the_job(tmp_path: Path) -> None:
    async with running(tmp_path) as api:
        job = await api.wait((await api.submit("no-such-command"))["id"])
        assert (job["status"], job["error"]["code"]) == ("FAILED", "worker_not_started")
        assert "not-a-program" in job["error"]["message"]


async def test_a_fault_of_the_service_itself_fails_the_job_and_not_the_service(tmp_path: Path) -> None:
    async with running(tmp_path) as api:
        await api.wait((await api.submit("babble"))["id"])  # the scheduler is under way
        (tmp_path / "runs").rmdir()
        (tmp_path / "runs").touch()
        job = await api.wait((await api.submit("babble"))["id"])
        assert (job["status"], job["error"]["code"]) == ("FAILED", "internal_error")
        (tmp_path / "runs").unlink()
        assert (await api.http.post(f"/batch/jobs/{job['id']}/retry")).status_code == 200
        assert (await api.wait(job["id"], "COMPLETED"))["retry_count"] == 1


async def test_a_scheduler_that_cannot_start_is_not_waited_for(tmp_path: Path) -> None:
    async with running(tmp_path, run_jobs=False):
        pass
    (tmp_path / "runs").rmdir()
    (tmp_path / "runs").touch()
    with pytest.raises(ServiceError, match="cannot be written"):
        async with running(tmp_path):
            pass
    (tmp_path / "runs").unlink()
    (tmp_path / "scheduler.lock").mkdir()
    with pytest.raises(IsADirectoryError):
        async with running(tmp_path) as api:
            while True:
                await api.job("job_x")


async def test_what_a_killed_process_left_behind_is_removed_once_it_is_old(tmp_path: Path) -> None:
    async with running(tmp_path, run_jobs=False) as api:
        kept = (await api.upload("a.txt"))["file_uid"]
    for parent, name in (("contents", "fil_old"), ("incoming", "fil_older"), ("incoming", "fil_new")):
        (tmp_path / parent / name).mkdir()
        (tmp_path / parent / name / "a.txt").touch()
        if name != "fil_new":
            os.utime(tmp_path / parent / name, (0, 0))
    os.utime(tmp_path / "contents" / kept, (0, 0))
    async with running(tmp_path) as api:
        await api.wait((await api.submit("babble"))["id"])
    assert [path.name for path in (tmp_path / "contents").iterdir()] == [kept]
    assert [path.name for path in (tmp_path / "incoming").iterdir()] == ["fil_new"]


async def test_many_jobs_run_once_each_and_never_more_at_a_time_than_fit(tmp_path: Path) -> None:
    async with running(tmp_path, capacity=3) as api:
        await api.upload("a.txt", b"one two")
        inputs = {"worker.text": [{"file_id": "a.txt"}]}
        made = await asyncio.gather(*(api.submit("word-count", inputs=inputs) for _ in range(15)))
        ended = [await api.wait(job["id"]) for job in made]
        assert {job["status"] for job in ended} == {"COMPLETED"}
        for job in ended:
            assert len(await api.rows(job["id"], "events", event_type="job_admitted")) == 1
            assert len(await api.rows(job["id"], "outputs")) == 1
        spans = [(job["started_at"], job["completed_at"]) for job in ended]
        for start, _ in spans:
            assert sum(begin <= start < end for begin, end in spans) <= 3
