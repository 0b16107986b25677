"""Numbers for Prometheus about the loop. Labels are taken from what there is, so that their number stays bounded."""

from __future__ import annotations

from collections import Counter as Counts
from typing import get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from reconciler import __version__
from reconciler.actions import ActionKind
from reconciler.errors import SpecError
from reconciler.job import JobStatus
from reconciler.loop.rounds import RESULTS, WORKED, Round

_TRIGGERS = ("start", "interval", "backoff", "standby", "locked", "signal", "hook")
_OUTCOMES = ("done", "failed", "unknown")
_OTHER = "other"
_BUCKETS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800)


class Metrics:
    """What is counted. It has a registry of its own."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._rounds = self._counter("rounds", "Rounds that are over, by what came of them.", "result", RESULTS)
        self._triggers = self._counter("round_triggers", "What the rounds were made for.", "trigger", _TRIGGERS)
        self._seconds = Histogram(
            "reconciler_round_duration_seconds", "How long a round took.", registry=self._registry, buckets=_BUCKETS
        )
        self._last = self._gauge("last_round_timestamp_seconds", "When the last round was over.")
        self._success = self._gauge("last_success_timestamp_seconds", "When the last round was over that was done.")
        self._actions = Counter(
            "reconciler_actions", "Actions that were begun.", ("action", "outcome"), registry=self._registry
        )
        for action in get_args(ActionKind):
            for outcome in _OUTCOMES if action not in ("keep", "orphan") else ():
                self._actions.labels(action, outcome)
        self._jobs = Gauge("reconciler_jobs", "Recorded jobs.", ("status",), registry=self._registry)
        for status in (*JobStatus, _OTHER):
            self._jobs.labels(str(status))
        self._pending = self._gauge("plan_pending", "Actions of the last plan, those that wait for other jobs too.")
        self._blocked = self._gauge("plan_blocked", "Protected jobs about which the last plan would do something.")
        self._orphans = self._gauge("plan_orphans", "Jobs whose spec is gone, which nothing is done about.")
        self._held = self._gauge("held_back_jobs", "Jobs that are not submitted again yet, since that failed.")
        self._refused = self._gauge("plan_refused", "1 when a guard refuses the last plan.")
        self._unknown = self._gauge("unknown_submissions", "Submissions of which the outcome is unknown.")
        self._unobserved = self._gauge("unobserved_jobs", "Jobs in flight that the last round could not observe.")
        self._errors = self._gauge("spec_errors", "Errors in the specs; while there are any, nothing is done.")
        self._leader = self._gauge("leader", "1 for the loop that leads, 0 for one that stands by.")
        self._hooks = self._counter(
            "hook_requests", "Requests to /hook.", "answer", ("accepted", "refused", "too_large")
        )
        info = Gauge("reconciler_build_info", "What runs.", ("version",), registry=self._registry)
        info.labels(__version__).set(1)

    def _gauge(self, name: str, text: str) -> Gauge:
        return Gauge(f"reconciler_{name}", text, registry=self._registry)

    def _counter(self, name: str, text: str, label: str, values: tuple[str, ...]) -> Counter:
        counter = Counter(f"reconciler_{name}", text, (label,), registry=self._registry)
        for value in values:
            counter.labels(value)
        return counter

    def heard(self, made: Round, *, leader: bool) -> None:
        """A round is over."""
        self._leader.set(leader)
        self._triggers.labels(made.trigger).inc()
        self._rounds.labels(made.result).inc()
        if made.result in ("standby", "locked"):
            return
        self._seconds.observe(made.seconds)
        ended = made.ended.timestamp() if made.ended else 0.0
        self._last.set(ended)
        if made.result == "done":
            self._success.set(ended)
        if made.result in WORKED or made.result == "invalid":
            self._errors.set(
                sum(d.severity == "error" for d in made.error.diagnostics) if isinstance(made.error, SpecError) else 0
            )
        self._of_plan(made)
        self._of_jobs(made)
        for outcome in made.outcomes:
            if outcome.outcome in _OUTCOMES and outcome.action not in ("keep", "orphan"):
                self._actions.labels(outcome.action, outcome.outcome).inc()

    def _of_plan(self, made: Round) -> None:
        if made.plan is None:
            return
        self._pending.set(len(made.plan.pending()))
        self._blocked.set(len(made.plan.blocked()))
        self._orphans.set(made.plan.summary().get("orphan", 0))
        self._refused.set(bool(made.plan.refusals))
        if made.result in WORKED:
            self._held.set(len(made.held))
            self._unobserved.set(made.unobserved)

    def _of_jobs(self, made: Round) -> None:
        if made.jobs is None:
            return
        counts = Counts(r.status if r.status in set(JobStatus) else _OTHER for r in made.jobs.values())
        for status in (*JobStatus, _OTHER):
            self._jobs.labels(str(status)).set(counts[status])
        self._unknown.set(len(made.unsettled))

    def hook(self, answer: str) -> None:
        """A request to the hook was answered."""
        self._hooks.labels(answer).inc()

    def text(self) -> bytes:
        """All of it, in the text format of Prometheus."""
        return generate_latest(self._registry)
