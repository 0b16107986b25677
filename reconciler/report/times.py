"""When a job waited and ran, read from the times that the platform gave it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, TypeAlias

from reconciler.job import JobStatus, RecordedJob, is_terminal, parse_time

Phase: TypeAlias = Literal["waited", "ran", "earlier"]
"""`earlier`: waiting and runs before the last start. The platform does not say when those began and ended."""

_BEFORE_START = frozenset({JobStatus.PENDING, JobStatus.ADMITTED})


@dataclass(frozen=True, slots=True)
class Times:
    """What is known of queued → started → ended; None is not known, or has not happened."""

    queued: datetime | None = None
    started: datetime | None = None
    ended: datetime | None = None
    preempted: datetime | None = None
    """Since when a PREEMPTED job waits again."""
    repeated: bool = False
    """It was retried or preempted: `queued` is before an earlier run."""

    def spans(self, now: datetime) -> Iterator[tuple[Phase, datetime, datetime]]:
        """What it did from when to when, until it ended or `now`, in order."""
        last = self.ended or now
        if self.queued is not None:
            yield ("earlier" if self.repeated else "waited"), self.queued, self.started or last
        if self.started is not None:
            yield "ran", self.started, self.preempted or last
        if self.preempted is not None:
            yield "waited", self.preempted, last


def times(record: RecordedJob) -> Times:
    """The times of a recorded job. Those of an attempt before the present one are left out."""
    seen = record.observed
    status = record.status
    queued = _time(seen.get("created_at")) or parse_time(record.submitted_at)
    started = None if status in _BEFORE_START else _time(seen.get("started_at"))
    ended = _time(seen.get(f"{status.lower()}_at")) if is_terminal(status) else None
    if record.gone and not is_terminal(status):
        ended = parse_time(record.observed_at)
    updated = _time(seen.get("updated_at")) if status == JobStatus.PREEMPTED and started else None
    counts = (seen.get("retry_count"), seen.get("preemption_count"))
    if queued is not None and started is not None:
        queued = min(queued, started)  # it may be by our clock, and the start by the platform's
    return Times(
        queued,
        started,
        _after(ended, started or queued),
        _after(updated, started),
        repeated=record.attempts > 1 or any(type(count) is int and count > 0 for count in counts),
    )


def ran_for(record: RecordedJob) -> float | None:
    """Seconds from the last start to the end; None while it has not ended, or when the times are not known."""
    known = times(record)
    if known.started is None or known.ended is None or not is_terminal(record.status):
        return None
    return (known.ended - known.started).total_seconds()


def duration(seconds: float) -> str:
    """`0.4 s`, `3 min 20 s`, `2 h 5 min`, `3 d 4 h`."""
    whole = int(seconds)
    if seconds < 60:
        return f"{seconds:.1f} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    if whole < 86400:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86400} d {whole % 86400 // 3600} h"


def _time(value: object) -> datetime | None:
    return parse_time(value) if isinstance(value, str) else None


def _after(moment: datetime | None, earlier: datetime | None) -> datetime | None:
    """`moment`, but not before `earlier`: clocks differ, and nothing lasts less than no time."""
    return max(moment, earlier) if moment is not None and earlier is not None else moment
