"""A state that is only looked at tells of its records what the whole one tells."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from reconciler.glance import _RAW, _Record, glance
from reconciler.job import (
    Cancellation,
    Move,
    PastJob,
    PlatformFile,
    RecordedJob,
    Retry,
    Source,
    State,
)
from reconciler.state import dumps

AT = "2026-01-01T00:00:00Z"
PRINT = "sha256:" + "0" * 64
PLAIN = RecordedJob(job_id="job_1", fingerprint=PRINT, request={}, spec_path="specs/a.yaml", status="COMPLETED")
FULL = RecordedJob(
    job_id="job_2",
    fingerprint=PRINT,
    request={"pipeline_key": "k", "inputs": {"p": [{"file_id": "é"}]}, "parameters": {"w": {"config": {"x": 1.0}}}},
    spec_path="specs/b.yaml",
    line=3,
    pipeline_version="1",
    status="FAILED",
    submitted_at=AT,
    observed_at=AT,
    commit="c",
    source=Source(commit="c", dirty=True),
    secrets={"KEY": "scrypt:1"},
    why="new",
    taken_over_at=AT,
    attempts=2,
    observed={"id": "job_2", "error": {"message": "no"}},
    gone=True,
    protect=True,
    on_remove="forget",
    reruns=("again",),
    retries=(Retry(attempt=2, at=AT),),
    cancellation=Cancellation(attempt=2, at=AT),
    moves=(Move(moved_from="z", at=AT, spec_path="specs/z.yaml"),),
    files={"f": PlatformFile(file_uid="u", num_bytes=1)},
    sources={"a": "job_1"},
    history=(PastJob(job_id="job_0", fingerprint=PRINT, status="COMPLETED", reason="replaced"),),
)
STATE = State(lineage="l", serial=7, endpoint="e", jobs={"a": PLAIN, "b": FULL}, generations={"a": 1}, searched=False)


@pytest.mark.parametrize("name", RecordedJob.model_fields)
def test_every_field_is_the_same(name: str) -> None:
    seen = glance(dumps(STATE))
    assert getattr(seen.jobs["a"], name) == getattr(PLAIN, name)
    assert getattr(seen.jobs["b"], name) == getattr(FULL, name)
    assert getattr(FULL, name) != getattr(PLAIN, name) or name == "fingerprint", "else it could be a default"


def test_no_field_is_left_out() -> None:
    # One that the record gets later and that is not here would look as if it was not there.
    names = {field.encode_name for field in msgspec.structs.fields(_Record)}
    assert names == set(RecordedJob.model_fields)
    assert {name for name in _RAW} <= names


def test_what_is_not_in_the_file_has_its_default() -> None:
    data = b"""{"version": 1, "lineage": "l", "endpoint": "e", "jobs": {"a": {"job_id": "job_1", "fingerprint": "%s",
        "request": {}, "spec_path": "specs/a.yaml", "status": "COMPLETED", "of a later version": 1}}}"""
    seen = glance(data % PRINT.encode())
    for name in RecordedJob.model_fields:
        assert getattr(seen.jobs["a"], name) == getattr(PLAIN, name)
    assert (seen.serial, seen.searched, seen.generations) == (0, True, {})


@pytest.mark.parametrize("name", ["version", "lineage", "serial", "endpoint", "searched", "generations"])
def test_the_rest_of_the_state_is_the_same(name: str) -> None:
    assert getattr(glance(dumps(STATE)), name) == getattr(STATE, name)


def test_what_a_record_works_out_is_the_same() -> None:
    seen: Any = glance(dumps(STATE)).jobs
    assert (seen["a"].cancelled_by_hand, seen["b"].cancelled_by_hand) == (False, True)
    with pytest.raises(AttributeError):
        seen["a"].nothing_of_it  # noqa: B018
