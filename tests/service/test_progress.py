"""How far a job is: progress, inputs with their progress, counts, traces; and deleting it all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from scripting import pipeline, submit
from service_client import Api, running

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def said(step: int, **metrics: int) -> list[Any]:
    return ["say", {"type": "progress", "kind": "inference", "step": step, "metrics": metrics}]


async def ended_job(api: Api) -> str:
    steps = [said(1, items_processed=10, items_failed=1), ["fail", ["b"]], ["each"], said(2, items_processed=30)]
    job_id = await submit(api, *steps, ["fail", ["b"]], files=("a", "b", "c"))
    await api.wait(job_id)
    return job_id


async def test_progress_is_listed_newest_first_and_filtered(tmp_path: Path) -> None:
    async with running(tmp_path / "d", pipelines=pipeline(tmp_path / "p", fail_job_on="never")) as api:
        job_id = await ended_job(api)
        entries = await api.rows(job_id, "progress", noun="entries")
        assert [(e["kind"], e["step"], e["index"], e["input_id"]) for e in entries] == [
            ("inference", 2, 0, None),
            ("inference", 1, 0, None),
        ]
        assert entries[1]["metrics"] == {"items_processed": 10, "items_failed": 1}
        assert await api.rows(job_id, "progress", noun="entries", kind="training") == []


async def test_inputs_with_their_progress_and_counts(tmp_path: Path) -> None:
    async with running(tmp_path / "d", pipelines=pipeline(tmp_path / "p", fail_job_on="never")) as api:
        job_id = await ended_job(api)
        items = await api.rows(job_id, "inputs/progress", noun="items", order="desc")
        assert [(i["input"]["file_id"], i["input"]["status"]) for i in items] == [
            ("c", "completed"),
            ("b", "failed"),
            ("a", "completed"),
        ]
        assert [i["latest_progress"] for i in items] == [None] * 3
        some = await api.rows(job_id, "inputs/progress", noun="items", status=["failed", "pending"])
        assert [i["input"]["file_id"] for i in some] == ["b"]
        counts = (await api.http.get(f"/batch/jobs/{job_id}/inputs/progress/counts")).json()
        assert counts == {"job_id": job_id, "pending": 0, "processing": 0, "completed": 2, "failed": 1}
        none = await api.http.get(f"/batch/jobs/{job_id}/inputs/progress/counts", params={"port_name": "other"})
        assert none.json() == {"job_id": job_id, "pending": 0, "processing": 0, "completed": 0, "failed": 0}


async def test_the_latest_progress_of_an_input_is_with_it(tmp_path: Path) -> None:
    async with running(tmp_path / "d", pipelines=pipeline(tmp_path / "p")) as api:
        job = await api.wait(await submit(api, ["progress", 1], ["progress", 4], files=("a",)))
        (item,) = await api.rows(job["id"], "inputs/progress", noun="items")
        assert item["step"] == item["latest_progress"]["step"] == 4
        assert item["latest_progress"]["input_id"] == item["input"]["id"]


async def test_traces_only_grow_and_an_unchanged_answer_is_not_sent_again(tmp_path: Path) -> None:
    async with running(tmp_path / "d", pipelines=pipeline(tmp_path / "p", fail_job_on="never")) as api:
        job_id = await ended_job(api)
        path = f"/batch/jobs/{job_id}/inputs/progress/traces"
        answer = await api.http.get(path, params={"buckets": 3})
        traces = answer.json()
        points = traces["points"]
        assert 1 <= len(points) <= 10  # 3 is brought up to 10
        assert points[-1]["files"] == {"completed": 2, "failed": 1}
        assert points[-1]["items"] == {"inference": {"success": 30, "failed": 1}}
        assert (points[-1]["t"], points[-1]["step"]) == (traces["latest_event_at"], 2)
        flat = [(p["files"]["completed"], p["files"]["failed"], p["step"], p["t"]) for p in points]
        assert flat == sorted(flat)
        for tag in (answer.headers["etag"], f"W/{answer.headers['etag']}", f'"x", {answer.headers["etag"]}', "*"):
            again = await api.http.get(path, params={"buckets": 3}, headers={"if-none-match": tag})
            assert (again.status_code, again.content) == (304, b"")
        other = await api.http.get(path, params={"buckets": 3}, headers={"if-none-match": '"other"'})
        assert other.json() == traces


async def test_traces_of_a_job_without_news_are_empty(tmp_path: Path) -> None:
    async with running(tmp_path / "d", run_jobs=False, pipelines=pipeline(tmp_path / "p")) as api:
        job_id = await submit(api, files=("a",))
        traces = (await api.http.get(f"/batch/jobs/{job_id}/inputs/progress/traces")).json()
        assert traces == {"job_id": job_id, "bucket_seconds": 0.0, "latest_event_at": None, "points": []}


async def test_a_deleted_job_is_gone_with_all_that_belonged_to_it(tmp_path: Path) -> None:
    data = tmp_path / "d"
    async with running(data, pipelines=pipeline(tmp_path / "p")) as api:
        job_id = await submit(api, ["each"], ["checkpoint", "last", 1], files=("a",))
        await api.wait(job_id)
        await api.upload("a", b"newer")  # the older content is kept for the job only
        assert len(list((data / "contents").iterdir())) == 4
        assert (await api.http.delete(f"/batch/jobs/{job_id}")).json() == {"id": job_id, "deleted": True}
        assert len(list((data / "contents").iterdir())) == 1
        for path in ("", "/events", "/progress", "/inputs", "/inputs/progress", "/outputs", "/checkpoints"):
            assert (await api.refused("GET", f"/batch/jobs/{job_id}{path}"))[0] == 404
        assert (await api.refused("DELETE", f"/batch/jobs/{job_id}"))[0] == 404
        assert (await api.http.get("/batch/jobs")).json()["total"] == 0


async def test_a_job_in_flight_is_not_deleted_nor_one_whose_checkpoint_is_needed(tmp_path: Path) -> None:
    async with running(tmp_path / "d", pipelines=pipeline(tmp_path / "p"), capacity=1) as api:
        first = await submit(api, ["checkpoint", "last", 1])
        await api.wait(first)
        (saved,) = await api.rows(first, "checkpoints")
        blocker = await submit(api, ["sleep", 60])
        start = {"start": [{"kind": "checkpoint", "checkpoint_id": saved["id"]}]}
        reader = (await api.submit("scripted", inputs=start))["id"]
        for job_id, code in ((blocker, "invalid_job_state"), (reader, "invalid_job_state"), (first, "conflict")):
            status, errors = await api.refused("DELETE", f"/batch/jobs/{job_id}")
            assert (status, errors[0]["code"]) == (409, code)
        await api.http.post(f"/batch/jobs/{blocker}/cancel")
        await api.wait(reader)
        assert (await api.http.delete(f"/batch/jobs/{first}")).status_code == 200
        (shown,) = await api.rows(reader, "inputs")
        assert (await api.http.get(f"http://service/v0.5{shown['data']['ref']}")).status_code == 404
