"""Which jobs wait for which: the plan's part of chains, as a table."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace
from nouns import desired, recorded, state

from reconciler.actions import Action
from reconciler.facts import Facts, PlanOptions
from reconciler.job import DesiredJob, Gone, ObservedJob, RecordedJob, Seen
from reconciler.plan import make_plan
from reconciler.waits import until_then


def needing(name: str, *needs: str, takes: str | None = None, value: Any = 1) -> DesiredJob:
    job = desired(name, value)
    request = job.request
    if takes:
        request = {**request, "inputs": {"p": [{"from": {"job": takes, "port": "out"}}]}}
    return replace(job, request=request, needs=frozenset((*needs, *([takes] if takes else []))))


def planned(jobs: dict[str, RecordedJob], *wanted: DesiredJob, **more: Any) -> dict[str, Action]:
    options = more.pop("options", PlanOptions())
    made = make_plan(Facts({w.name: w for w in wanted}, state(**jobs), **more), options)
    assert {a.name for a in made.ready()}.isdisjoint(a.name for a in made.waiting())
    return {action.name: action for action in made.actions}


@pytest.mark.parametrize(
    ("upstream", "waits", "says"),
    [
        (None, True, "waits for a (to create)"),
        (recorded("RUNNING", 1), True, "waits for a (RUNNING)"),
        (recorded("SOME_FUTURE_STATUS", 1), True, "waits for a (SOME_FUTURE_STATUS)"),
        (recorded("FAILED", 1), True, "waits for a (FAILED)"),
        (recorded("CANCELLED", 1), True, "waits for a (CANCELLED)"),
        (recorded("COMPLETED", 2), True, "waits for a (to replace)"),
        (recorded("COMPLETED", 1, gone=True), True, "waits for a (gone)"),
        (recorded("COMPLETED", 1), False, "new"),
    ],
)
def test_a_job_is_submitted_when_what_it_needs_has_completed(
    upstream: RecordedJob | None, waits: bool, says: str
) -> None:
    jobs = {"a": upstream} if upstream else {}
    action = planned(jobs, desired("a", 1), needing("b", "a"))["b"]
    assert (action.action, bool(action.waits_for)) == ("create", waits)
    assert says in action.reason


def test_what_is_observed_counts_not_what_was_recorded() -> None:
    jobs = {"a": recorded("RUNNING", 1, job_id="job_a")}
    seen = Seen(ObservedJob("job_a", "a", "COMPLETED"))
    assert planned(jobs, desired("a", 1), needing("b", takes="a"), observed={"a": seen})["b"].sources == {"a": "job_a"}
    assert planned(jobs, desired("a", 1), needing("b", takes="a"), observed={"a": Gone()})["b"].waits_for == ("a",)


def test_a_renamed_job_is_still_the_one_that_is_needed() -> None:
    jobs = {"old": recorded("COMPLETED", 1, job_id="job_a")}
    actions = planned(jobs, desired("a", 1), needing("b", takes="a"))
    assert (actions["a"].action, actions["b"].sources) == ("move", {"a": "job_a"})


def test_a_job_that_only_needs_another_takes_nothing_from_it() -> None:
    jobs = {"a": recorded("COMPLETED", 1), "c": recorded("COMPLETED", 3, job_id="job_c")}
    action = planned(jobs, desired("a", 1), desired("c", 3), needing("b", "a", takes="c"))["b"]
    assert action.sources == {"c": "job_c"}


def test_with_a_target_what_stands_elsewhere_is_known() -> None:
    jobs = {"a": recorded("COMPLETED", 1)}
    wanted = (desired("a", 1), needing("b", "a"), needing("c", "b"))
    actions = planned(jobs, *wanted, options=PlanOptions(targets=frozenset("bc")))
    assert (actions["b"].waits_for, actions["c"].waits_for) == ((), ("b",))
    assert planned({}, *wanted, options=PlanOptions(targets=frozenset("b")))["b"].waits_for == ("a",)


@pytest.mark.parametrize("status", ["RUNNING", "COMPLETED", "FAILED"])
def test_a_job_that_is_there_waits_for_nothing(status: str) -> None:
    """It was submitted when it could be. A retry runs the same job on the same files."""
    job = replace(needing("b", "a"), policy=desired(attempts=2).policy)
    jobs = {"a": recorded("RUNNING", 1), "b": recorded(status, 1, job_id="job_b")}
    assert planned(jobs, desired("a", 1), job)["b"].waits_for == ()


def test_a_change_upstream_is_the_reason_when_nothing_else_changed() -> None:
    want = replace(needing("b", takes="a"), fingerprint="sha256:" + "0" * 64)
    have = recorded("COMPLETED", 1).model_copy(update={"request": want.request})
    action = planned({"a": recorded("COMPLETED", 1), "b": have}, desired("a", 1), want)["b"]
    assert (action.action, action.reason) == ("replace", "it takes from a, and that has changed")


def chain(*, b_took: dict[str, str], a: str = "job_a2") -> dict[str, Action]:
    """c takes from b, which takes from a; the record of b says what it took."""
    jobs = {
        "a": recorded("COMPLETED", 1, job_id=a),
        "b": recorded("COMPLETED", 1, job_id="job_b", sources=b_took),
        "c": recorded("COMPLETED", 1, job_id="job_c", sources={"b": "job_b"}),
    }
    return planned(jobs, desired("a", 1), needing("b", takes="a"), needing("c", takes="b"))


@pytest.mark.parametrize(
    ("took", "action", "says"),
    [
        ({"a": "job_a2"}, "keep", "up to date"),
        ({"before it was renamed": "job_a2"}, "keep", "up to date"),
        ({}, "keep", "up to date"),  # recorded by a version that did not note it
        ({"a": "job_a1"}, "replace", "it takes from a, which has another job since"),
    ],
)
def test_what_was_made_of_another_job_is_made_again(took: dict[str, str], action: str, says: str) -> None:
    made = chain(b_took=took)["b"]
    assert (made.action, made.reason) == (action, says)
    assert made.sources == ({"a": "job_a2"} if action == "replace" else {})


def test_replacing_a_job_replaces_what_takes_from_it() -> None:
    jobs = {name: recorded("COMPLETED", 1, job_id=f"job_{name}") for name in "abcd"}
    wanted = (desired("a", 1), needing("b", takes="a"), needing("c", takes="b"), needing("d", "a"))
    actions = planned(jobs, *wanted, options=PlanOptions(replace=frozenset("a")))
    assert {n: a.action for n, a in actions.items()} == {"a": "replace", "b": "replace", "c": "replace", "d": "keep"}
    assert (actions["b"].waits_for, actions["c"].waits_for) == (("a",), ("b",))
    assert "it takes from b, which is replaced" in actions["c"].reason


@pytest.mark.parametrize(
    ("upstream", "policy", "hint"),
    [
        (
            recorded("FAILED", 1),
            {},
            "nothing runs a again by itself: reconciler retry a; the next apply after that goes on",
        ),
        (recorded("CANCELLED", 1), {}, "nothing runs a again by itself: reconciler retry a; "),
        (recorded("FAILED", 1, attempts=2), {"attempts": 2}, "nothing runs a again by itself: reconciler retry a; "),
        (recorded("FAILED", 1), {"attempts": 2, "backoff": 60.0}, "the next apply submits it when that has COMPLETED"),
        (recorded("FAILED", 2), {}, "the next apply submits it when that has COMPLETED"),  # it is replaced
        (recorded("RUNNING", 1), {}, "the next apply submits it when that has COMPLETED"),
        (recorded("FAILED", 1), {"suspend": True}, "a is suspended: it runs when reconcile.suspend is removed"),
        (None, {"suspend": True}, "a is suspended"),
        (None, {}, "the next apply submits it when that has COMPLETED"),
        (
            recorded("RUNNING", 1, gone=True),
            {},
            "the platform has lost the job of a; to submit it anew: reconciler apply --replace a",
        ),
    ],
)
def test_what_waits_for_a_job_that_ended_badly_says_how_that_goes_on(
    upstream: RecordedJob | None, policy: dict[str, Any], hint: str
) -> None:
    jobs = {"a": upstream} if upstream else {}
    wanted = {"a": desired("a", 1, **policy), "b": needing("b", "a")}
    action = planned(jobs, *wanted.values())["b"]
    assert until_then(action, wanted, jobs).startswith(hint)
