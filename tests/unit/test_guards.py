"""Limits on what one apply does: how they are written, what they allow, and the override that is printed."""

from __future__ import annotations

import shlex

import pytest
from nouns import desired, observed, recorded, state

from reconciler.actions import Plan
from reconciler.facts import Facts, PlanOptions
from reconciler.guards import FLOOR, GUARDS, Extent, Limit, parse_limit, refusals, with_name, with_option
from reconciler.job import Gone, Seen
from reconciler.plan import make_plan


@pytest.mark.parametrize(
    ("text", "limit"), [("0", Limit(0)), ("50", Limit(50)), ("20%", Limit(20, percent=True)), ("none", None)]
)
def test_a_limit_is_a_count_a_percentage_or_none(text: str, limit: Limit | None) -> None:
    assert parse_limit(text) == limit
    assert limit is None or str(limit) == text


@pytest.mark.parametrize(
    "text", ["", "-1", "0%", "5 %", "%", "1.5", "20%%", "all", "1e3", "1" * 10, "5\n", "٣", "None"]
)
def test_anything_else_is_refused_with_how_to_write_it(text: str) -> None:
    with pytest.raises(ValueError, match="write a count such as 50, a percentage such as 20%, or none"):
        parse_limit(text)


@pytest.mark.parametrize(
    ("limit", "whole", "allowed"),
    [
        ("3", 1000, 3),
        ("0", 1000, 0),
        ("20%", 0, FLOOR),
        ("20%", 11, FLOOR),
        ("20%", 50, 10),
        ("20%", 54, 10),
        ("20%", 55, 11),
        ("150%", 100, 150),
    ],
)
def test_a_percentage_never_allows_fewer_than_the_floor_and_a_count_means_what_it_says(
    limit: str, whole: int, allowed: int
) -> None:
    parsed = parse_limit(limit)
    assert parsed is not None
    assert parsed.allowed(whole) == allowed


def limited(facts: Facts, submissions: str = "none", cancellations: str = "none", *, prune: bool = False) -> Plan:
    limits = {
        guard: limit
        for guard, text in zip(GUARDS, (submissions, cancellations), strict=True)
        if (limit := parse_limit(text))
    }
    return make_plan(facts, PlanOptions(prune=prune, limits=limits))


def counts(made: Plan) -> dict[str, int]:
    return {refusal.guard: refusal.count for refusal in made.refusals}


CREATES = Facts({n: desired(n, n) for n in "abc"}, state())
REPLACES = Facts({n: desired(n, 2) for n in "abc"}, state(**{n: recorded("RUNNING", job_id=f"job_{n}") for n in "abc"}))
ENDED = Facts({n: desired(n, 2) for n in "abc"}, state(**{n: recorded("COMPLETED") for n in "abc"}))
RETRIES = Facts({n: desired(n, attempts=3) for n in "abc"}, state(**{n: recorded("FAILED") for n in "abc"}))
REMOVED = Facts({}, state(**{n: recorded("RUNNING", n) for n in "abc"}))
KEPT = Facts({n: desired(n, attempts=1) for n in "abc"}, state(**{n: recorded("FAILED") for n in "abc"}))
LEFT = Facts({n: desired(n, 2, on_change="keep") for n in "abc"}, REPLACES.state)


@pytest.mark.parametrize(
    ("facts", "prune", "expected"),
    [
        (CREATES, False, {"max_submissions": 3}),
        (REPLACES, False, {"max_submissions": 3, "max_cancellations": 3}),
        (LEFT, False, {"max_submissions": 3}),
        (ENDED, False, {"max_submissions": 3}),
        (RETRIES, False, {"max_submissions": 3}),
        (REMOVED, False, {}),
        (REMOVED, True, {"max_cancellations": 3}),
        (KEPT, True, {}),
    ],
    ids=["create", "replace", "replace, old one left", "replace, ended", "retry", "orphan", "prune", "keep"],
)
def test_what_counts(facts: Facts, prune: bool, expected: dict[str, int]) -> None:
    assert counts(limited(facts, "2", "2", prune=prune)) == expected
    assert counts(limited(facts, "3", "3", prune=prune)) == {}
    assert counts(limited(facts, prune=prune)) == {}


def test_percentages_are_of_what_was_recorded_and_of_what_is_in_flight() -> None:
    names = [f"n{i:03}" for i in range(100)]
    jobs = {n: recorded("RUNNING" if i < 60 else "COMPLETED", job_id=f"job_{n}") for i, n in enumerate(names)}
    changed = {n: desired(n, value=2 if n < "n025" else 1) for n in names}
    facts = Facts(changed, state(**jobs))
    assert counts(limited(facts, "25%", "41%")) == {"max_cancellations": 25}
    assert counts(limited(facts, "24%", "42%")) == {"max_submissions": 25}
    # What has ended or is gone meanwhile is not in flight.
    seen = {n: Gone() if i % 2 else Seen(observed("COMPLETED", f"job_{n}", n)) for i, n in enumerate(names) if i >= 25}
    facts = Facts(changed, facts.state, {n: s for n, s in seen.items() if jobs[n].status == "RUNNING"})
    (refusal,) = limited(facts, "25%", "42%").refusals
    assert "max_cancellations allows 10 (42% of 25 jobs in flight)" in refusal.reason


def test_jobs_of_other_specs_are_no_part_of_the_percentage() -> None:
    others = {f"o{i}": recorded("RUNNING", i) for i in range(500)}
    new = {f"n{i:02}": desired(f"n{i:02}", f"v{i}") for i in range(11)}
    facts = Facts(new, state(**others), elsewhere=frozenset(others))
    (refusal,) = limited(facts, "50%").refusals
    assert "allows 10 (50% of 0 recorded jobs, but never fewer than 10)" in refusal.reason


def test_a_refusal_names_the_first_jobs_and_how_many_more_and_says_what_to_type() -> None:
    extents = {guard: Extent([f"job {i}\x1b" for i in range(1200)], 2000) for guard in GUARDS}
    limits = {"max_submissions": Limit(10, percent=True), "max_cancellations": Limit(7)}
    first, second = refusals(limits, extents, ["reconciler", "apply", "my specs", "--max-cancellations", "7"])  # type: ignore[arg-type]
    assert first.reason.startswith("1,200 jobs would be submitted, max_submissions allows 200 (10% of 2,000 recorded")
    assert first.reason.endswith("and 1,195 more")
    assert "\x1b" not in first.reason
    assert second.reason.startswith("1,200 jobs would be cancelled, max_cancellations allows 7: ")
    lifted = "reconciler apply 'my specs' --max-cancellations 1200 --max-submissions 1200"
    assert first.override == second.override == lifted


def test_the_override_lifts_exactly_what_it_says() -> None:
    (refusal,) = limited(CREATES, "2").refusals
    words = shlex.split(refusal.override)
    again = limited(CREATES, words[words.index("--max-submissions") + 1])
    assert not again.refusals
    more = Facts({**CREATES.desired, "d": desired("d", "d")}, state())
    assert limited(more, words[words.index("--max-submissions") + 1]).refusals


def test_an_option_is_set_in_place_of_another_value() -> None:
    assert with_option(["x", "--max", "1", "y"], "--max", "2") == ("x", "--max", "2", "y")
    assert with_option(["x"], "--max", "2") == ("x", "--max", "2")
    assert with_name(["x"], "--unprotect", "a 'b' $(c)") == "x --unprotect 'a '\"'\"'b'\"'\"' $(c)'"
    assert with_name(["x"], "--unprotect", "-rf") == "x --unprotect=-rf"
