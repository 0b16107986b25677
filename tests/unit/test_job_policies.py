"""`reconcile` in a spec, as a table: when a job runs again, when it is cancelled, and what a removed spec means."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from nouns import desired, recorded, state

from reconciler.actions import Action
from reconciler.durations import seconds, told
from reconciler.entries import Cancelled, Entry, Intent, Moved, Protected, Submitted
from reconciler.facts import Facts, PlanOptions
from reconciler.job import Cancellation, RecordedJob, State
from reconciler.plan import make_plan
from reconciler.record import fold

NOW = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)


def planned(have: RecordedJob | None, options: PlanOptions = PlanOptions(), value: Any = 1, **policy: Any) -> Action:
    jobs = {"a": have} if have else {}
    (action,) = make_plan(Facts({"a": desired("a", value, **policy)}, state(**jobs), now=NOW), options).actions
    return action


def ended(status: str, minutes: int = 60, cause: str | None = None, attempts: int = 1) -> RecordedJob:
    """A job that ended so many minutes ago; `cause` when we cancelled it."""
    at = f"2026-01-01T{11 if minutes else 12}:{60 - minutes if 0 < minutes < 60 else 0:02}:00Z"
    ours = Cancellation(attempt=attempts, cause=cause, at=at) if cause else None
    return recorded(status, observed={f"{status.lower()}_at": at}, cancellation=ours, attempts=attempts)


ALL = ("failed", "cancelled", "timeout", "preempted")


@pytest.mark.parametrize(
    ("have", "policy", "action", "reason"),
    [
        (ended("FAILED"), {}, "keep", "failed; no retry policy"),
        (ended("FAILED"), {"attempts": 2}, "retry", "failed; attempt 2 of 2"),
        (ended("CANCELLED"), {"attempts": 2}, "retry", "cancelled; attempt 2 of 2"),
        (ended("FAILED", attempts=2), {"attempts": 2}, "keep", "failed; no attempts left of 2"),
        (
            ended("FAILED"),
            {"attempts": 2, "retry_on": ("timeout",)},
            "keep",
            "failed; retry is for timeout, not for failed",
        ),
        (
            ended("CANCELLED"),
            {"attempts": 2, "retry_on": ("failed",)},
            "keep",
            "retry is for failed, not for cancelled",
        ),
        (ended("CANCELLED", cause="timeout"), {"attempts": 2}, "keep", "not for timeout"),
        (
            ended("CANCELLED", cause="timeout"),
            {"attempts": 2, "retry_on": ALL},
            "retry",
            "cancelled (timeout); attempt 2 of 2",
        ),
        (
            ended("CANCELLED", cause="preempted"),
            {"attempts": 2, "retry_on": ALL},
            "retry",
            "cancelled (preempted); attempt",
        ),
        (ended("FAILED", cause="timeout"), {"attempts": 2}, "retry", "failed; attempt 2 of 2"),  # it failed first
        (ended("CANCELLED", cause="hand"), {"attempts": 9, "retry_on": ALL}, "keep", "cancelled by hand"),
        (ended("FAILED", cause="hand"), {"attempts": 9, "retry_on": ALL}, "keep", "failed; cancelled by hand before"),
        (ended("CANCELLED", cause="suspend"), {}, "retry", "no longer suspended"),
        (ended("CANCELLED", cause="replace"), {}, "retry", "cancelled for another job that was not submitted"),
        (ended("CANCELLED", cause="suspend"), {"suspend": True}, "keep", "cancelled; suspended"),
        (ended("FAILED"), {"attempts": 2, "suspend": True}, "keep", "failed; suspended"),
        (
            ended("FAILED", 10),
            {"attempts": 2, "backoff": 1200.0},
            "keep",
            "attempt 2 of 2 not before 2026-01-01T12:10:00Z",
        ),
        (ended("FAILED", 20), {"attempts": 2, "backoff": 1200.0}, "retry", "failed; attempt 2 of 2"),
        (
            ended("FAILED", 30, attempts=2),
            {"attempts": 3, "backoff": 1200.0},
            "keep",
            "not before 2026-01-01T12:10:00Z",
        ),
        (ended("COMPLETED"), {"attempts": 9, "retry_on": ALL, "suspend": True}, "keep", "up to date"),
    ],
)
def test_when_a_job_runs_again(have: RecordedJob, policy: dict[str, Any], action: str, reason: str) -> None:
    made = planned(have, **policy)
    assert (made.action, reason in made.reason) == (action, True), made.reason
    assert made.attempt == (have.attempts + 1 if action == "retry" else None)


def test_a_budget_counts_the_runs_that_were_asked_for_before_this_process() -> None:
    have = ended("FAILED", attempts=2)
    assert planned(have, attempts=3).attempt == 3
    assert planned(have.model_copy(update={"attempts": 3}), attempts=3).action == "keep"


def going(status: str, **times: str) -> RecordedJob:
    return recorded(status, observed=times)


@pytest.mark.parametrize(
    ("have", "policy", "cause", "reason"),
    [
        (
            going("RUNNING", started_at="2026-01-01T10:00:00Z"),
            {"timeout": 3600.0},
            "timeout",
            "running for more than 1h",
        ),
        (going("RUNNING", started_at="2026-01-01T11:30:00Z"), {"timeout": 3600.0}, None, "in progress"),
        (going("PENDING", started_at="2026-01-01T01:00:00Z"), {"timeout": 3600.0}, None, "in progress"),
        (going("RUNNING"), {"timeout": 1.0}, None, "in progress"),  # when it began is not known
        (going("RUNNING", started_at="soon"), {"timeout": 1.0}, None, "in progress"),
        (
            going("PREEMPTED", updated_at="2026-01-01T10:00:00Z"),
            {"preempted": 3600.0},
            "preempted",
            "PREEMPTED for more than 1h",
        ),
        (going("PREEMPTED", updated_at="2026-01-01T11:30:00Z"), {"preempted": 3600.0}, None, "in progress"),
        (going("RUNNING", updated_at="2026-01-01T10:00:00Z"), {"preempted": 3600.0}, None, "in progress"),
        (going("SOME_FUTURE_STATUS"), {"suspend": True}, "suspend", "suspended; cancels job_1 (SOME_FUTURE_STATUS)"),
        (going("RUNNING"), {}, None, "in progress"),
    ],
)
def test_when_a_job_is_cancelled(have: RecordedJob, policy: dict[str, Any], cause: str | None, reason: str) -> None:
    made = planned(have, **policy)
    assert (made.action, made.cause, made.cancels) == ("cancel" if cause else "keep", cause, bool(cause))
    assert reason in made.reason
    if cause:
        blocked = planned(have, **policy, protect=True)
        assert (blocked.action, blocked.blocked) == ("keep", "cancel")
        lifted = planned(have, PlanOptions(unprotect=frozenset("a")), **policy, protect=True)
        assert lifted.action == "cancel"


def test_without_a_clock_nothing_is_cancelled_for_its_time() -> None:
    have = going("RUNNING", started_at="2020-01-01T10:00:00Z")
    facts = Facts({"a": desired("a", 1, timeout=1.0)}, state(a=have))
    assert make_plan(facts).actions[0].action == "keep"


@pytest.mark.parametrize(
    ("have", "value", "action", "reason"),
    [
        (None, 1, "keep", "suspended; it is not submitted"),
        (recorded("RUNNING", 2), 1, "cancel", "suspended; cancels job_1 (RUNNING)"),
        (recorded("COMPLETED", 2), 1, "keep", "changed, but suspended"),
        (recorded("RUNNING", 1), 1, "cancel", "suspended"),
    ],
)
def test_a_suspended_job_is_not_submitted(have: RecordedJob | None, value: int, action: str, reason: str) -> None:
    made = planned(have, value=value, suspend=True)
    assert (made.action, reason in made.reason) == (action, True)


@pytest.mark.parametrize(
    ("reruns", "text", "action"),
    [((), None, "keep"), ((), "june", "replace"), (("june",), "june", "keep"), (("june", "july"), "june", "keep")],
)
def test_an_unchanged_spec_runs_again_once_for_each_text(
    reruns: tuple[str, ...], text: str | None, action: str
) -> None:
    made = planned(recorded("COMPLETED", reruns=reruns), rerun=text)
    assert made.action == action
    if action == "replace":
        assert (made.reason, made.rerun) == ("asked for with rerun: june", "june")


def test_a_text_has_had_its_run_with_the_submission_that_it_came_with() -> None:
    intent = Intent(
        name="a", at="t", action="create", fingerprint="sha256:" + "0" * 64, generation=1, token="t",
        request={}, spec_path="a", rerun="june", on_remove="cancel",
    )  # fmt: skip
    done = Submitted(name="a", at="t", token="t", job_id="job_2", job={"status": "PENDING"})
    first = fold(state(), [intent, done]).state
    assert (first.jobs["a"].reruns, first.jobs["a"].on_remove) == (("june",), "cancel")
    more: list[Entry] = [intent.model_copy(update={"generation": 2, "token": "u", "rerun": "july"}),
            done.model_copy(update={"token": "u", "job_id": "job_3"})]  # fmt: skip
    assert fold(first, more).state.jobs["a"].reruns == ("june", "july")


@pytest.mark.parametrize(
    ("status", "on_remove", "action", "reason"),
    [
        ("RUNNING", "prune", "orphan", "--prune would cancel"),
        ("RUNNING", "cancel", "cancel", "spec removed; cancels job_1"),
        ("COMPLETED", "cancel", "forget", "spec removed"),
        ("RUNNING", "forget", "forget", "job_1 (RUNNING) is left to itself"),
        ("FAILED", "forget", "forget", "spec removed"),
    ],
)
def test_what_a_removed_spec_means(status: str, on_remove: str, action: str, reason: str) -> None:
    have = recorded(status, on_remove=on_remove)
    (made,) = make_plan(Facts({}, state(a=have))).actions
    assert (made.action, reason in made.reason) == (action, True)
    (kept,) = make_plan(Facts({}, state(a=have.model_copy(update={"protect": True})))).actions
    assert kept.cancels is False


def test_a_job_keeps_its_record_under_the_name_that_its_spec_says_it_had() -> None:
    have = recorded("RUNNING", 1, job_id="job_old")
    facts = Facts({"new": desired("new", 2, moved_from="old")}, state(old=have))
    (made,) = make_plan(facts).actions
    assert (made.action, made.moved_from, made.job_id, made.cancels) == ("replace", "old", "job_old", True)
    assert made.reason.startswith("renamed from old; 1 field changed")
    (same,) = make_plan(Facts({"new": desired("new", 1, moved_from="old")}, state(old=have))).actions
    assert (same.action, same.moved_from) == ("move", "old")
    grown = state(old=have).model_copy(update={"generations": {"old": 7}})
    assert make_plan(Facts(facts.desired, grown)).actions[0].generation == 8
    done = fold(state(old=have), [Moved(name="new", at="t", job_id="job_old", moved_from="old", spec_path="s")])
    (after,) = make_plan(Facts({"new": desired("new", 1, moved_from="old")}, done.state)).actions
    assert after.action == "keep"


def test_an_explicit_name_wins_over_one_that_only_looks_the_same() -> None:
    jobs = state(old=recorded("COMPLETED", 2), other=recorded("COMPLETED", 1, job_id="job_2"))
    actions = make_plan(Facts({"new": desired("new", 1, moved_from="old")}, jobs)).actions
    assert {(a.name, a.action) for a in actions} == {("new", "replace"), ("other", "orphan")}


SUBMITTED = recorded("COMPLETED", 1, job_id="job_old")
MOVED = fold(state(old=SUBMITTED), [Moved(name="new", at="t", job_id="job_old", moved_from="old", spec_path="s")]).state


@pytest.mark.parametrize(
    ("value", "moved_from", "others", "known", "warning"),
    [
        (
            2,
            "odl",
            [],
            state(old=SUBMITTED),
            "no record has the name 'odl' (did you mean 'old'?); the job is taken as new",
        ),
        (1, "odl", [], state(old=SUBMITTED), "no record has the name 'odl' (did you mean 'old'?)"),  # it is moved
        (2, "else", [], state(old=SUBMITTED), "no record has the name 'else'; the job is taken as new"),
        (2, "odl", ["old"], state(old=SUBMITTED), "no record has the name 'odl'; the job is taken as new"),
        (
            2,
            "old",
            ["old"],
            state(old=SUBMITTED),
            "'old' is a spec that is there (specs/old.yaml:1), and keeps its record",
        ),
        (2, "old", [], state(old=SUBMITTED), None),
        (2, "old", [], MOVED, None),
        (2, "old", ["old"], MOVED, None),  # the old name belongs to another job by now
        (2, None, [], state(old=SUBMITTED), None),
    ],
)
def test_a_rename_that_does_not_come_about_is_no_silent_submission(
    value: int, moved_from: str | None, others: list[str], known: State, warning: str | None
) -> None:
    wanted = {"new": desired("new", value, moved_from=moved_from), **{n: desired(n, 1) for n in others}}
    made = make_plan(Facts(wanted, known))
    told_of = [w for w in made.warnings if "moved_from" in w]
    assert [w.startswith(f"new: moved_from: {warning}") for w in told_of] == ([True] if warning else [])
    moved = [a.name for a in made.actions if a.action == "move"]
    assert moved == (["new"] if value == 1 else [])


def test_a_second_rename_is_told_where_the_record_went() -> None:
    made = make_plan(Facts({"newest": desired("newest", 2, moved_from="old"), "new": desired("new", 1)}, MOVED))
    assert made.warnings == (
        "newest: moved_from: no record has the name 'old' (it was renamed to 'new' before); the job is taken as new",
    )


def test_why_a_job_was_cancelled_and_what_its_removal_means_are_recorded() -> None:
    entries: list[Entry] = [
        Cancelled(name="a", at="t", job_id="job_1", attempt=1, cause="timeout"),
        Protected(name="a", at="t", job_id="job_1", protect=False, on_remove="forget"),
    ]
    job = fold(state(a=recorded("RUNNING")), entries).state.jobs["a"]
    assert job.cancellation is not None
    assert (job.cancellation.cause, job.on_remove) == ("timeout", "forget")


@pytest.mark.parametrize(
    ("text", "length"),
    [("90", 90), ("90s", 90), ("5m", 300), ("1.5h", 5400), ("2d", 172800), ("500ms", 0.5), ("5 m", None), ("-5m", None),
     ("5w", None), ("", None), ("1.2.3s", None)],
)  # fmt: skip
def test_lengths_of_time(text: str, length: float | None) -> None:
    assert seconds(text) == length


@pytest.mark.parametrize(
    ("length", "text"), [(0, "0s"), (0.5, "500ms"), (59.9, "59s"), (3600, "1h"), (3725, "1h 2m"), (90061, "1d 1h")]
)
def test_lengths_are_told_in_two_units(length: float, text: str) -> None:
    assert told(length) == text
