"""How long to wait after a failure: for the submissions of one job, and for the whole platform. Pure.

What is remembered is remembered by this process alone: a loop that starts anew tries everything at once, once.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from reconciler.actions import SUBMITS, Action
from reconciler.apply import Outcome
from reconciler.errors import ExitCode
from reconciler.facts import Pause

FIRST = 60.0
LONGEST_JOB = 3600.0
LONGEST_PLATFORM = 600.0
"""Seconds. A platform that was down is asked sooner: nothing of ours was wrong."""
_TRIES = frozenset({*SUBMITS, "retry"})
_ASKING = _TRIES | {"cancel"}
_BAD = frozenset({"failed", "unknown"})


def pause_after(failures: int, longest: float) -> float:
    """Seconds to wait after so many failures in a row: 1, 2, 4 … minutes, and never more than `longest`."""
    return 0.0 if failures < 1 else min(longest, FIRST * 2.0 ** min(failures - 1, 30))


@dataclass(frozen=True, slots=True)
class Failing:
    """A job whose last submissions failed, so many times in a row."""

    failures: int
    pause: Pause


@dataclass(frozen=True, slots=True)
class Backoff:
    """The jobs that are failing, by name."""

    failing: Mapping[str, Failing] = field(default_factory=dict)

    def pauses(self, now: datetime) -> dict[str, Pause]:
        """What the next plan is to leave alone. A time beyond the longest pause is one of a clock that was put back."""
        horizon = now + timedelta(seconds=LONGEST_JOB)
        return {name: f.pause for name, f in self.failing.items() if now < f.pause.until <= horizon}

    def next_due(self, now: datetime) -> datetime | None:
        """When the first of them may be tried again."""
        return min((pause.until for pause in self.pauses(now).values()), default=None)

    def after(
        self,
        actions: Sequence[Action],
        outcomes: Mapping[str, Outcome],
        given: Mapping[str, Pause],
        now: datetime,
        *,
        outage: bool = False,
    ) -> Backoff:
        """What is known when a plan with these actions, made with the pauses `given`, has been carried out.

        In an `outage`, or when the key is refused, no job is to blame. One of an unknown outcome is settled by the next
        round as ever; all that waits is that it is submitted once more. A job whose spec is gone or has changed begins
        anew.
        """
        held = held_back(actions, given)
        after: dict[str, Failing] = {}
        for action in actions:
            before, outcome = self.failing.get(action.name), outcomes.get(action.name)
            bad = outcome is not None and outcome.outcome in _BAD and outcome.action in _TRIES
            skipped = outcome is not None and outcome.outcome == "skipped"  # a signal came first, or another job
            if before is not None and (action.name in held or skipped or (bad and outage)):
                after[action.name] = before
            elif bad and not outage and outcome is not None and action.fingerprint is not None:
                same = before is not None and before.pause.fingerprint == action.fingerprint
                failures = (before.failures if same and before else 0) + 1
                until = now + timedelta(seconds=pause_after(failures, LONGEST_JOB))
                after[action.name] = Failing(failures, Pause(action.fingerprint, until, outcome.error or "no answer"))
        return Backoff(after)


def held_back(actions: Sequence[Action], given: Mapping[str, Pause]) -> frozenset[str]:
    """The jobs that a plan with these actions leaves alone for the pauses that it was given."""
    return frozenset(
        a.name for a in actions if a.action == "keep" and a.name in given and given[a.name].fingerprint == a.fingerprint
    )


def is_outage(outcomes: Iterable[Outcome], asked: int, unobserved: int) -> bool:
    """Whether the platform as a whole did not answer: no job that was `asked` for was observed, nothing was done."""
    told = [o for o in outcomes if o.action in _ASKING]
    answered = any(o.outcome == "done" or (o.outcome == "failed" and o.exit_code != ExitCode.TRY_LATER) for o in told)
    if answered or unobserved < asked:
        return False
    return unobserved > 0 or any(o.outcome == "failed" for o in told)


def is_denied(outcomes: Iterable[Outcome], asked: int, unobserved: int) -> bool:
    """Whether the key as a whole is refused: so was all that was tried. One job alone may be to blame itself, as long
    as others were observed.
    """
    told = [o for o in outcomes if o.action in _ASKING and o.outcome in ("done", *_BAD)]
    return bool(told) and all(o.denied for o in told) and (len(told) > 1 or unobserved >= asked)
