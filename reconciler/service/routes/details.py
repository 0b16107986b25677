"""`/batch/jobs/{id}/…` and `/batch/contents`: events, inputs, outputs, and the content behind links."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query
from fastapi.responses import FileResponse

from reconciler.service import wire
from reconciler.service.errors import refuse
from reconciler.service.routes.context import Ctx, Org, Page

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


@router.get("/contents/{content_id}", response_class=FileResponse)
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
