"""When what failed is tried again: the table, and the plan that goes by it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from nouns import desired, recorded, state

from reconciler.actions import Action
from reconciler.apply import Outcome
from reconciler.errors import ExitCode
from reconciler.facts import Facts, Pause
from reconciler.job import DesiredJob, RecordedJob
from reconciler.loop.backoff import LONGEST_JOB, LONGEST_PLATFORM, Backoff, is_denied, is_outage, pause_after
from reconciler.plan import make_plan

NOW = datetime(2026, 4, 14, 10, 0, 0, tzinfo=UTC)
FAILED = Outcome("a", "create", "failed", error="HTTP 400", exit_code=ExitCode.FAILED)
LATE = Outcome("a", "create", "failed", error="no connection", exit_code=ExitCode.TRY_LATER)
UNKNOWN = Outcome("a", "create", "unknown", error="no answer", exit_code=ExitCode.UNKNOWN)
DONE = Outcome("a", "create", "done", "job_1", "PENDING")
SKIPPED = Outcome("a", "create", "skipped", error="interrupted before it began")
DENIED = Outcome("a", "create", "failed", error="HTTP 403", exit_code=ExitCode.FAILED, denied=True)


def minutes(count: float) -> timedelta:
    return timedelta(minutes=count)


@pytest.mark.parametrize(
    ("failures", "longest", "seconds"),
    [
        (0, LONGEST_JOB, 0),
        (1, LONGEST_JOB, 60),
        (2, LONGEST_JOB, 120),
        (3, LONGEST_JOB, 240),
        (6, LONGEST_JOB, 1920),
        (7, LONGEST_JOB, 3600),
        (10_000, LONGEST_JOB, 3600),
        (4, LONGEST_PLATFORM, 480),
        (5, LONGEST_PLATFORM, 600),
    ],
)
def test_pauses_double_up_to_the_longest(failures: int, longest: float, seconds: float) -> None:
    assert pause_after(failures, longest) == seconds


def planned(
    want: DesiredJob,
    pauses: dict[str, Pause],
    now: datetime | None = NOW,
    jobs: dict[str, RecordedJob] | None = None,
) -> Action:
    made = make_plan(Facts({want.name: want}, state(**(jobs or {})), now=now, pauses=pauses))
    assert not made.refusals
    return made.actions[0]


def paused(want: DesiredJob) -> dict[str, Pause]:
    return {want.name: Pause(want.fingerprint, NOW + minutes(1), "HTTP 400: bad parameter")}


@pytest.mark.parametrize(
    ("jobs", "otherwise"),
    [
        ({}, "create"),
        ({"a": recorded("RUNNING", 1)}, "replace"),
        ({"a": recorded("COMPLETED", 1)}, "replace"),
    ],
)
def test_what_failed_is_left_alone_until_its_time_has_come(jobs: dict[str, RecordedJob], otherwise: str) -> None:
    want = desired("a", 2)
    assert planned(want, {}, jobs=jobs).action == otherwise
    action = planned(want, paused(want), jobs=jobs)
    assert (action.action, action.request, action.cancels, action.changes) == ("keep", None, False, ())
    assert "not before 2026-04-14T10:01:00Z: HTTP 400: bad parameter" in action.reason
    assert planned(want, paused(want), NOW + minutes(1), jobs).action == otherwise


def test_a_retry_that_was_refused_waits_as_well() -> None:
    want = desired("a", 1, attempts=3)
    assert planned(want, {}, jobs={"a": recorded("FAILED", 1)}).action == "retry"
    assert planned(want, paused(want), jobs={"a": recorded("FAILED", 1)}).action == "keep"


def test_a_spec_that_has_changed_is_tried_at_once() -> None:
    before, after = desired("a", 1), desired("a", 2)
    assert planned(after, paused(before)).action == "create"


def test_without_a_clock_nothing_waits() -> None:
    assert planned(desired("a"), paused(desired("a")), None).action == "create"


def test_what_is_no_submission_never_waits() -> None:
    want = desired("a", 1)
    up_to_date = planned(want, paused(want), jobs={"a": recorded("COMPLETED", 1)})
    assert (up_to_date.action, up_to_date.reason) == ("keep", "up to date")


def test_a_job_that_needs_one_that_is_held_back_says_so() -> None:
    want = desired("a")
    other = DesiredJob("b", {"pipeline_key": "k"}, "sha256:b", want.location, needs=frozenset({"a"}))
    made = make_plan(Facts({"a": want, "b": other}, state(), now=NOW, pauses=paused(want)))
    assert [(a.name, a.action, a.waits_for) for a in made.actions] == [("b", "create", ("a",)), ("a", "keep", ())]


class History:
    """Rounds about one job, at the times when its back-off lets it be tried."""

    def __init__(self) -> None:
        self.backoff, self.now = Backoff(), NOW

    def round(self, outcome: Outcome | None, want: DesiredJob, **how: Any) -> str:
        """The action of a round that ended so."""
        pauses = self.backoff.pauses(self.now)
        action = planned(want, pauses, self.now)
        outcomes = {} if outcome is None or action.action == "keep" else {"a": outcome}
        self.backoff = self.backoff.after([action], outcomes, pauses, self.now, **how)
        return action.action

    def pause(self) -> float | None:
        due = self.backoff.next_due(self.now)
        return (due - self.now).total_seconds() / 60 if due else None


def test_each_failure_doubles_the_pause_and_success_ends_it() -> None:
    history, want = History(), desired("a")
    pauses = []
    for _ in range(8):
        assert history.round(FAILED, want) == "create"
        assert history.round(FAILED, want) == "keep"
        pauses.append(history.pause())
        history.now += minutes(pauses[-1] or 0)
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60]
    assert history.round(DONE, want) == "create"
    assert history.backoff == Backoff()


def test_the_count_survives_rounds_in_which_it_waits_or_is_skipped() -> None:
    history, want = History(), desired("a")
    history.round(FAILED, want)
    for _ in range(5):
        history.now += timedelta(seconds=10)
        assert history.round(None, want) == "keep"
    history.now += timedelta(seconds=10)
    assert history.round(SKIPPED, want) == "create"
    history.round(FAILED, want)
    assert history.pause() == 2


def test_another_fingerprint_begins_anew_and_a_removed_spec_is_forgotten() -> None:
    history = History()
    for _ in range(3):
        history.round(FAILED, desired("a", 1))
        history.now += minutes(history.pause() or 0)
    assert history.round(FAILED, desired("a", 2)) == "create"
    assert history.pause() == 1
    history.backoff = history.backoff.after([], {}, {}, history.now)
    assert history.backoff == Backoff()


def test_an_unknown_outcome_waits_before_it_is_submitted_once_more() -> None:
    history = History()
    history.round(UNKNOWN, desired("a"))
    assert history.pause() == 1


def test_in_an_outage_no_job_is_to_blame() -> None:
    history, want = History(), desired("a")
    history.round(LATE, want, outage=True)
    assert history.pause() is None
    history.round(FAILED, want)
    history.now += minutes(1)
    history.round(LATE, want, outage=True)
    history.round(FAILED, want)
    assert history.pause() == 2


def test_a_clock_that_was_put_back_holds_nobody_for_a_day() -> None:
    history, want = History(), desired("a")
    history.round(FAILED, want)
    history.now -= timedelta(days=1)
    assert history.round(DONE, want) == "create"


@pytest.mark.parametrize(
    ("outcomes", "asked", "unobserved", "expected"),
    [
        ([], 0, 0, False),
        ([], 5, 0, False),
        ([], 5, 4, False),
        ([], 5, 5, True),
        ([LATE], 0, 0, True),
        ([LATE], 5, 0, False),
        ([LATE, FAILED], 0, 0, False),
        ([LATE, DONE], 5, 5, False),
        ([UNKNOWN], 0, 0, False),
        ([LATE, UNKNOWN], 3, 3, True),
        ([Outcome("b", "forget", "done"), LATE], 0, 0, True),
    ],
)
def test_an_outage_is_when_nothing_at_all_was_answered(
    outcomes: list[Outcome], asked: int, unobserved: int, expected: bool
) -> None:
    assert is_outage(outcomes, asked, unobserved) is expected
    assert not is_denied(outcomes, asked, unobserved)


@pytest.mark.parametrize(
    ("outcomes", "asked", "unobserved", "expected"),
    [
        ([], 0, 0, False),
        ([DENIED], 0, 0, True),
        ([DENIED], 2, 2, True),
        ([DENIED], 2, 1, False),
        ([DENIED, DENIED], 2, 0, True),
        ([DENIED, DONE], 0, 0, False),
        ([DENIED, FAILED], 0, 0, False),
        ([DENIED, LATE], 0, 0, False),
        ([DENIED, Outcome("b", "forget", "done")], 0, 0, True),
        ([DENIED, Outcome("b", "create", "skipped")], 0, 0, True),
    ],
)
def test_the_key_is_refused_when_all_that_was_tried_is(
    outcomes: list[Outcome], asked: int, unobserved: int, expected: bool
) -> None:
    assert is_denied(outcomes, asked, unobserved) is expected
    if expected:
        assert not is_outage(outcomes, asked, unobserved)
