"""Making and listing jobs over HTTP; nothing runs here."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from pathlib import Path
from typing import Any

import httpx
import pytest
from service_client import BASE, entries, running

from reconciler.service.settings import Settings

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


BABBLE = {"name": "n", "pipeline_type": "batch", "pipeline_key": "babble"}


async def test_all_faults_of_a_request_are_said_at_once(tmp_path: Path) -> None:
    async with running(tmp_path, run_jobs=False) as api:
        body = {
            "name": "n",
            "pipeline_type": "batch",
            "pipeline_key": "word-count",
            "inputs": {"worker.text": [{"file_id": "gone.txt"}, {"file_id": "lost.txt"}], "nowhere": []},
            "parameters": {"other": {}, "worker": {"config": {"limit": 0, "unheard": 1}}},
        }
        status, errors = await api.refused("POST", "/batch/jobs", json=body)
        assert status == 400
        assert [(e["code"], e["message"].partition(":")[0]) for e in errors] == [
            ("invalid_parameter", "parameters.other"),
            ("invalid_parameter", "parameters.worker.config"),
            ("invalid_parameter", "parameters.worker.config.limit"),
            ("invalid_parameter", "inputs.nowhere"),
            ("file_not_found", "there is no file 'gone.txt'"),
            ("file_not_found", "there is no file 'lost.txt'"),
        ]
        assert (await api.http.get("/batch/jobs")).json()["total"] == 0


@pytest.mark.parametrize(
    ("change", "status", "code", "says"),
    [
        ({"labels": {}}, 400, "invalid_parameter", "labels: unknown key"),
        ({"name": ""}, 400, "invalid_parameter", "name"),
        ({"name": "  "}, 400, "invalid_parameter", "name"),
        ({"name": None}, 400, "invalid_parameter", "name"),
        ({"pipeline_type": "stream"}, 400, "invalid_parameter", "pipeline_type"),
        ({"pipeline_type": "training"}, 400, "invalid_parameter", "babble is a batch pipeline"),
        ({"pipeline_key": "unheard-of"}, 404, "pipeline_not_found", "'unheard-of'"),
        ({"pipeline_version": "9.9"}, 404, "pipeline_not_found", "'9.9'"),
        ({"inputs": {"data": {"file_id": "a"}}}, 400, "invalid_parameter", "inputs.data"),
        ({"inputs": {"data": [{"file": "a"}]}}, 400, "missing_parameter", "inputs.data.0.file_id"),
        ({"parameters": {"worker": {"parallelism": 0}}}, 400, "invalid_parameter", "parallelism"),
        ({"parameters": {"worker": {"parallelism": "2"}}}, 400, "invalid_parameter", "parallelism"),
    ],
)
async def test_a_request_that_cannot_be_is_refused_with_its_reason(
    tmp_path: Path, change: dict[str, Any], status: int, code: str, says: str
) -> None:
    async with running(tmp_path, run_jobs=False) as api:
        found, errors = await api.refused("POST", "/batch/jobs", json=BABBLE | change)
        assert (found, errors[0]["code"]) == (status, code)
        assert says in errors[0]["message"]


async def test_a_required_port_and_the_class_of_an_example_are_asked_for(tmp_path: Path) -> None:
    async with running(tmp_path, run_jobs=False) as api:
        await api.upload("a.csv")
        body = {
            "name": "n",
            "pipeline_type": "batch",
            "pipeline_key": "machine-state-classification",
            "inputs": {"worker.n_shots": [{"file_id": "a.csv"}, {"file_id": "a.csv", "metadata": {"class": "ok"}}]},
        }  # fmt: skip
        status, errors = await api.refused("POST", "/batch/jobs", json=body)
        assert status == 400
        said = [e["message"].partition(":")[0] for e in errors if e["code"] == "missing_parameter"]
        assert said == ["inputs.worker.inference", "inputs.worker.n_shots[0].metadata.class"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b'{"name": "a", "name": "b"}',
        b'{"name": NaN}',
        b'{"name": 1e999}',
        b'"\\ud800"',
        b"\xff",
        b"[" * 100_000,
    ],
    ids=lambda b: repr(b[:30]),
)
async def test_a_body_that_is_not_strict_json_is_refused(tmp_path: Path, body: bytes) -> None:
    async with running(tmp_path, run_jobs=False) as api:
        headers = {"content-type": "application/json"}
        status, _ = await api.refused("POST", "/batch/jobs", content=body, headers=headers)
        assert status == 400


async def test_a_body_over_the_cap_is_refused(tmp_path: Path) -> None:
    async with running(tmp_path, run_jobs=False, settings=Settings(body_limit=1000)) as api:
        status, errors = await api.refused("POST", "/batch/jobs", json=BABBLE | {"name": "x" * 1000})
        assert (status, errors[0]["code"]) == (413, "payload_too_large")


async def test_parameters_come_back_resolved(tmp_path: Path) -> None:
    async with running(tmp_path, run_jobs=False) as api:
        await api.upload("a.txt")
        made = await api.submit(
            "word-count",
            inputs={"worker.text": [{"file_id": "a.txt"}]},
            parameters={"worker": {"config": {"nested": {"b": 3}}}},
        )
        config = {"lower": True, "nested": {"a": 1, "b": 3}, "locked": "by the pipeline"}
        assert made["parameters"] == {"worker": {"parallelism": 1, "config": config}}
        assert made["pipeline_version"] == "1.0.0"


async def test_locked_config_is_refused_from_users(tmp_path: Path) -> None:
    async with running(tmp_path, run_jobs=False) as api:
        await api.upload("a.txt")
        body = BABBLE | {
            "pipeline_key": "word-count",
            "inputs": {"worker.text": [{"file_id": "a.txt"}]},
            "parameters": {"worker": {"config": {"locked": "mine"}}},
        }
        status, errors = await api.refused("POST", "/batch/jobs", json=body)
        assert status == 400
        assert "locked" in errors[0]["message"]


async def test_each_request_makes_a_job_and_a_key_makes_one(tmp_path: Path) -> None:
    async with running(tmp_path, run_jobs=False) as api:
        assert len({(await api.submit("babble"))["id"] for _ in range(3)}) == 3
        headers = {"Idempotency-Key": "token-1"}
        first = await api.http.post("/batch/jobs", json=BABBLE, headers=headers)
        assert first.headers["Idempotency-Key-Honored"] == "true"
        assert "Idempotency-Replayed" not in first.headers
        await api.http.post(f"/batch/jobs/{first.json()['id']}/cancel")
        reordered = json.dumps(dict(reversed(BABBLE.items())), indent=4)
        headers |= {"content-type": "application/json"}
        again = await api.http.post("/batch/jobs", content=reordered, headers=headers)
        assert again.status_code == 201
        assert again.headers["Idempotency-Replayed"] == "true"
        assert (again.json()["id"], again.json()["status"]) == (first.json()["id"], "CANCELLED")
        status, errors = await api.refused("POST", "/batch/jobs", json=BABBLE | {"name": "m"}, headers=headers)
        assert (status, errors[0]["code"]) == (409, "conflict")
        assert (await api.http.get("/batch/jobs")).json()["total"] == 4


async def test_one_key_sent_many_times_at_once_makes_one_job(tmp_path: Path) -> None:
    async with running(tmp_path, run_jobs=False) as one, running(tmp_path, run_jobs=False) as two:
        headers = {"Idempotency-Key": "k"}
        sent = [api.http.post("/batch/jobs", json=BABBLE, headers=headers) for api in (one, two) * 10]
        answers = await asyncio.gather(*sent)
        assert {a.status_code for a in answers} == {201}
        assert len({a.json()["id"] for a in answers}) == 1
        assert sum("Idempotency-Replayed" not in a.headers for a in answers) == 1


async def test_a_replay_needs_nothing_that_the_job_was_made_from(tmp_path: Path) -> None:
    async with running(tmp_path, run_jobs=False) as api:
        await api.upload("a")
        body = BABBLE | {"inputs": {"data": [{"file_id": "a"}]}}
        headers = {"Idempotency-Key": "k"}
        first = await api.http.post("/batch/jobs", json=body, headers=headers)
        await api.http.delete("/files/delete/a")
        again = await api.http.post("/batch/jobs", json=body, headers=headers)
        assert again.json()["id"] == first.json()["id"]


async def test_jobs_are_listed_newest_first_and_filtered(tmp_path: Path) -> None:
    async with running(tmp_path, run_jobs=False) as api:
        made = [await api.submit("babble", name=f"Run Ä{n}") for n in range(5)]
        await api.http.post(f"/batch/jobs/{made[0]['id']}/cancel")

        async def ids(**query: Any) -> list[str]:
            answer = (await api.http.get("/batch/jobs", params=query)).json()
            return [job["id"] for job in answer["jobs"]]

        newest = [job["id"] for job in reversed(made)]
        assert await ids() == newest
        assert await ids(offset=1, limit=2) == newest[1:3]
        assert await ids(status="CANCELLED") == newest[-1:]
        assert await ids(status=["CANCELLED", "PENDING"]) == newest
        assert await ids(pipeline_type="training") == []
        assert await ids(q="run ä3") == [made[3]["id"]]
        assert await ids(q=made[2]["id"][4:].upper()) == [made[2]["id"]]
        assert await ids(q="%") == []
        page = (await api.http.get("/batch/jobs", params={"limit": 1000, "offset": -5})).json()
        assert (page["total"], page["offset"], page["limit"]) == (5, 0, 100)
        assert page["jobs"][0]["parameters"] == {"worker": {"parallelism": 1, "config": {}}}
        assert [job["queue_position"] for job in page["jobs"]] == [4, 3, 2, 1, None]
        assert (await api.http.get("/batch/jobs", params={"limit": 0})).json()["limit"] == 1
        assert (await api.http.get("/batch/jobs", params={"offset": 10**40})).json()["jobs"] == []
        status, errors = await api.refused("GET", "/batch/jobs", params={"status": "DONE"})
        assert (status, errors[0]["code"]) == (400, "invalid_parameter")


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nowhere", 404, "not_found"),
        ("PATCH", "/batch/jobs", 405, "method_not_allowed"),
        ("GET", "/batch/jobs/job_x", 404, "not_found"),
        ("POST", "/batch/jobs/job_x/cancel", 404, "not_found"),
        ("POST", "/batch/jobs/job_x/retry", 404, "not_found"),
        ("GET", "/batch/jobs/job_x/events", 404, "not_found"),
        ("GET", "/batch/jobs/job_x/inputs", 404, "not_found"),
        ("GET", "/batch/jobs/job_x/outputs", 404, "not_found"),
        ("GET", "/batch/registry/pipelines/ppl_x", 404, "pipeline_not_found"),
        ("GET", "/files/metadata/x", 404, "file_not_found"),
        ("GET", "/files/download/x", 404, "file_not_found"),
        ("DELETE", "/files/delete/x", 404, "file_not_found"),
        ("GET", "/batch/jobs?limit=many", 400, "invalid_parameter"),
    ],
)
async def test_every_error_has_the_envelope(tmp_path: Path, method: str, path: str, status: int, code: str) -> None:
    async with running(tmp_path, run_jobs=False) as api:
        found, errors = await api.refused(method, path)
        assert (found, errors[0]["code"]) == (status, code)


async def test_a_fault_of_the_service_has_the_envelope_too(tmp_path: Path) -> None:
    async with running(tmp_path, run_jobs=False) as api:
        job = await api.submit("babble")
        with sqlite3.connect(tmp_path / "service.db") as database:
            database.execute("UPDATE jobs SET parameters = 'broken by hand'")
        database.close()
        assert api.app is not None
        quiet = httpx.ASGITransport(api.app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=quiet, base_url=BASE) as http:
            answer = await http.get(f"/batch/jobs/{job['id']}")
        status, errors = entries(answer)
        assert (status, errors[0]["code"]) == (500, "internal_error")
        assert answer.headers["Idempotency-Key-Honored"] == "true"


async def test_inputs_are_told_in_order_with_what_was_sent(tmp_path: Path) -> None:
    async with running(tmp_path, run_jobs=False) as api:
        await api.upload("b.csv", b"x,y\n1,2\n", "text/csv")
        await api.upload("a.csv", b"x\n", "text/csv")
        items = [{"file_id": "b.csv", "metadata": {"class": "ok"}}, {"file_id": "a.csv"}]
        made = await api.submit("babble", inputs={"data": items})
        rows = await api.rows(made["id"], "inputs")
        assert [(r["file_id"], r["data"]["metadata"]) for r in rows] == [("b.csv", {"class": "ok"}), ("a.csv", {})]
        assert rows[0]["data"]["file_attributes"]["num_rows"] == 1
        assert (rows[0]["data"]["file_extension"], rows[0]["status"]) == (".csv", "pending")
        assert await api.rows(made["id"], "inputs", status="completed") == []
        assert await api.rows(made["id"], "inputs", port_name="elsewhere") == []
        content = await api.http.get(f"http://service/v0.5{rows[0]['data']['ref']}")
        assert content.content == b"x,y\n1,2\n"


async def test_the_registry_shows_what_can_be_run(tmp_path: Path) -> None:
    async with running(tmp_path, run_jobs=False) as api:
        page = (await api.http.get("/batch/registry/pipelines")).json()
        assert page["total"] == len(page["pipelines"])
        (found,) = (p for p in page["pipelines"] if p["pipeline_key"] == "word-count")
        assert found["default_config"]["worker"]["config"]["lower"] is True
        assert found["components"]["worker"].startswith("cmp_")
        one = (await api.http.get(f"/batch/registry/pipelines/{found['id']}")).json()
        assert one == found
        schema = (await api.http.get(f"/batch/registry/pipelines/{found['id']}/schema")).json()
        assert schema["user_schema"] == found["user_config_schema"]
        assert schema["inputs"]["worker.stop"]["tracked"] is False
        none = await api.http.get("/batch/registry/pipelines", params={"status": "draft"})
        assert none.json()["total"] == 0


async def test_the_registry_tells_how_parallel_a_component_may_be_and_more_is_refused(tmp_path: Path) -> None:
    async with running(tmp_path, run_jobs=False) as api:
        rows = (await api.http.get("/batch/registry/pipelines")).json()["pipelines"]
        (found,) = (row for row in rows if row["pipeline_key"] == "fine-tuning-omega")
        worker = found["config_schema"]["properties"]["worker"]["properties"]
        assert worker["parallelism"] == {"type": "integer", "minimum": 1, "maximum": 1}
        assert worker["config"] == found["user_config_schema"]
        body: dict[str, Any] = {"name": "a", "pipeline_type": "training", "pipeline_key": "fine-tuning-omega"}
        body["parameters"] = {"worker": {"parallelism": 2}}
        status, faults = await api.refused("POST", "/batch/jobs", json=body)
        assert status == 400
        assert "parameters.worker.parallelism: it must be at most 1, not 2" in [each["message"] for each in faults]


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("PATCH", "/batch/jobs", "GET, POST"),
        ("POST", "/batch/jobs/job_x", "DELETE, GET"),
        ("DELETE", "/batch/jobs/job_x/events", "GET"),
        ("PATCH", "/batch/jobs/queue", "GET"),
        ("PATCH", "/files/uploads/upl_x/parts/urls", "POST"),
        ("GET", "/files/uploads/upl_x/parts/1", "PUT"),
    ],
)
async def test_a_method_that_is_not_allowed_says_which_are(
    tmp_path: Path, method: str, path: str, allowed: str
) -> None:
    async with running(tmp_path, run_jobs=False) as api:
        answer = await api.http.request(method, path)
        assert answer.headers["Allow"] == allowed
        assert answer.json()["errors"][0]["suggestion"] == f"it takes {allowed}"


async def test_a_body_that_is_no_object_and_a_path_that_is_none_say_what_to_do(tmp_path: Path) -> None:
    async with running(tmp_path, run_jobs=False) as api:
        for body in ({"content": "x=1"}, {"json": [1]}):
            _, errors = await api.refused("POST", "/batch/jobs", **body)
            assert errors[0]["message"] == "the body is not a JSON object"
            assert "Content-Type: application/json" in errors[0]["suggestion"]
        _, errors = await api.refused("GET", "/nowhere")
        assert errors[0]["message"].startswith("there is no endpoint")
        assert "/openapi.json" in errors[0]["suggestion"]


async def test_a_value_that_is_not_of_its_form_is_answered_with_the_form(tmp_path: Path) -> None:
    async with running(tmp_path, run_jobs=False) as api:
        body = {"filename": "../a.txt", "file_type": "text/plain", "num_bytes": 1}
        _, (fault,) = await api.refused("POST", "/files/uploads/initiate", json=body)
        assert fault["message"] == "filename: this is no such value"
        assert "no slashes" in fault["suggestion"]
        _, (fault,) = await api.refused("GET", "/batch/jobs", params={"status": "running"})
        assert fault["message"].startswith("status: Input should be 'PENDING'")
