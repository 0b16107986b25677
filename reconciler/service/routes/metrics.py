"""`/metrics`: for Prometheus. Any key opens it; give the scraper one of its own."""

from __future__ import annotations

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.responses import PlainTextResponse

from reconciler.service.routes.context import Ctx

router = APIRouter(tags=["health"])


@router.get("/metrics", response_class=PlainTextResponse)
def metrics(context: Ctx) -> Response:
    """Requests, jobs, queues, slots and files, in the text format of Prometheus."""
    return Response(context.metrics.text(), media_type=CONTENT_TYPE_LATEST)
