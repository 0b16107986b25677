"""The two documents that the product was asked for, against the service as it ships."""

from __future__ import annotations

import io
import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from service_client import running

WIRE = Path(__file__).parents[1] / "data" / "wire"
TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z")

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def document(name: str) -> dict[str, Any]:
    return dict(json.loads((WIRE / f"{name}.json").read_text()))


def png() -> bytes:
    file = io.BytesIO()
    Image.new("L", (8, 8), 128).save(file, "PNG")
    return file.getvalue()


def comparable(job: dict[str, Any]) -> dict[str, Any]:
    """What may differ between two services is replaced by what kind of thing it is."""
    shown = {key: value for key, value in job.items() if key != "input_progress"}
    for key, value in shown.items():
        if isinstance(value, str) and TIME.fullmatch(value):
            shown[key] = "<time>"
        if key in {"id", "org_id"}:
            shown[key] = value.partition("_")[0]
        if key.startswith("queue_") and value is not None:
            shown[key] = "<number>"
    return shown


async def test_the_documented_request_gets_the_documented_answers(tmp_path: Path) -> None:
    async with running(tmp_path) as api:
        await api.upload("file_abc123", png(), "image/png")
        await api.upload("file_def456", png(), "image/png")
        created = await api.http.post("/batch/jobs", json=document("create-job.request"))
        assert created.status_code == 201
        made = created.json()
        assert comparable(made) == comparable(document("create-job.response"))
        assert list(comparable(made)) == list(comparable(document("create-job.response")))
        assert re.fullmatch(r"job_[0-9a-hjkmnp-tv-z]{26}", made["id"])
        assert (made["queue_position"], made["queue_depth"]) == (1, 1)
        ended = await api.wait(made["id"])
        assert comparable(ended) == comparable(document("get-job.response"))
        assert ended["input_progress"] == {"pending": 0, "processing": 0, "completed": 2, "failed": 0}
        outputs = await api.rows(made["id"], "outputs")
        assert {output["port_name"] for output in outputs} == {"results"}


def recording(*, worn: bool) -> bytes:
    """Sensor data in which a worn pump shakes."""
    rows = [f"2026-11-20T08:00:{n % 60:02d}Z,{math.sin(n / 9):.4f},{(n % 7) * worn}" for n in range(640)]
    return "\n".join(["ts,p,q", *rows, ""]).encode()


async def test_the_job_of_the_newer_documents_runs_as_they_say(tmp_path: Path) -> None:
    async with running(tmp_path) as api:
        await api.upload("pump3_2026w47.csv", recording(worn=True), "text/csv")
        await api.upload("ok.csv", recording(worn=False), "text/csv")
        await api.upload("worn.csv", recording(worn=True), "text/csv")
        created = await api.http.post("/batch/jobs", json=document("create-job-pump.request"))
        assert created.status_code == 201
        shown = document("get-job-pump.response")
        ended = await api.wait(created.json()["id"])
        assert set(ended) == set(shown)
        assert ended["status"] == "COMPLETED"
        assert {type(ended[key]) for key in ("retry_count", "preemption_count")} == {int}
        assert set(ended["input_progress"]) == set(shown["input_progress"])
        asked = shown["parameters"]["worker"]["config"]
        assert asked.items() <= ended["parameters"]["worker"]["config"].items()  # resolved: with the defaults
        inputs = await api.rows(ended["id"], "inputs")
        assert [(i["port_name"], i["data"]["metadata"], i["status"]) for i in inputs] == [
            ("worker.inference", {}, "completed"),
            ("worker.n_shots", {"class": "ok"}, "reference"),
            ("worker.n_shots", {"class": "worn"}, "reference"),
        ]
        (output,) = await api.rows(ended["id"], "outputs")
        assert output["input_file_id"] == "pump3_2026w47.csv"
        assert (await api.http.get(f"http://service/v0.5{output['data']['ref']}")).text.count(",worn,") == 10


async def test_a_pipeline_schema_has_the_documented_form(tmp_path: Path) -> None:
    async with running(tmp_path, run_jobs=False) as api:
        rows = (await api.http.get("/batch/registry/pipelines")).json()["pipelines"]
        shown = document("pipeline-schema.response")
        for row in rows:
            schema = (await api.http.get(f"/batch/registry/pipelines/{row['id']}/schema")).json()
            assert set(schema) == set(shown)
            for port in schema["inputs"].values():
                assert set(port) == set(shown["inputs"]["worker.data"])
            for port in schema["outputs"].values():
                assert set(port) == set(shown["outputs"]["worker.result"])
