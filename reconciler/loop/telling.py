"""What is told of the rounds: to the log, to the metrics, and to whoever asks for the health of the loop.

A round has its line each time, and so has an action that was begun. What stays as it is from round to round (a fault of
the specs, a warning, a job that is held back) is told once, and again when it has changed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from reconciler.apply import Outcome
from reconciler.errors import SpecError
from reconciler.job import JobStatus, RecordedJob
from reconciler.loop.health import Health
from reconciler.loop.leading import Leadership
from reconciler.loop.logs import Level, Log
from reconciler.loop.rounds import WORKED, Round
from reconciler.text import plural

if TYPE_CHECKING:
    from reconciler.loop.metrics import Metrics

_MOST = 50
"""Lines of one kind that one round writes; the rest is counted."""
_LEVELS: Mapping[str, Level] = {"done": "info", "standby": "info", "locked": "info", "interrupted": "info"}
_OF_OUTCOMES: Mapping[str, Level] = {"done": "info", "skipped": "warning", "failed": "error", "unknown": "error"}


@dataclass(slots=True)
class Telling:
    """Hears of rounds. `metrics`: None where nobody can ask for them."""

    log: Log
    health: Health
    leadership: Leadership
    metrics: Metrics | None = None
    _standing: dict[str, frozenset[str]] = field(default_factory=dict)
    """What was told last of each kind of thing that may stay as it is."""
    _skipped: set[str] = field(default_factory=set)
    _statuses: dict[str, tuple[str, str]] = field(default_factory=dict)

    def progress(self) -> None:
        """Something has moved."""
        self.health.beat()

    def waiting(self, text: str) -> None:
        """A round waits for the lock, or for the platform."""
        self.health.beat()
        self.log.line("info", "waiting", text)

    def outcome(self, number: int, outcome: Outcome) -> None:
        """An action has come to an end."""
        self.health.beat()
        if outcome.outcome != "skipped":
            self._action(number, outcome)

    def round(self, made: Round) -> None:
        """A round is over."""
        self.health.heard(made)
        if self.metrics is not None:
            self.metrics.heard(made, leader=self.leadership.held)
        if made.result == "standby":
            if made.error is not None:
                self._once("standby", [made.error.message], made.number, "info")
            return
        if self._standing.pop("standby", None):
            self.log.line("info", "leader", "this loop leads now")
        self._details(made)
        self._changes(made)
        level = _LEVELS.get(made.result, "error" if made.result not in WORKED else "warning")
        self.log.line(
            level,
            "round",
            _round_text(made),
            round=made.number,
            result=made.result,
            trigger=made.trigger,
            seconds=round(made.seconds, 3),
            commit=made.commit,
            actions=made.plan.summary() if made.plan else None,
            outcomes=dict(Counter(o.outcome for o in made.outcomes)) if made.result in WORKED else None,
            held_back=len(made.held) if made.result in WORKED else None,
            error=made.error.message if made.error else None,
            hint=made.error.hint if made.error else None,
            traceback=made.traceback,
        )

    def _details(self, made: Round) -> None:
        """What there is to say beside the round itself."""
        number = made.number
        for note in made.notes:
            self.log.line("info", "note", f"round {number}: {note}", round=number)
        if made.result in WORKED:
            outcomes = {_action_text(o): o for o in made.outcomes if o.outcome == "skipped" or o.action == "keep"}
            for text in sorted(outcomes.keys() - self._skipped)[:_MOST]:
                self._action(number, outcomes[text])
            self._skipped = set(outcomes)
            self._once("held_back", _held(made), number, "warning")
        if made.result in WORKED or made.result == "invalid":
            faults = made.error.diagnostics if isinstance(made.error, SpecError) else ()
            errors = [f"{d.location or ''}: {d.severity}[{d.code}] {d.summary}".lstrip(": ") for d in faults]
            self._once("fault", errors, number, "error")
        if made.plan is not None:
            self._once("warning", made.plan.warnings, number, "warning")

    def _once(self, event: str, texts: Iterable[str], number: int, level: Level) -> None:
        """Those of the texts that were not told the last time."""
        now = frozenset(texts)
        new = sorted(now - self._standing.get(event, frozenset()))
        self._standing[event] = now
        for text in new[:_MOST]:
            self.log.line(level, event, f"round {number}: {text}", round=number)
        if len(new) > _MOST:
            self.log.line(level, event, f"round {number}: and {len(new) - _MOST:,} more", round=number)

    def _action(self, number: int, outcome: Outcome) -> None:
        self.log.line(
            _OF_OUTCOMES[outcome.outcome],
            "action",
            f"round {number}: {_action_text(outcome)}",
            **_fields(number, outcome),
        )

    def _changes(self, made: Round) -> None:
        """Jobs that have another status than after the round before."""
        if made.jobs is None:
            return
        before, self._statuses = self._statuses, {n: (r.job_id, r.status) for n, r in made.jobs.items()}
        for name, record in made.jobs.items():
            job_id, status = before.get(name, ("", ""))
            if job_id == record.job_id and status != record.status:  # another job in its place was an action
                self._change(made.number, name, record, status)

    def _change(self, number: int, name: str, record: RecordedJob, before: str) -> None:
        bad = record.status in (JobStatus.FAILED, JobStatus.CANCELLED)
        self.log.line(
            "warning" if bad else "info",
            "status",
            f"round {number}: {name} is {record.status}, was {before} ({record.job_id})",
            round=number,
            name=name,
            job_id=record.job_id,
            status=record.status,
            before=before,
        )


def _fields(number: int, outcome: Outcome) -> dict[str, Any]:
    return {
        "round": number,
        "name": outcome.name,
        "action": outcome.action,
        "outcome": outcome.outcome,
        "job_id": outcome.job_id,
        "status": outcome.status,
        "error": outcome.error,
        "hint": outcome.hint,
    }


def _action_text(outcome: Outcome) -> str:
    done = f"{outcome.action} {outcome.name}: {outcome.outcome}"
    where = f" ({outcome.job_id}, {outcome.status})" if outcome.job_id and outcome.outcome == "done" else ""
    error = f": {outcome.error}" if outcome.error else ""
    return f"{done}{where}{error}" + (f"; {outcome.hint}" if outcome.hint else "")


def _held(made: Round) -> list[str]:
    """The jobs that the plan left alone for their failures, and until when."""
    actions = made.plan.actions if made.plan else ()
    return [f"{a.name}: {a.reason}" for a in actions if a.name in made.held and a.action == "keep"]


def _round_text(made: Round) -> str:
    head = f"round {made.number} {made.result.replace('_', ' ')} in {made.seconds:.1f} s ({made.trigger})"
    told = [f"{count:,} {outcome}" for outcome, count in sorted(Counter(o.outcome for o in made.outcomes).items())]
    if made.plan is not None and made.result in WORKED:
        unchanged = sum(a.unchanged and a.name not in made.held for a in made.plan.actions)
        told += [f"{unchanged:,} unchanged"] if unchanged else []
    if made.held:
        told.append(f"{len(made.held):,} held back")
    if made.unobserved:
        told.append(f"{plural(made.unobserved, 'job')} not observed")
    if made.error is not None:
        told.append("; ".join([made.error.message, *made.error.details, *filter(None, [made.error.hint])]))
    if made.commit:
        told.append(f"commit {made.commit[:12]}")
    return f"{head}: {', '.join(told)}" if told else head
