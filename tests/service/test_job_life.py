"""The table of legal transitions, by property."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.service.jobs import ACTIVE, LEGAL, IllegalTransition, Job, JobStatus, moved

PENDING, RUNNING = JobStatus.PENDING, JobStatus.RUNNING
TERMINAL = {JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED}


def new_job() -> Job:
    return Job(
        id="job_1",
        org_id="org_1",
        name="n",
        pipeline_type="batch",
        pipeline_key="k",
        pipeline_version="1",
        parameters={},
        created_at="0",
        updated_at="0",
        turn=1,
        ticket=1,
    )


@given(st.lists(st.sampled_from(JobStatus), max_size=40))
def test_any_sequence_of_requests_keeps_a_job_consistent(targets: list[JobStatus]) -> None:
    job = new_job()
    for number, target in enumerate(targets, start=1):
        before = job
        if target not in LEGAL[job.status]:
            with pytest.raises(IllegalTransition):
                moved(job, target, at=str(number), error={})
            continue
        job = moved(job, target, at=str(number), error={"code": "c"} if target is JobStatus.FAILED else None)
        assert job.status is target
        assert job.updated_at == str(number)
        assert job.retry_count - before.retry_count == (
            target is JobStatus.PENDING and before.status is not JobStatus.PREEMPTED
        )
        assert job.preemption_count - before.preemption_count == (target is JobStatus.PREEMPTED)
        assert job.attempt - before.attempt == (target is JobStatus.ADMITTED)
        assert (job.completed_at is not None) == (target is JobStatus.COMPLETED)
        assert (job.failed_at is not None) == (job.error is not None) == (target is JobStatus.FAILED)
        assert (job.cancelled_at is not None) == (target is JobStatus.CANCELLED)
        assert job.failures == (
            0 if before.status in TERMINAL else before.failures + (target is PENDING and before.status is RUNNING)
        )
        if target is PENDING or target is JobStatus.ADMITTED:
            assert job.started_at is None
        if target is JobStatus.RUNNING:
            assert job.started_at == str(number)


def test_completed_is_final_and_everything_in_flight_can_be_cancelled() -> None:
    assert LEGAL[JobStatus.COMPLETED] == frozenset()
    in_flight = set(JobStatus) - TERMINAL
    assert {s for s in JobStatus if JobStatus.CANCELLED in LEGAL[s]} == in_flight
    assert {s for s in JobStatus if JobStatus.PREEMPTED in LEGAL[s]} == set(ACTIVE)
    assert set(LEGAL) == set(JobStatus)


def test_work_is_started_only_through_the_queue() -> None:
    assert [s for s in JobStatus if JobStatus.ADMITTED in LEGAL[s]] == [JobStatus.PENDING]
    assert [s for s in JobStatus if JobStatus.RUNNING in LEGAL[s]] == [JobStatus.ADMITTED]
