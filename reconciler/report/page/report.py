"""What a report is made of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from reconciler.actions import Plan
from reconciler.errors import Diagnostic
from reconciler.job import FailureLog, RecordedJob, Source
from reconciler.report.outcomes import Result


@dataclass(frozen=True, slots=True)
class Report:
    """A command, and what came of it. Fields that it has nothing for stay empty."""

    command: str
    at: datetime
    """When the report was made."""
    endpoint: str
    version: str
    serial: int | None = None
    """Of the state; None when there is none yet, or it is not known."""
    source: Source = field(default_factory=Source)
    plan: Plan | None = None
    outcomes: Sequence[Result] = ()
    records: Mapping[str, RecordedJob] = field(default_factory=dict)
    failures: Mapping[str, FailureLog] = field(default_factory=dict)
    unsettled: Mapping[str, str] = field(default_factory=dict)
    """Why the outcome of a submission is not known, by name."""
    notes: Sequence[str] = ()
    diagnostics: Sequence[Diagnostic] = ()
    stopped: Sequence[str] = ()
    """Why the command failed or ended early, a line each; empty when it did not."""
