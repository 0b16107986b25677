"""Numbers for Prometheus. Each service has a registry of its own, so that two in one process do not add up."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import get_args

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from reconciler.service import wire
from reconciler.service.database import Database
from reconciler.service.jobs import JobStatus
from reconciler.service.middleware import at_start
from reconciler.service.scheduler import Scheduler

# Anybody may send any method and path: labels are taken from what there is, so that their number stays bounded.
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
_NO_ROUTE = "none"


class Metrics:
    """What is counted as it happens, and what is looked up when somebody asks."""

    def __init__(self, database: Database, scheduler: Scheduler) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_Stock(database, scheduler))
        labels = ("method", "route")
        self._requests = Counter("http_requests", "Answers to requests.", (*labels, "status"), registry=self._registry)
        self._seconds = Histogram(
            "http_request_duration_seconds", "From the head to the end of the answer.", labels, registry=self._registry
        )

    def count(self, method: str, route: str, status: int, seconds: float) -> None:
        """One request has been answered. `route` is a template: `/batch/jobs/{job_id}`."""
        method = method if method in _METHODS else "other"
        self._requests.labels(method, route, str(status)).inc()
        self._seconds.labels(method, route).observe(seconds)

    def text(self) -> bytes:
        """All of it, in the text format of Prometheus. Raises what the database raises."""
        return generate_latest(self._registry)


class _Stock(Collector):
    """How much there is at the moment."""

    def __init__(self, database: Database, scheduler: Scheduler) -> None:
        self._database = database
        self._scheduler = scheduler

    def describe(self) -> list[Metric]:
        return []  # asked for at registration, where the names need not be known

    def collect(self) -> Iterator[Metric]:
        with self._database.read() as tx:
            rows = tx.execute("SELECT pipeline_type, status, SUM(n) FROM job_counts GROUP BY 1, 2").fetchall()
            files, size = tx.execute("SELECT COUNT(*), COALESCE(SUM(num_bytes), 0) FROM files WHERE current").fetchone()
        counts = {(kind, status): 0 for kind in get_args(wire.PipelineType) for status in JobStatus}
        counts |= {(kind, JobStatus(status)): n for kind, status, n in rows}

        jobs = GaugeMetricFamily("jobs", "Jobs of all organisations.", labels=("pipeline_type", "status"))
        depth = GaugeMetricFamily("queue_depth", "Jobs that wait.", labels=("pipeline_type",))
        for (kind, status), n in counts.items():
            jobs.add_metric((kind, status), n)
            if status is JobStatus.PENDING:
                depth.add_metric((kind,), n)
        yield jobs
        yield depth
        capacity = self._scheduler.capacity
        yield GaugeMetricFamily("slots_total", "Slots for parallel work.", capacity)
        yield GaugeMetricFamily("slots_used", "Slots that something runs on.", capacity - self._scheduler.free)
        yield GaugeMetricFamily("files", "Files of all organisations.", files)
        yield GaugeMetricFamily("files_bytes", "Their bytes.", size)


class Measured:
    """Counts each request and takes its time."""

    def __init__(self, app: ASGIApp, *, metrics: Metrics, clock: Callable[[], float] = time.perf_counter) -> None:
        self._app = app
        self._metrics = metrics
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = self._clock()
        status = 500  # what an exception that nothing takes ends in

        def note(start: Message) -> None:
            nonlocal status
            status = start["status"]

        try:
            await self._app(scope, receive, at_start(send, note))
        finally:
            self._metrics.count(scope["method"], _template(scope), status, self._clock() - began)


def _template(scope: Scope) -> str:
    """The path of the route that was found, not of the request, without a prefix that all have in common."""
    route = scope.get("route")
    return getattr(route, "path", _NO_ROUTE).removeprefix("/v0.5")
