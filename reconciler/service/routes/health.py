"""`/healthz` and `/readyz`: for whoever starts, restarts or balances the service. Neither needs a key."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Response

from reconciler.service import wire
from reconciler.service.routes.context import Ctx

router = APIRouter(tags=["health"])


_OPEN: dict[str, Any] = {"security": []}
_UNREADY = {"example": {"value": {"status": "unready", "reasons": ["the data folder cannot be written: storage_full"]}}}


@router.head("/healthz", include_in_schema=False)
@router.get("/healthz", response_model=wire.Health, openapi_extra=_OPEN)
async def healthz() -> dict[str, Any]:
    """The process answers. Takes no thread, so it answers when all of them wait for the disk."""
    return {"status": "ok"}


@router.head("/readyz", include_in_schema=False)
@router.get(
    "/readyz",
    response_model=wire.Readiness,
    responses={503: {"model": wire.Readiness, "content": {"application/json": {"examples": _UNREADY}}}},
    openapi_extra=_OPEN | {"x-not-errors": ["503"]},
)
def readyz(context: Ctx, response: Response) -> dict[str, Any]:
    """Jobs and files can be taken, and jobs are run; 503 and the reasons when not."""
    reasons = context.readiness.reasons()
    response.status_code = 503 if reasons else 200
    return {"status": "unready" if reasons else "ready", "reasons": reasons}
