"""Short ways to make the nouns in tests."""

from __future__ import annotations

from typing import Any

from reconciler.errors import Location
from reconciler.job import DesiredJob, ObservedJob, Policy, RecordedJob, State
from reconciler.resolve import fingerprint

ENDPOINT = "https://platform.example/v0.5"


def request(value: Any = 1, **more: Any) -> dict[str, Any]:
    """A resolved request with one parameter."""
    parameters = {"worker": {"config": {"value": value}}}
    return {"pipeline_type": "batch", "pipeline_key": "k", "parameters": parameters, **more}


def desired(name: str = "a", value: Any = 1, **policy: Any) -> DesiredJob:
    """A job that a spec asks for."""
    body = request(value)
    return DesiredJob(name, body, fingerprint(body), Location(f"specs/{name}.yaml", 1, 1), Policy(**policy))


def recorded(status: str = "RUNNING", value: Any = 1, job_id: str = "job_1", **more: Any) -> RecordedJob:
    """A record of a submission."""
    body = request(value)
    return RecordedJob(
        job_id=job_id,
        fingerprint=fingerprint(body),
        request=body,
        spec_path="specs/old.yaml",
        status=status,
        submitted_at="2026-01-01T00:00:00Z",
        **more,
    )


def observed(status: str = "RUNNING", job_id: str = "job_1", name: str = "a", **more: Any) -> ObservedJob:
    """What the platform says."""
    raw = {"id": job_id, "name": name, "status": status}
    return ObservedJob(id=job_id, name=name, status=status, pipeline_type="batch", pipeline_key="k", raw=raw, **more)


def state(serial: int = 1, /, **jobs: RecordedJob) -> State:
    """A state with these records, each of generation 1."""
    return State(lineage="L", serial=serial, endpoint=ENDPOINT, jobs=jobs, generations=dict.fromkeys(jobs, 1))
