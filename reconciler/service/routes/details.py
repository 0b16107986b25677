"""`/batch/jobs/{id}/…` and `/batch/contents`: events, inputs, outputs, and the content behind links."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Header, Query, Response
from fastapi.responses import FileResponse

from reconciler.service import wire
from reconciler.service.errors import refuse
from reconciler.service.routes.context import Ctx, Org, Page

TrackedStatus = Literal["pending", "processing", "completed", "failed"]
router = APIRouter(prefix="/batch", tags=["details"])


@router.get("/jobs/{job_id}/events", response_model=wire.EventPage)
def list_events(
    job_id: str,
    context: Ctx,
    org: Org,
    page: Page,
    level: wire.EventLevel | None = None,
    event_type: str | None = None,
    input_id: str | None = None,
) -> dict[str, Any]:
    """What happened to the job, newest first."""
    filters = {"level": level, "event_type": event_type, "input_id": input_id}
    return context.details.events(org, job_id, filters, offset=page.offset, limit=page.limit)


@router.get("/jobs/{job_id}/inputs", response_model=wire.InputPage)
def list_inputs(
    job_id: str,
    context: Ctx,
    org: Org,
    page: Page,
    port_name: str | None = None,
    status: wire.InputStatus | None = None,
) -> dict[str, Any]:
    """The job's inputs, in the order of the request that made it."""
    filters = {"port_name": port_name, "status": status}
    return context.details.inputs(org, job_id, filters, offset=page.offset, limit=page.limit)


@router.get("/jobs/{job_id}/outputs", response_model=wire.OutputPage)
def list_outputs(
    job_id: str,
    context: Ctx,
    org: Org,
    page: Page,
    port_name: str | None = None,
    input_id: str | None = None,
) -> dict[str, Any]:
    """What the job has put out so far, with links that work for an hour."""
    filters = {"port_name": port_name, "input_id": input_id}
    return context.details.outputs(org, job_id, filters, offset=page.offset, limit=page.limit)


@router.get("/jobs/{job_id}/checkpoints", response_model=wire.CheckpointPage)
def list_checkpoints(job_id: str, context: Ctx, org: Org, page: Page) -> dict[str, Any]:
    """What a training job has saved on its way, oldest first; the last is the furthest.

    The id goes into the input of another job: `{"kind": "checkpoint", "checkpoint_id": "ckp_…"}`.
    """
    return context.details.checkpoints(org, job_id, offset=page.offset, limit=page.limit)


@router.get("/jobs/{job_id}/progress", response_model=wire.ProgressPage)
def list_progress(
    job_id: str, context: Ctx, org: Org, page: Page, kind: str | None = None, input_id: str | None = None
) -> dict[str, Any]:
    """What the workers said about how far they are, newest first."""
    filters = {"kind": kind, "input_id": input_id}
    return context.progress.entries(org, job_id, filters, offset=page.offset, limit=page.limit)


@router.get("/jobs/{job_id}/inputs/progress", response_model=wire.InputProgressPage)
def list_inputs_progress(
    job_id: str,
    context: Ctx,
    org: Org,
    page: Page,
    port_name: str | None = None,
    status: Annotated[list[TrackedStatus] | None, Query(description="May be repeated.")] = None,
    order: Annotated[Literal["asc", "desc"], Query(description="The request's order, or the last first.")] = "asc",
) -> dict[str, Any]:
    """The tracked inputs, each with the last that was said about it."""
    return context.progress.inputs(
        org,
        job_id,
        port_name=port_name,
        statuses=status or (),
        descending=order == "desc",
        offset=page.offset,
        limit=page.limit,
    )


@router.get("/jobs/{job_id}/inputs/progress/counts", response_model=wire.InputCounts)
def get_inputs_counts(job_id: str, context: Ctx, org: Org, port_name: str | None = None) -> dict[str, Any]:
    """How many tracked inputs are in each status."""
    return context.progress.counts(org, job_id, port_name)


@router.get(
    "/jobs/{job_id}/inputs/progress/traces",
    response_model=wire.Traces,
    responses={
        200: {"headers": {"ETag": {"schema": {"type": "string"}, "description": "Changes when the answer does."}}},
        304: {"description": "Nothing has changed since the answer with this ETag."},
    },
)
def get_inputs_traces(
    job_id: str,
    context: Ctx,
    org: Org,
    response: Response,
    buckets: Annotated[int, Query(description="How many points at most; brought into 10 to 1000.")] = 100,
    if_none_match: Annotated[str | None, Header(description="The ETag of an earlier answer.")] = None,
) -> Any:
    """Cumulative counts over time: inputs that have ended, and items that the workers said they have done.

    Items are counted from the metrics `items_processed` and `items_failed` of the progress entries, by their kind.
    """
    tag, answer = context.progress.traces(org, job_id, min(max(buckets, 10), 1000))
    known = [each.strip().removeprefix("W/") for each in (if_none_match or "").split(",")]
    if tag in known or "*" in known:
        return Response(status_code=304, headers={"ETag": tag})
    response.headers["ETag"] = tag
    return answer


@router.get("/contents/{content_id}", response_class=FileResponse, openapi_extra={"x-errors": ["403"]})
def get_content(
    content_id: str,
    context: Ctx,
    org: Org,
    expires: Annotated[int, Query(ge=0, lt=1 << 53)],
    signature: str,
) -> FileResponse:
    """The bytes behind the `ref` of an input or output."""
    context.links.check(content_id, expires, signature)
    filename, file_type = context.details.content(org, content_id)
    path = context.contents.path(content_id, filename)
    if not path.is_file():
        raise refuse(404, "not_found", f"the content {content_id!r} has just been removed")
    return FileResponse(path, media_type=file_type, filename=filename)
