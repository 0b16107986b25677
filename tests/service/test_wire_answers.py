"""The two documents that the product was asked for, against the service as it ships."""

from __future__ import annotations

import io
import json
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
