"""`reconcile.protect`: what is blocked, what is not, and how the record follows the spec."""

from __future__ import annotations

from typing import Any

import pytest
from nouns import desired, observed, recorded, state

from reconciler.actions import PASSIVE, Action
from reconciler.entries import Adopted, Intent, Moved, Protected, Submitted
from reconciler.errors import Location, PlanRefused
from reconciler.facts import Facts, PlanOptions
from reconciler.job import DesiredJob, Gone, Seen, Unreachable
from reconciler.plan import make_plan
from reconciler.record import fold
from reconciler.resolve import WrittenSpec, read, resolve
from reconciler.spec import JobSpec

IN_FLIGHT = ["PENDING", "ADMITTED", "RUNNING", "PREEMPTED", "SOMETHING_NEW"]
TERMINAL = ["COMPLETED", "FAILED", "CANCELLED"]
PRUNE = PlanOptions(prune=True)
REPLACE = PlanOptions(replace=frozenset("a"))
NO = PlanOptions()


def facts(status: str, spec: str, *, was: bool = True, seen: Any = None, **policy: Any) -> Facts:
    """`spec`: same, changed or removed; the job is protected by its spec, or `was` by a spec that is gone."""
    jobs = (
        {"a": desired(value=2 if spec == "changed" else 1, **{"protect": True, **policy})} if spec != "removed" else {}
    )
    return Facts(jobs, state(a=recorded(status, protect=was)), {"a": seen} if seen else {})


def planned(given: Facts, how: PlanOptions = NO) -> Action:
    (action,) = make_plan(given, how).actions
    return action


TABLE: list[tuple[str, Facts, PlanOptions, str, str | None, str]] = [
    *[(f"changed, {s}", facts(s, "changed"), NO, "keep", "replace", f"job_1 is in flight ({s})") for s in IN_FLIGHT],
    *[(f"changed, {s}", facts(s, "changed"), NO, "replace", None, "1 field changed") for s in TERMINAL],
    ("changed, gone", facts("RUNNING", "changed", seen=Gone()), NO, "replace", None, "1 field changed"),
    ("changed, not seen", facts("RUNNING", "changed", seen=Unreachable("x")), NO, "keep", "replace", "1 field changed"),
    ("changed, ended", facts("RUNNING", "changed", seen=Seen(observed("FAILED"))), NO, "replace", None, "1 field"),
    ("changed, left to finish", facts("RUNNING", "changed", on_change="keep"), NO, "keep", "replace", "1 field"),
    ("changed, just protected", facts("RUNNING", "changed", was=False), NO, "keep", "replace", "1 field changed"),
    ("changed, unprotected", facts("RUNNING", "changed", protect=False), NO, "replace", None, "; no longer protected"),
    ("same, --replace", facts("RUNNING", "same"), REPLACE, "keep", "replace", "asked for with --replace"),
    ("same, ended, --replace", facts("COMPLETED", "same"), REPLACE, "replace", None, "asked for with --replace"),
    ("same", facts("RUNNING", "same"), NO, "keep", None, "in progress"),
    ("same, just protected", facts("RUNNING", "same", was=False), NO, "keep", None, "; protected from now on"),
    ("same, unprotected", facts("COMPLETED", "same", protect=False), NO, "keep", None, "; no longer protected"),
    ("failed, budget", facts("FAILED", "same", attempts=3), NO, "retry", None, "attempt 2 of 3"),
    ("removed", facts("RUNNING", "removed"), NO, "orphan", None, "protected, so --prune would not cancel job_1"),
    ("removed, ended", facts("FAILED", "removed"), NO, "orphan", None, "protected, so --prune would not forget job_1"),
    *[
        (f"pruned, {s}", facts(s, "removed"), PRUNE, "orphan", "cancel", "protected, so --prune does")
        for s in IN_FLIGHT
    ],
    *[(f"pruned, {s}", facts(s, "removed"), PRUNE, "orphan", "forget", "protected, so --prune does") for s in TERMINAL],
    ("pruned, gone", facts("RUNNING", "removed", seen=Gone()), PRUNE, "orphan", "forget", "protected"),
]


@pytest.mark.parametrize(
    ("given", "how", "action", "blocked", "reason"), [t[1:] for t in TABLE], ids=[t[0] for t in TABLE]
)
def test_table(given: Facts, how: PlanOptions, action: str, blocked: str | None, reason: str) -> None:
    decided = planned(given, how)
    assert (decided.action, decided.blocked) == (action, blocked)
    assert reason in decided.reason
    if blocked:
        assert decided.action in PASSIVE
        assert decided.override == "reconciler apply --unprotect a"
        assert (decided.cancels, decided.request, decided.generation) == (False, None, None)


@pytest.mark.parametrize("row", [t for t in TABLE if t[4]], ids=[t[0] for t in TABLE if t[4]])
def test_the_override_does_what_was_blocked_and_no_more(row: tuple[Any, ...]) -> None:
    _, given, how, _, blocked, _ = row
    lifted = PlanOptions(prune=how.prune, replace=how.replace, unprotect=frozenset("a"))
    assert planned(given, lifted).action == blocked
    unlifted = PlanOptions(prune=how.prune, replace=how.replace, unprotect=frozenset("b"))
    both = Facts({**given.desired, "b": desired("b", "b")}, given.state, given.observed)
    assert {a.name: a.blocked for a in make_plan(both, unlifted).actions} == {"a": blocked, "b": None}


def test_what_was_changed_is_shown_of_a_blocked_job() -> None:
    (change,) = planned(facts("RUNNING", "changed")).changes
    assert (change.before, change.after) == (1, 2)


def test_others_go_on_and_a_blocked_job_counts_for_no_limit() -> None:
    given = facts("RUNNING", "changed")
    made = make_plan(Facts({**given.desired, "b": desired("b", "b")}, given.state))
    assert [a.name for a in made.pending()] == ["b"]
    assert [a.name for a in made.blocked()] == ["a"]


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(PlanRefused, match="--unprotect 'b': no spec has this name"):
        planned(facts("RUNNING", "same"), PlanOptions(unprotect=frozenset("b")))


def test_a_job_whose_spec_is_gone_can_be_named() -> None:
    assert planned(facts("RUNNING", "removed"), PlanOptions(prune=True, unprotect=frozenset("a"))).action == "cancel"


def test_a_renamed_job_stays_recorded_as_its_new_spec_says() -> None:
    given = Facts({"new": desired("new", protect=True)}, state(old=recorded("RUNNING")))
    moved = planned(given, PRUNE)
    assert (moved.action, moved.protected) == ("move", True)
    assert moved.reason.endswith("; protected from now on")


# -- The record ------------------------------------------------------------------------------------

AT = "2026-01-01T00:00:00Z"


@pytest.mark.parametrize("protect", [True, False])
def test_a_submission_an_adoption_and_a_move_record_it(protect: bool) -> None:
    about: dict[str, Any] = {"name": "a", "at": AT, "fingerprint": "sha256:" + "0" * 64, "request": {}}
    intent = Intent(action="create", generation=1, token="t", spec_path="s", protect=protect, **about)
    submitted = Submitted(name="a", at=AT, token="t", job_id="job_2", job={"status": "PENDING"})
    assert fold(state(), [intent, submitted]).state.jobs["a"].protect is protect
    adopted = Adopted(job_id="job_2", spec_path="s", job={}, protect=protect, **about)
    assert fold(state(), [adopted]).state.jobs["a"].protect is protect
    moved = Moved(name="b", at=AT, job_id="job_1", moved_from="a", spec_path="s", protect=protect)
    before = state(a=recorded(protect=not protect))
    assert fold(before, [moved]).state.jobs["b"].protect is protect


def test_a_journal_of_an_earlier_version_leaves_it_as_it_was() -> None:
    moved = Moved.model_validate({"name": "b", "at": AT, "job_id": "job_1", "moved_from": "a", "spec_path": "s"})
    assert fold(state(a=recorded(protect=True)), [moved]).state.jobs["b"].protect


def test_a_change_of_protection_is_of_one_job_only() -> None:
    before = state(a=recorded(protect=False))
    entry = Protected(name="a", at=AT, job_id="job_1", protect=True)
    after = fold(before, [entry]).state
    assert after.jobs["a"].protect
    assert fold(after, [entry]).state == after
    other = entry.model_copy(update={"job_id": "job_9"})
    assert fold(before, [other]).state == before


def test_it_is_no_part_of_the_fingerprint() -> None:
    def resolved(**policy: Any) -> DesiredJob:
        raw = {"name": "a", "pipeline_type": "batch", "pipeline_key": "k", "reconcile": policy}
        written = WrittenSpec(JobSpec.model_validate(raw), raw, Location("specs/a.yaml", 1), {})
        return resolve([read(written)])[0]["a"]

    assert resolved(protect=True).policy.protect
    assert not resolved(protect=False).policy.protect
    assert resolved(protect=True).fingerprint == resolved().fingerprint
