"""What a person asks for by name: which job it is about, what is done, what is left, and what is said of it."""

from __future__ import annotations

from typing import Any

import pytest
from nouns import desired, observed, recorded, state

from reconciler.actions import Plan
from reconciler.byhand import Facts, plan_adopt, plan_cancel, plan_forget, plan_move, plan_retry
from reconciler.errors import PlanRefused
from reconciler.facts import PlanOptions
from reconciler.guards import Limit
from reconciler.job import Gone, Observation, Seen, Unreachable

HOW = PlanOptions(command=("reconciler", "cancel"))
JOBS = state(
    a=recorded("RUNNING", job_id="job_a"),
    b=recorded("FAILED", job_id="job_b", attempts=3),
    c=recorded("COMPLETED", job_id="job_c"),
    d=recorded("CANCELLED", job_id="job_d"),
    p=recorded("PENDING", job_id="job_p", protect=True),
    u=recorded("PENDING", job_id="job_u"),
)
FACTS = Facts(JOBS, unresolved={"u": "sha256:0", "new": "sha256:0"})


def told(made: Plan) -> dict[str, tuple[str, str]]:
    return {a.name: (a.blocked or a.action, a.reason) for a in made.actions}


def test_a_cancel_is_for_what_is_in_flight_and_not_protected() -> None:
    made = plan_cancel(FACTS, ["*"], HOW)
    assert told(made) == {
        "a": ("cancel", "asked for; cancels job_a (RUNNING)"),
        "b": ("keep", "has ended (FAILED)"),
        "c": ("keep", "has ended (COMPLETED)"),
        "d": ("keep", "has ended (CANCELLED)"),
        "p": ("cancel", "protected, so not cancelled; job_p is PENDING"),
        "u": ("keep", "the outcome of its last submission is unknown; it is settled before anything else"),
        "new": ("keep", "the outcome of its last submission is unknown; it is settled before anything else"),
    }
    assert [a.name for a in made.pending()] == ["a"]
    assert made.unsettled == ("new", "u")
    assert [a.override for a in made.blocked()] == ["reconciler cancel --unprotect p"]
    assert made.actions[0].by_hand


def test_while_there_is_a_spec_its_word_on_protection_counts() -> None:
    facts = Facts(JOBS, desired={"a": desired("a", protect=True), "p": desired("p")})
    assert [a.name for a in plan_cancel(facts, ["a", "p"], HOW).blocked()] == ["a"]
    assert [a.name for a in plan_forget(facts, ["a", "p"], HOW).blocked()] == ["a"]


def test_what_the_platform_says_now_counts_for_a_cancel() -> None:
    answers: list[tuple[Observation, tuple[str, str]]] = [
        (Seen(observed("COMPLETED", "job_a")), ("keep", "has ended (COMPLETED)")),
        (Gone(), ("keep", "gone from the platform")),
        (Unreachable("HTTP 503"), ("keep", "not observed: HTTP 503")),
        (Seen(observed("SOMETHING_NEW", "job_a")), ("cancel", "asked for; cancels job_a (SOMETHING_NEW)")),
    ]
    for seen, expected in answers:
        assert told(plan_cancel(Facts(JOBS, {"a": seen}), ["a"], HOW)) == {"a": expected}


def test_a_cancel_keeps_to_the_limits_and_takes_overrides() -> None:
    limits = {"max_cancellations": Limit(1)}
    how = PlanOptions(unprotect=frozenset("p"), limits=limits, command=("reconciler", "cancel", "*"))  # type: ignore[arg-type]
    made = plan_cancel(Facts(JOBS), ["*"], how)
    (refusal,) = made.refusals
    assert refusal.names == ("a", "p", "u")
    assert refusal.override == "reconciler cancel '*' --max-cancellations 3"
    with pytest.raises(PlanRefused, match="--unprotect 'q'"):
        plan_cancel(FACTS, ["*"], PlanOptions(unprotect=frozenset("q")))


def test_a_retry_runs_again_what_ended_badly_beyond_any_budget() -> None:
    made = plan_retry(FACTS, ["*"], HOW)
    assert {n: r for n, r in told(made).items() if r[0] == "retry"} == {
        "b": ("retry", "asked for; failed; attempt 4"),
        "d": ("retry", "asked for; cancelled; attempt 2"),
    }
    assert [a.attempt for a in made.pending()] == [4, 2]
    assert plan_retry(FACTS, ["b"], PlanOptions(limits={"max_submissions": Limit(0)})).refusals


@pytest.mark.parametrize(
    ("name", "observation", "message"),
    [
        ("c", None, "'c' is not run again: job_c neither FAILED nor was CANCELLED, it is COMPLETED"),
        ("a", None, "'a' is not run again: job_a neither FAILED nor was CANCELLED, it is RUNNING"),
        ("a", Gone(), "'a' cannot be run again: job_a is gone from the platform"),
    ],
)
def test_a_job_that_is_named_and_cannot_be_run_again_refuses_all(name: str, observation: Any, message: str) -> None:
    facts = Facts(JOBS, {name: observation} if observation else {})
    with pytest.raises(PlanRefused) as refused:
        plan_retry(facts, ["b", name], HOW)
    assert refused.value.message == message
    assert refused.value.hint == f"to submit it anew, as another job: reconciler apply --replace {name}"


def test_a_suspended_job_is_not_run_again_for_the_next_plan_to_cancel_it() -> None:
    facts = Facts(JOBS, desired={"b": desired("b", suspend=True), "d": desired("d")})
    with pytest.raises(PlanRefused) as refused:
        plan_retry(facts, ["d", "b"], HOW)
    assert refused.value.message == "'b' is not run again: its spec has suspend: true, so the next plan would cancel it"
    assert refused.value.hint == "remove reconcile.suspend from its spec first: specs/b.yaml:1"
    made = told(plan_retry(facts, ["[bd]"], HOW))
    assert made == {"b": ("keep", "failed; suspended"), "d": ("retry", "asked for; cancelled; attempt 2")}


@pytest.mark.parametrize("plan", [plan_cancel, plan_forget])
def test_protection_is_lifted_by_name_only(plan: Any) -> None:
    with pytest.raises(PlanRefused) as refused:
        plan(FACTS, ["p"], PlanOptions(unprotect=frozenset({"[pa]"})))
    assert refused.value.message == "--unprotect takes names only, and '[pa]' is a glob"
    assert refused.value.hint == "it fits a, p"


def test_what_was_not_observed_is_neither_retried_nor_refused() -> None:
    made = plan_retry(Facts(JOBS, {"a": Unreachable("HTTP 503")}), ["a"], HOW)
    assert told(made) == {"a": ("keep", "not observed: HTTP 503")}


def test_a_retry_says_that_the_spec_has_changed() -> None:
    facts = Facts(JOBS, desired={"b": desired("b", 2), "d": desired("d", 1)})
    assert plan_retry(facts, ["b", "d"], HOW).warnings == (
        "b: its spec has changed since; it is run as it was submitted",
    )


def test_to_forget_says_what_is_left_alone_and_what_is_submitted_again() -> None:
    facts = Facts(JOBS, unresolved=FACTS.unresolved, desired={"a": desired("a"), "c": desired("c")})
    made = plan_forget(facts, ["[abpu]"], HOW)
    assert told(made) == {
        "a": ("forget", "asked for; job_a (RUNNING) is left alone"),
        "b": ("forget", "asked for; job_b (FAILED) is left alone"),
        "p": ("forget", "protected, so not forgotten; job_p is PENDING"),
        "u": ("keep", "the outcome of its last submission is unknown; it is settled before anything else"),
    }
    assert made.warnings == ("a: its spec is there, so the next apply submits it again",)
    assert [a.name for a in plan_forget(facts, ["p"], PlanOptions(unprotect=frozenset("p"))).pending()] == ["p"]


def test_a_move_goes_to_the_place_of_its_spec() -> None:
    made = plan_move(Facts(JOBS, desired={"z": desired("z", protect=True)}), "a", "z", HOW)
    (action,) = made.actions
    assert (action.action, action.name, action.moved_from, action.job_id) == ("move", "z", "a", "job_a")
    assert (action.spec_path, action.line, action.protected) == ("specs/z.yaml", 1, True)
    assert made.warnings == ()


@pytest.mark.parametrize(
    ("specs", "warnings"),
    [
        ({}, ["z: no spec has this name, so the next plan shows it as an orphan"]),
        ({"z": desired("z", 2)}, ["z: its spec asks for something else than job_a, so the next apply replaces it"]),
        (
            {"a": desired("a")},
            [
                "z: no spec has this name, and that of a asks for the same: unless you rename it, too, the next apply "
                "moves the record back"
            ],
        ),
        ({"a": desired("a"), "z": desired("z")}, ["a: its spec is there, so the next apply submits it as new"]),
    ],
)
def test_a_move_says_what_the_next_apply_makes_of_it(specs: dict[str, Any], warnings: list[str]) -> None:
    assert list(plan_move(Facts(JOBS, desired=specs), "a", "z", HOW).warnings) == warnings


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("a", "b", "'b' is recorded already, as job_b"),
        ("a", "a", "'a' is recorded already, as job_a"),
        ("y", "z", "no job named 'y' is recorded"),
        ("[ab]", "z", "stands for several names"),
        ("u", "z", "'u': the outcome of its last submission is unknown"),
        ("a", "new", "'new': the outcome of its last submission is unknown"),
    ],
)
def test_a_move_that_cannot_be_is_refused(old: str, new: str, message: str) -> None:
    with pytest.raises(PlanRefused) as refused:
        plan_move(FACTS, old, new, HOW)
    assert message in refused.value.message


def test_only_the_one_identical_job_is_adopted_and_the_rest_is_named() -> None:
    specs = {name: desired(name) for name in ("one", "two", "near", "none")}
    found = {
        "one": [observed("RUNNING", "job_1", "one")],
        "near": [],
        "two": [observed(job_id="j2"), observed(job_id="j3")],
    }
    near = {"near": "job_9 has its name, but is another job: other parameters"}
    made = plan_adopt(Facts(state(0), desired=specs), list(specs), found, near, HOW)
    assert told(made) == {"one": ("adopt", "found on the platform: job_1, RUNNING")}
    assert made.warnings == (
        "the platform has no job with the name of 1 spec: none",
        "two: 2 identical jobs are on the platform, and none is taken over: j2, j3; choose one: "
        "reconciler import two JOB_ID",
        "near: job_9 has its name, but is another job: other parameters",
    )
