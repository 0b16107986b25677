"""One round: which specs, who leads, what `apply --yes` does with them, and what is known afterwards.

A round never raises: whatever goes wrong is its result. Where it may not act, it observes all the same, so that what
is recorded of the jobs does not grow old while somebody puts the specs right.
"""

from __future__ import annotations

import asyncio
import contextlib
import traceback
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Literal, Protocol, TypeAlias, get_args

from reconciler.actions import Plan
from reconciler.apply import Outcome
from reconciler.connect import LOCAL
from reconciler.errors import (
    Interrupted,
    KeyRefused,
    PlanRefused,
    PlatformUnavailable,
    ReconcilerError,
    SpecError,
    StateLocked,
)
from reconciler.job import RecordedJob
from reconciler.loop.backoff import Backoff, held_back, is_denied, is_outage
from reconciler.loop.following import Clone, FetchFailed, Folder
from reconciler.loop.leading import Leadership, Standby
from reconciler.reconcile import Applied, Hooks, PlanRequest, Settings, Status, apply, status
from reconciler.signals import Stop

Result: TypeAlias = Literal[
    "done", "failed", "refused", "invalid", "fetch_failed", "unavailable", "denied", "locked", "standby", "error",
    "interrupted",
]  # fmt: skip
RESULTS: tuple[str, ...] = get_args(Result)
WORKED = frozenset({"done", "failed"})
"""Results of rounds that carried out their plan, whatever became of its actions."""
OUTAGES = frozenset({"unavailable", "denied"})
"""Results of rounds that failed for a reason which all jobs share: no job is to blame."""
_OBSERVES = frozenset({"invalid", "refused", "fetch_failed", "error"})
_DENIED = "the platform refuses all that was asked for", "check ATAI_API_KEY, and what that key may do"


@dataclass(frozen=True, slots=True)
class Round:
    """What came of one round."""

    number: int
    trigger: str
    began: datetime
    result: Result = "done"
    ended: datetime | None = None
    commit: str | None = None
    plan: Plan | None = None
    outcomes: tuple[Outcome, ...] = ()
    held: frozenset[str] = frozenset()
    """Jobs that were left alone since their last submissions failed."""
    jobs: Mapping[str, RecordedJob] | None = None
    """All that is recorded, by name; None where it is not known."""
    unsettled: Mapping[str, str] = field(default_factory=dict)
    unobserved: int = 0
    notes: tuple[str, ...] = ()
    error: ReconcilerError | None = None
    traceback: str | None = None
    """Of a bug."""

    @property
    def seconds(self) -> float:
        """How long it took."""
        return (self.ended - self.began).total_seconds() if self.ended else 0.0


class Told(Protocol):
    """Who hears of a round as it goes on."""

    def progress(self) -> None:
        """Something has moved."""

    def outcome(self, number: int, outcome: Outcome) -> None:
        """An action of round `number` has come to an end."""

    def round(self, made: Round) -> None:
        """A round is over."""


@dataclass(slots=True)
class Rounds:
    """Makes rounds, and remembers between them what failed. `read`: the settings and the request as they are now."""

    follow: Folder | Clone
    read: Callable[[], tuple[Settings, PlanRequest]]
    leadership: Leadership
    told: Told
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    backoff: Backoff = field(default_factory=Backoff)
    settings: Settings | None = None
    """Those that were right last."""
    _number: int = 0
    _embedded: bool = False
    _seen: dict[str, tuple[str, int]] = field(default_factory=dict)
    """Lineage and serial of each state that rounds have worked on, by its place."""
    _kept: contextlib.AsyncExitStack = field(default_factory=contextlib.AsyncExitStack)

    async def one(self, trigger: str, stop: Stop) -> Round:
        """Make one round."""
        self._number += 1
        made = Round(self._number, trigger, self.now())
        acting = _Acting()
        made = await _whatever_happens(made, self._act(made, acting, stop), stop)
        made = replace(made, commit=acting.commit, plan=acting.plan, ended=self.now())
        if made.result in _OBSERVES and self.leadership.held and stop.error() is None:
            made = await _whatever_happens(made, self._observe(made), stop)
        self.told.round(made)
        return made

    async def _act(self, made: Round, acting: _Acting, stop: Stop) -> Round:
        if self.leadership.path is not None:
            self.leadership.take(self.leadership.path)  # who only stands by fetches nothing
        acting.commit = await self.follow.newest()
        self.told.progress()
        settings, request = self.read()
        settings = replace(settings, known=self._seen.get(_place(settings)))
        self.follow.refuse(settings.state)
        self.leadership.take(settings.journal.with_suffix(".leader"))
        self.settings = settings
        await self._run_embedded(settings)
        pauses = self.backoff.pauses(self.now())

        def review(plan: Plan) -> bool:
            acting.plan = plan
            self.told.progress()
            return True

        hooks = Hooks(
            review=review,
            outcome=lambda outcome: self.told.outcome(made.number, outcome),
            news=lambda records: self.told.progress(),
            sent=lambda upload, num_bytes: self.told.progress(),
        )
        applied = await apply(settings, replace(request, pauses=pauses), stop, hooks)
        outcomes = {o.name: o for o in applied.outcomes}
        result = _result(applied)
        blameless = result in OUTAGES
        self.backoff = self.backoff.after(applied.plan.actions, outcomes, pauses, self.now(), outage=blameless)
        seen = await status(settings, (), refresh=False)
        self._remember(settings, seen)
        return replace(
            made,
            result="interrupted" if stop.error() else result,
            outcomes=applied.outcomes,
            held=held_back(applied.plan.actions, pauses) | (self.backoff.failing.keys() & outcomes.keys()),
            jobs=seen.records,
            unsettled=seen.unsettled,
            unobserved=applied.unobserved,
            notes=applied.notes,
            error=KeyRefused(*_DENIED) if result == "denied" else None,
        )

    async def _run_embedded(self, settings: Settings) -> None:
        """The embedded service runs jobs only while somebody keeps it: from the first round on that is the loop."""
        if settings.endpoint == LOCAL and not self._embedded:
            await self._kept.enter_async_context(settings.connect(run_jobs=True))
            self._embedded = True

    async def close(self) -> None:
        """Give back all that is held: the lead, the clone, the embedded service."""
        await self._kept.aclose()
        self.leadership.release()
        self.follow.close()

    async def _observe(self, made: Round) -> Round:
        """Ask after the jobs that are recorded, with the settings that were right last, and write down what they do."""
        if self.settings is None:
            return made
        try:
            seen = await status(self.settings, ())
        except ReconcilerError as error:
            return replace(made, notes=(*made.notes, f"the jobs were not observed: {error.message}"))
        self._remember(self.settings, seen)
        return replace(made, jobs=seen.records, unsettled=seen.unsettled, notes=(*made.notes, *seen.notes))

    def _remember(self, settings: Settings, seen: Status) -> None:
        """A record that goes on being the same one only ever gets newer."""
        if seen.serial:
            self._seen[_place(settings)] = seen.lineage, seen.serial


async def _whatever_happens(made: Round, work: Coroutine[None, None, Round], stop: Stop) -> Round:
    """What comes of `work` on the round `made`. Raises nothing, unless it is cancelled by another than a signal."""
    try:
        return await work
    except asyncio.CancelledError:
        if stop.error() is None:
            raise
        return replace(made, result="interrupted")
    except ReconcilerError as error:
        return replace(made, result=_result_of(error), error=error)
    except Exception as error:  # noqa: BLE001 - a bug must not end the loop, nor hide in it
        what = ReconcilerError(f"this is a bug in reconciler: {type(error).__name__}: {error}", "please report it")
        return replace(made, result="error", error=what, traceback=traceback.format_exc())


def _place(settings: Settings) -> str:
    return str(settings.address or settings.state.absolute())


@dataclass(slots=True)
class _Acting:
    """What is known of a round before it is over."""

    commit: str | None = None
    plan: Plan | None = None


def _result(applied: Applied) -> Result:
    if is_denied(applied.outcomes, applied.asked, applied.unobserved):
        return "denied"
    if is_outage(applied.outcomes, applied.asked, applied.unobserved):
        return "unavailable"
    return "failed" if any(o.outcome in ("failed", "unknown") for o in applied.outcomes) else "done"


def _result_of(error: ReconcilerError) -> Result:
    kinds: tuple[tuple[type[ReconcilerError], Result], ...] = (
        (Standby, "standby"),
        (StateLocked, "locked"),
        (SpecError, "invalid"),
        (PlanRefused, "refused"),
        (KeyRefused, "denied"),
        (PlatformUnavailable, "unavailable"),
        (FetchFailed, "fetch_failed"),
        (Interrupted, "interrupted"),
    )
    return next((result for kind, result in kinds if isinstance(error, kind)), "error")
