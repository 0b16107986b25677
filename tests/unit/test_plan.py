"""The decision table of the contract, row by row, and what else a plan promises."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs
from nouns import ENDPOINT, desired, observed, recorded, state

from reconciler.actions import PASSIVE, Action, Plan
from reconciler.errors import PlanRefused
from reconciler.facts import Facts, PlanOptions
from reconciler.job import Cancellation, Gone, JobStatus, Observation, Seen, State, Unreachable
from reconciler.naming import named
from reconciler.plan import make_plan

IN_FLIGHT = ["PENDING", "ADMITTED", "RUNNING", "PREEMPTED", "SOMETHING_NEW"]
PRUNE = PlanOptions(prune=True)


def plan_one(facts: Facts, options: PlanOptions = PlanOptions(), name: str = "a") -> Action:
    made = make_plan(facts, options)
    return next(action for action in made.actions if action.name == name)


def same(status: str, seen: Observation | None, **policy: Any) -> Facts:
    """The spec is unchanged."""
    return Facts({"a": desired(**policy)}, state(a=recorded(status)), {"a": seen} if seen else {})


def changed(status: str, seen: Observation | None, **policy: Any) -> Facts:
    """The spec asks for another value."""
    return Facts({"a": desired(value=2, **policy)}, state(a=recorded(status)), {"a": seen} if seen else {})


def removed(status: str, seen: Observation | None = None) -> Facts:
    """The spec is gone."""
    return Facts({}, state(a=recorded(status)), {"a": seen} if seen else {})


NEW = Facts({"a": desired()}, state(0))
SPENT = Facts({"a": desired(attempts=3)}, state(a=recorded("FAILED", attempts=3)))
LOST = Facts({"a": desired()}, state(0), found={"a": [observed("COMPLETED", created_at="2026-01-01T00:00:00Z")]})
GONE_RECORD = Facts({"a": desired()}, state(a=recorded("RUNNING", gone=True)))


def cancelled(status: str, attempts: int) -> Facts:
    """A person had the first run cancelled."""
    asked = Cancellation(attempt=1, at="2026-01-01T00:00:00Z")
    return Facts({"a": desired(attempts=3)}, state(a=recorded(status, attempts=attempts, cancellation=asked)))


BY_HAND, RETRIED, FAILED_ALL_THE_SAME = cancelled("CANCELLED", 1), cancelled("CANCELLED", 2), cancelled("FAILED", 1)

TABLE: list[tuple[str, Facts, PlanOptions, str, str]] = [
    ("new spec", NEW, PlanOptions(), "create", "new"),
    ("state lost", LOST, PlanOptions(), "adopt", "found on the platform: job_1, COMPLETED, created 2026-01-01"),
    *[(f"same, {s}", same("PENDING", Seen(observed(s))), PlanOptions(), "keep", "in progress") for s in IN_FLIGHT],
    ("same, completed", same("COMPLETED", None), PlanOptions(), "keep", "up to date"),
    ("same, just completed", same("RUNNING", Seen(observed("COMPLETED"))), PlanOptions(), "keep", "up to date"),
    ("failed, no policy", same("FAILED", None), PlanOptions(), "keep", "failed; no retry policy"),
    ("cancelled, no policy", same("CANCELLED", None), PlanOptions(), "keep", "cancelled; no retry policy"),
    ("failed, budget", same("FAILED", None, attempts=3), PlanOptions(), "retry", "failed; attempt 2 of 3"),
    ("cancelled, budget", same("CANCELLED", None, attempts=2), PlanOptions(), "retry", "cancelled; attempt 2 of 2"),
    ("failed, spent", SPENT, PlanOptions(), "keep", "failed; no attempts left of 3"),
    ("cancelled by hand", BY_HAND, PlanOptions(), "keep", "cancelled by hand"),
    ("retried by hand since", RETRIED, PlanOptions(), "retry", "cancelled; attempt 3 of 3"),
    ("failed in spite of it", FAILED_ALL_THE_SAME, PlanOptions(), "keep", "failed; cancelled by hand before"),
    ("gone", same("RUNNING", Gone()), PlanOptions(), "keep", "gone from the platform"),
    ("gone before", GONE_RECORD, PlanOptions(), "keep", "gone from the platform"),
    ("unreachable", same("RUNNING", Unreachable("HTTP 503")), PlanOptions(), "keep", "not observed: HTTP 503"),
    ("replace asked", same("COMPLETED", None), PlanOptions(replace=frozenset("a")), "replace", "asked for"),
    ("changed, completed", changed("COMPLETED", None), PlanOptions(), "replace", "1 field changed"),
    ("changed, failed", changed("FAILED", None, attempts=3), PlanOptions(), "replace", "1 field changed"),
    ("changed, gone", changed("RUNNING", Gone()), PlanOptions(), "replace", "1 field changed"),
    *[
        (f"changed, {s}", changed("PENDING", Seen(observed(s))), PlanOptions(), "replace", f"cancels job_1 ({s})")
        for s in IN_FLIGHT
    ],
    ("changed, unreachable", changed("RUNNING", Unreachable("x")), PlanOptions(), "replace", "cancels job_1 (RUNNING)"),
    ("changed, left", changed("RUNNING", None, on_change="keep"), PlanOptions(), "replace", "is left to finish"),
    ("removed", removed("RUNNING"), PlanOptions(), "orphan", "--prune would cancel job_1 (RUNNING)"),
    ("removed, ended", removed("COMPLETED"), PlanOptions(), "orphan", "--prune would forget job_1"),
    ("removed, gone", removed("RUNNING", Gone()), PlanOptions(), "orphan", "--prune would forget job_1"),
    ("pruned", removed("RUNNING"), PRUNE, "cancel", "spec removed"),
    ("pruned, new status", removed("SOMETHING_NEW"), PRUNE, "cancel", "spec removed"),
    ("pruned, ended", removed("FAILED"), PRUNE, "forget", "spec removed"),
    ("pruned, gone", removed("RUNNING", Gone()), PRUNE, "forget", "spec removed"),
]


@pytest.mark.parametrize(("facts", "options", "action", "reason"), [t[1:] for t in TABLE], ids=[t[0] for t in TABLE])
def test_decision_table(facts: Facts, options: PlanOptions, action: str, reason: str) -> None:
    decided = plan_one(facts, options)
    assert decided.action == action
    assert reason in decided.reason


@pytest.mark.parametrize("status", [s for s in JobStatus if s not in ("COMPLETED", "FAILED", "CANCELLED")])
def test_only_what_is_in_flight_is_cancelled_before_it_is_replaced(status: str) -> None:
    assert plan_one(changed(status, None)).cancels
    assert not plan_one(changed(status, None, on_change="keep")).cancels
    assert not plan_one(changed(status, Gone())).cancels
    assert not plan_one(changed(status, Seen(observed("COMPLETED")))).cancels


def test_an_unresolved_submission_is_left_alone_whatever_the_spec_says() -> None:
    for facts in (changed("COMPLETED", None), same("FAILED", None, attempts=9), NEW):
        unresolved = Facts(facts.desired, facts.state, facts.observed, unresolved={"a": "sha256:other"})
        decided = plan_one(unresolved, PlanOptions(prune=True, replace=frozenset("a")))
        assert decided.action == "keep"
        assert "outcome" in decided.reason


def test_a_new_name_for_an_unresolved_submission_waits_for_it() -> None:
    """The spec was renamed while it was not known whether its job exists: it must not run twice."""
    new = desired("new")
    waiting = plan_one(Facts({"new": new}, state(), unresolved={"old": new.fingerprint}), name="new")
    assert (waiting.action, "old" in waiting.reason) == ("keep", True)
    assert plan_one(Facts({"new": new}, state(), unresolved={"old": "sha256:else"}), name="new").action == "create"


def test_a_rename_moves_the_record_and_submits_nothing() -> None:
    facts = Facts({"new": desired("new")}, state(old=recorded("RUNNING")))
    made = make_plan(facts, PRUNE)
    assert [(a.action, a.name, a.moved_from) for a in made.actions] == [("move", "new", "old")]


def test_renames_with_equal_fingerprints_are_paired_one_to_one() -> None:
    records = {n: recorded("COMPLETED", job_id=f"job_{n}") for n in ("x", "y", "z")}
    facts = Facts({n: desired(n) for n in ("p", "q")}, state(**records))
    made = make_plan(facts, PlanOptions())
    assert [(a.action, a.name, a.moved_from) for a in made.actions] == [
        ("move", "p", "x"),
        ("move", "q", "y"),
        ("orphan", "z", None),
    ]


def test_what_cancels_comes_first_and_the_rest_by_name() -> None:
    facts = Facts(
        {"new": desired("new", 7), "b": desired("b", 2), "a": desired("a", 2), "k": desired("k")},
        state(k=recorded("COMPLETED"), b=recorded("RUNNING"), a=recorded("COMPLETED", 3), gone=recorded("PENDING", 4)),
    )
    made = make_plan(facts, PRUNE)
    assert [(a.action, a.name) for a in made.actions] == [
        ("replace", "b"),
        ("cancel", "gone"),
        ("replace", "a"),
        ("create", "new"),
        ("keep", "k"),
    ]


def test_a_target_leaves_every_other_job_out() -> None:
    facts = Facts({"a": desired("a"), "b": desired("b", 2)}, state(c=recorded("RUNNING", 3)))
    made = make_plan(facts, PlanOptions(targets=frozenset("b"), prune=True))
    assert [(a.action, a.name) for a in made.actions] == [("create", "b")]


@pytest.mark.parametrize("options", [PlanOptions(targets=frozenset(["bb"])), PlanOptions(replace=frozenset(["bb"]))])
def test_an_option_that_names_no_job_is_refused_with_the_nearest_name(options: PlanOptions) -> None:
    with pytest.raises(PlanRefused, match="bb") as refused:
        make_plan(Facts({"bbb": desired("bbb")}, state()), options)
    assert refused.value.hint == "did you mean 'bbb'?"


def test_globs_stand_for_the_names_that_they_fit() -> None:
    specs = {name: desired(name) for name in ("grid-1", "grid-2", "other")}
    jobs = state(**{"grid-1": recorded("COMPLETED"), "gone-1": recorded("COMPLETED", 5)})
    how = PlanOptions(targets=frozenset(["g*"]), replace=frozenset(["grid-[1]"]))
    assert named(Facts(specs, jobs), how).targets == {"grid-1", "grid-2", "gone-1"}
    made = make_plan(Facts(specs, jobs), how)
    assert {a.name: a.action for a in made.actions} == {"grid-1": "replace", "grid-2": "create", "gone-1": "orphan"}
    with pytest.raises(PlanRefused, match="--unprotect"):
        make_plan(Facts(specs, jobs), PlanOptions(unprotect=frozenset(["g*"])))


def test_a_replace_outside_the_targets_is_refused() -> None:
    with pytest.raises(PlanRefused, match="not among the targets"):
        make_plan(
            Facts({"a": desired("a"), "b": desired("b")}, state()),
            PlanOptions(targets=frozenset("a"), replace=frozenset("b")),
        )


def test_jobs_of_specs_that_were_not_asked_for_are_left_alone() -> None:
    """`apply FILE --prune` must not cancel what other files ask for."""
    facts = Facts({"a": desired("a")}, state(b=recorded("RUNNING", 2)), elsewhere=frozenset("b"))
    assert [(a.action, a.name) for a in make_plan(facts, PRUNE).actions] == [("create", "a")]


def test_generations_grow_with_each_submission_and_survive_forgetting() -> None:
    assert plan_one(NEW).generation == 1
    assert plan_one(changed("COMPLETED", None)).generation == 2
    forgotten = State(lineage="L", serial=9, endpoint=ENDPOINT, generations={"a": 5})
    assert plan_one(Facts({"a": desired()}, forgotten)).generation == 6


def test_drift_is_a_warning_and_never_an_action() -> None:
    seen = observed("RUNNING", parameters={"worker": {"config": {"value": 99}}})
    made = make_plan(same("RUNNING", Seen(seen)))
    assert not made.pending()
    assert "not those that were submitted (drift)" in made.warnings[0]
    lost = "a: the platform has no job job_1 (drift)"
    assert make_plan(same("RUNNING", Gone())).warnings == (f"{lost}; --replace submits it again",)
    assert make_plan(same("RUNNING", Gone()), PlanOptions(replace=frozenset("a"))).warnings == (lost,)


def test_protection_is_lifted_by_name_only() -> None:
    with pytest.raises(PlanRefused, match="--unprotect takes names only, and 'a\\*' is a glob"):
        make_plan(same("RUNNING", None), PlanOptions(unprotect=frozenset({"a*"})))


statuses = st.sampled_from([*JobStatus, "SOMETHING_NEW"])
names = st.sampled_from("abcde")
observations: st.SearchStrategy[Observation] = st.one_of(
    statuses.map(lambda s: Seen(observed(s))), st.just(Gone()), st.just(Unreachable("down"))
)


@st.composite
def facts(draw: st.DrawFn) -> Facts:
    wanted = {n: desired(n, draw(st.integers(1, 3)), attempts=draw(st.integers(1, 3))) for n in draw(st.sets(names))}
    had = {n: recorded(draw(statuses), draw(st.integers(1, 3)), f"job_{n}") for n in draw(st.sets(names))}
    seen = {n: draw(observations) for n in draw(st.sets(names)) if n in had}
    return Facts(wanted, state(**had), seen)


options = st.builds(PlanOptions, prune=st.booleans())


@given(facts(), options)
def test_every_job_has_exactly_one_action_and_a_reason(given_facts: Facts, how: PlanOptions) -> None:
    made = make_plan(given_facts, how)
    moved = {a.moved_from for a in made.actions} - {None}
    assert sorted(a.name for a in made.actions) == sorted(
        (given_facts.desired.keys() | given_facts.state.jobs.keys()) - moved
    )
    assert all(a.reason for a in made.actions)


@given(facts(), options)
def test_a_plan_does_not_depend_on_the_order_of_its_input(given_facts: Facts, how: PlanOptions) -> None:
    backwards = Facts(
        dict(reversed(list(given_facts.desired.items()))),
        given_facts.state.model_copy(update={"jobs": dict(reversed(list(given_facts.state.jobs.items())))}),
        dict(reversed(list(given_facts.observed.items()))),
    )
    assert make_plan(given_facts, how) == make_plan(backwards, how)


@given(facts(), options)
def test_no_news_never_submits(given_facts: Facts, how: PlanOptions) -> None:
    """Whatever is unreachable or gone: an unchanged spec is not submitted again."""
    silent = Facts(given_facts.desired, given_facts.state, dict.fromkeys(given_facts.state.jobs, Unreachable("down")))
    for action in make_plan(silent, how).actions:
        want, have = given_facts.desired.get(action.name), given_facts.state.jobs.get(action.name)
        if want and have and want.fingerprint == have.fingerprint:
            assert action.action in PASSIVE | {"retry"}
            assert action.action != "retry" or have.status in ("FAILED", "CANCELLED")


@given(facts(), options)
def test_a_plan_survives_being_saved(given_facts: Facts, how: PlanOptions) -> None:
    made = make_plan(given_facts, how)
    assert Plan.model_validate(json.loads(made.model_dump_json())) == made


OPEN = Facts({"a": desired()}, state(0), latest={"k": "1.1.0"})


def test_the_latest_version_is_submitted_and_shown_and_no_part_of_the_fingerprint() -> None:
    action = plan_one(OPEN)
    assert (action.pipeline_version, action.told) == ("1.1.0", "new; latest is 1.1.0 today")
    assert action.fingerprint == plan_one(NEW).fingerprint
    assert action.request is not None
    assert "pipeline_version" not in action.request
    assert action.pinned == {**action.request, "pipeline_version": "1.1.0"}


def test_a_version_that_the_spec_names_is_its_own() -> None:
    want = desired()
    pinned = structs.replace(want, request={**want.request, "pipeline_version": "1.0.0"})
    action = plan_one(dataclasses.replace(OPEN, desired={"a": pinned}))
    assert (action.pipeline_version, action.told) == (None, "new")
    assert action.pinned == action.request == pinned.request


def test_where_the_latest_is_not_known_the_version_stays_open() -> None:
    action = plan_one(dataclasses.replace(OPEN, latest={"another": "1"}))
    assert (action.pipeline_version, action.told, action.pinned) == (None, "new", action.request)


@pytest.mark.parametrize("status", ["COMPLETED", "RUNNING"])
def test_a_newer_latest_is_a_note_and_no_action(status: str) -> None:
    facts = Facts({"a": desired()}, state(a=recorded(status, pipeline_version="1.0.0")), latest={"k": "1.1.0"})
    action = plan_one(facts)
    assert action.action == "keep"
    assert action.note == "it has 1.0.0, latest is 1.1.0 today"
    unknown = dataclasses.replace(facts, state=state(a=recorded(status)))
    assert plan_one(unknown).note is None


def test_a_change_is_submitted_on_the_latest_and_the_version_is_none_of_its_changes() -> None:
    have = recorded("COMPLETED", pipeline_version="1.0.0")
    facts = Facts({"a": desired(value=2)}, state(a=have), latest={"k": "1.1.0"})
    action = plan_one(facts)
    assert (action.action, action.pipeline_version) == ("replace", "1.1.0")
    assert action.told == "1 field changed; latest is 1.1.0 today"
    assert [change.path for change in action.changes] == ["parameters.worker.config.value"]


def test_a_saved_plan_has_its_own_latest() -> None:
    action = plan_one(dataclasses.replace(OPEN, reviewed={"k": "1.0.0"}))
    assert (action.pipeline_version, action.told) == ("1.0.0", "new; latest was 1.0.0 when planned")
    assert plan_one(dataclasses.replace(OPEN, reviewed={"k": None})).pipeline_version is None
