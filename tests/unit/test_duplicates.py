"""Specs that ask for the same work are pointed out, a group at a time, before they cost twice."""

from __future__ import annotations

import re

from nouns import desired, recorded, state

from reconciler.duplicates import duplicate_jobs
from reconciler.errors import Location
from reconciler.facts import Facts, PlanOptions
from reconciler.plan import make_plan


def test_a_group_is_one_warning_with_the_places_of_its_first_specs() -> None:
    jobs = [desired(n) for n in ("b", "a")] + [desired(f"m{i}", "many") for i in range(1000)] + [desired("x", "other")]
    two, many = duplicate_jobs(jobs)
    assert (two.severity, two.code) == ("warning", "duplicate-job")
    assert two.summary == "2 specs ask for the same work: a (specs/a.yaml:1) and b (specs/b.yaml:1)"
    assert two.location == Location("specs/b.yaml", 1, 1)
    assert many.summary == (
        "1,000 specs ask for the same work: m0 (specs/m0.yaml:1), m1 (specs/m1.yaml:1), m10 (specs/m10.yaml:1) "
        "and 997 more"
    )


def test_the_order_of_the_specs_makes_no_difference() -> None:
    jobs = [desired(f"{n}{i}", i) for n in "abc" for i in range(3)]
    assert duplicate_jobs(jobs) == duplicate_jobs(reversed(jobs))


def warned(facts: Facts, how: PlanOptions = PlanOptions()) -> list[str]:
    return [w for w in make_plan(facts, how).warnings if "same work" in w]


BOTH = {n: desired(n) for n in "ab"}


def test_a_plan_warns_when_one_of_them_is_to_be_submitted() -> None:
    places = "a (specs/a.yaml:1) and b (specs/b.yaml:1)"
    assert warned(Facts(BOTH, state())) == [f"2 specs ask for the same work, and 2 would be submitted: {places}"]
    one = Facts(BOTH, state(a=recorded("COMPLETED")))
    assert warned(one) == [f"2 specs ask for the same work, and 1 would be submitted: {places}"]
    changed = Facts(BOTH, state(a=recorded("COMPLETED"), b=recorded("COMPLETED", value=5)))
    assert warned(changed) == warned(one)


def test_a_plan_says_nothing_when_none_is_submitted() -> None:
    done = Facts(BOTH, state(a=recorded("COMPLETED"), b=recorded("RUNNING")))
    assert not warned(done)
    new = {**BOTH, "c": desired("c", 3)}
    assert not warned(Facts(new, done.state))
    retried = Facts({n: desired(n, attempts=2) for n in "ab"}, state(a=recorded("FAILED"), b=recorded("RUNNING")))
    assert not warned(retried)


def test_a_target_beside_the_same_work_warns_too() -> None:
    facts = Facts({**BOTH, "c": desired("c", 3)}, state())
    assert warned(facts, PlanOptions(targets=frozenset("a")))
    assert not warned(facts, PlanOptions(targets=frozenset("c")))


def test_a_job_of_specs_that_were_not_asked_for_counts_as_well() -> None:
    facts = Facts({"a": desired("a")}, state(z=recorded("RUNNING", line=7)), elsewhere=frozenset("z"))
    (text,) = warned(facts)
    assert text.endswith("1 would be submitted: a (specs/a.yaml:1) and z (specs/old.yaml:7)")


def test_a_thousand_of_the_same_are_one_line() -> None:
    facts = Facts({f"n{i:04}": desired(f"n{i:04}") for i in range(1000)}, state())
    (text,) = warned(facts)
    assert len(text) < 300
    assert re.match("1,000 specs ask for the same work, and 1,000 would be submitted: n0000 .* and 997 more$", text)
