"""Pipelines whose worker is `scripted.py`, each with the policy that a test is about."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from service_client import Api

WORKER = Path(__file__).parent / "scripted.py"


def pipeline(folder: Path, key: str = "scripted", **policy: Any) -> Path:
    """Write the pipeline `key` into `folder`, which is returned."""
    definition = {
        "pipeline_key": key,
        "pipeline_version": "1.0.0",
        "pipeline_type": "batch",
        "name": key,
        "components": {"worker": {"command": ["python", str(WORKER)]}},
        "user_config_schema": {"type": "object"},
        "inputs": {
            "data": {"name": "Data", "required": False},
            "start": {"name": "Start", "required": False, "tracked": False, "mode": "checkpoint"},
        },
        "outputs": {"out": {"name": "Out"}},
        **policy,
    }
    (folder / key).mkdir(parents=True)
    (folder / key / "pipeline.yaml").write_text(yaml.safe_dump(definition))
    return folder


async def submit(
    api: Api, *steps: list[Any], key: str = "scripted", files: tuple[str, ...] = (), width: int = 1, **more: Any
) -> str:
    """Submit a job that takes `steps` over `files`, which are uploaded first. Its id."""
    for name in files:
        await api.upload(name, name.encode())
    made = await api.submit(
        key,
        inputs={"data": [{"file_id": name} for name in files]},
        parameters={"worker": {"parallelism": width, "config": {"steps": [list(step) for step in steps]}}},
        **more,
    )
    return str(made["id"])


async def types(api: Api, job_id: str) -> list[str]:
    """The types of the job's events, oldest first."""
    return [event["event_type"] for event in await api.rows(job_id, "events")][::-1]
