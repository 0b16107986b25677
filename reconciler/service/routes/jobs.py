"""`/batch/jobs`: make, look at, cancel and retry jobs."""

from __future__ import annotations

from typing import Annotated, Any, get_args

from fastapi import APIRouter, Header, Query, Response

from reconciler.service import wire
from reconciler.service.errors import ApiError, refuse
from reconciler.service.jobs import CANCELLABLE, RETRYABLE, IllegalTransition, JobStatus
from reconciler.service.routes.context import Ctx, Org, Page
from reconciler.service.store import JobFilter, JobView, NewJob
from reconciler.service.submission import choose_pipeline, input_faults, resolve_parameters

router = APIRouter(prefix="/batch/jobs", tags=["jobs"])

IdempotencyKey = Annotated[
    str | None,
    Header(min_length=1, max_length=255, description="The same key with the same body makes one job, not two."),
]


def _answer(view: JobView) -> dict[str, Any]:
    job = view.job
    return {
        "id": job.id,
        "org_id": job.org_id,
        "name": job.name,
        "pipeline_type": job.pipeline_type,
        "pipeline_key": job.pipeline_key,
        "pipeline_version": job.pipeline_version,
        "status": job.status,
        "parameters": job.parameters,
        "retry_count": job.retry_count,
        "preemption_count": job.preemption_count,
        "queue_position": view.queue_position,
        "queue_depth": view.queue_depth,
        "input_progress": view.input_progress,
        "created_at": job.created_at,
        "updated_at": job.updated_at,
        "started_at": job.started_at,
        "completed_at": job.completed_at,
        "failed_at": job.failed_at,
        "cancelled_at": job.cancelled_at,
        "error": job.error,
    }


@router.post("", status_code=201, response_model=wire.JobAnswer, openapi_extra={"x-errors": ["404"]})
def create_job(
    body: wire.CreateJob, context: Ctx, org: Org, response: Response, idempotency_key: IdempotencyKey = None
) -> dict[str, Any]:
    """Put a job into the queue."""
    if idempotency_key:
        found = context.store.replayed(org, idempotency_key, body)
        if found:  # before anything is checked: what the job was made from may be gone by now
            response.headers["Idempotency-Replayed"] = "true"
            return _answer(found)
    pipeline = choose_pipeline(context.registry, body, org)
    parameters, faults = resolve_parameters(pipeline, body)
    faults += input_faults(pipeline, body)
    ports = pipeline.definition.inputs
    new = NewJob(
        org_id=org,
        body=body,
        pipeline_version=pipeline.definition.pipeline_version,
        parameters=parameters,
        tracked=frozenset(name for name, port in ports.items() if port.tracked),
        priority=pipeline.definition.priority,
    )
    view, replayed = context.store.create(new, idempotency_key, faults)
    if replayed:
        response.headers["Idempotency-Replayed"] = "true"
    context.wake()
    return _answer(view)


@router.get("", response_model=wire.JobPage)
def list_jobs(
    context: Ctx,
    org: Org,
    page: Page,
    pipeline_type: wire.PipelineType | None = None,
    status: Annotated[list[JobStatus] | None, Query(description="May be repeated.")] = None,
    q: Annotated[str | None, Query(description="Part of the name or the id, in any case.")] = None,
) -> dict[str, Any]:
    """Jobs, newest first."""
    wanted = JobFilter(org, pipeline_type, status or (), q)
    total, views = context.store.page(wanted, offset=page.offset, limit=page.limit)
    return {
        "total": total,
        "offset": page.offset,
        "limit": page.limit,
        "jobs": [_answer(view) for view in views],
    }


# Before `/{job_id}`, which would take the word for an id.
@router.get("/queue", response_model=wire.Queues)
def queue_depths(context: Ctx) -> dict[str, Any]:
    """How many jobs of each type wait."""
    depths = context.store.queue_depths()
    kinds = get_args(wire.PipelineType)
    return {"queues": [{"pipeline_type": kind, "depth": depths.get(kind, 0)} for kind in kinds]}


@router.get("/{job_id}", response_model=wire.JobAnswer)
def get_job(job_id: str, context: Ctx, org: Org) -> dict[str, Any]:
    """One job."""
    return _answer(context.store.get(org, job_id))


@router.post("/{job_id}/cancel", response_model=wire.CancelAnswer)
def cancel_job(job_id: str, context: Ctx, org: Org) -> dict[str, Any]:
    """Stop a job that has not ended."""
    try:
        job = context.store.cancel(org, job_id)
    except IllegalTransition as error:
        raise _conflict(error, "cancelled", CANCELLABLE) from None
    context.wake()
    return {"id": job.id, "status": job.status, "cancelled_at": job.cancelled_at}


@router.post("/{job_id}/retry", response_model=wire.RetryAnswer)
def retry_job(job_id: str, context: Ctx, org: Org) -> dict[str, Any]:
    """Queue a job again that FAILED or was CANCELLED. What it had put out is removed."""
    try:
        job, dropped = context.store.retry(org, job_id)
    except IllegalTransition as error:
        raise _conflict(error, "retried", RETRYABLE) from None
    for content_id in dropped:
        context.contents.remove(content_id)
    context.wake()
    return {"id": job.id, "status": job.status, "retry_count": job.retry_count}


@router.delete("/{job_id}", response_model=wire.DeleteAnswer)
def delete_job(job_id: str, context: Ctx, org: Org) -> dict[str, Any]:
    """Remove a job for good, with its inputs, outputs, checkpoints, events and progress.

    Only jobs that have ended can be deleted: cancel first. The files that it read are not touched. Its
    `Idempotency-Key` is forgotten with it.
    """
    for content_id in context.store.delete(org, job_id):
        context.contents.remove(content_id)
    return {"id": job_id, "deleted": True}


def _conflict(error: IllegalTransition, verb: str, allowed: frozenset[JobStatus]) -> ApiError:
    return refuse(
        409,
        "invalid_job_state",
        f"job {error.job.id} is {error.job.status} and cannot be {verb}",
        f"only jobs that are {', '.join(sorted(allowed))} can be {verb}",
    )
