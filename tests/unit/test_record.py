"""Entries fold into a state the same way however often and wherever a run was cut off."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nouns import ENDPOINT, recorded, request, state

from reconciler.entries import (
    Adopted,
    Cancelled,
    Entry,
    Forgotten,
    Intent,
    Moved,
    NotSubmitted,
    Observed,
    Retried,
    Submitted,
    token,
)
from reconciler.job import Cancellation, Move, Source, State
from reconciler.record import fold, merge
from reconciler.state import dumps, read_state, save

AT = "2026-04-14T10:00:00Z"
LATER = "2026-04-14T11:00:00Z"
PRINT = "sha256:" + "1" * 64


def job(name: str = "a", job_id: str = "job_new", status: str = "PENDING", **more: Any) -> dict[str, Any]:
    return {"id": job_id, "name": name, "status": status, **more}


def intent(name: str = "a", generation: int = 1, at: str = AT) -> Intent:
    return Intent(
        name=name,
        at=at,
        action="create",
        fingerprint=PRINT,
        generation=generation,
        token=token("L", name, generation),
        request=request(2),
        spec_path=f"specs/{name}.yaml",
        line=3,
        source=Source(commit="c0ffee"),
    )


def submitted(name: str = "a", generation: int = 1, raw: Any = None, at: str = AT) -> Submitted:
    raw = raw or job(name, f"job_{name}{generation}")
    return Submitted(name=name, at=at, token=token("L", name, generation), job_id=raw["id"], job=raw)


def not_submitted(name: str = "a", generation: int = 1, *, refused: bool) -> NotSubmitted:
    return NotSubmitted(name=name, at=AT, token=token("L", name, generation), refused=refused, reason="no")


def seen(name: str = "a", job_id: str = "job_1", at: str = AT, **more: Any) -> Observed:
    return Observed(name=name, at=at, job_id=job_id, job=job(name, job_id, **more))


EMPTY = State(lineage="L", endpoint=ENDPOINT)


def test_the_same_decision_has_the_same_token_and_no_other_has_it() -> None:
    assert token("L", "a", 1) == token("L", "a", 1)
    tokens = {token(*t) for t in [("L", "a", 1), ("M", "a", 1), ("L", "b", 1), ("L", "a", 2), ("L", "1\na", 1)]}
    assert len(tokens) == 5


def test_a_cancel_by_hand_is_of_one_run() -> None:
    source = Source(commit="c0ffee")
    asked = Cancelled(name="a", at=AT, job_id="job_1", attempt=1, source=source)
    again = Retried(name="a", at=LATER, job_id="job_1", attempt=2)
    before = state(a=recorded("RUNNING"))
    record = fold(before, [asked, seen(status="CANCELLED")]).state.jobs["a"]
    assert record.cancelled_by_hand
    assert record.cancellation == Cancellation(attempt=1, at=AT, source=source)
    assert not fold(before, [asked, again]).state.jobs["a"].cancelled_by_hand
    assert fold(before, [asked, again, again.model_copy(update={"undone": True})]).state.jobs["a"].cancelled_by_hand
    assert fold(before, [asked, asked.model_copy(update={"undone": True})]).state == before
    assert fold(before, [asked.model_copy(update={"job_id": "job_other"})]).state == before
    replaced = fold(before, [asked, intent(generation=2), submitted(generation=2)]).state.jobs["a"]
    assert replaced.cancellation is None
    assert [past.cancellation for past in replaced.history] == [record.cancellation]


def test_an_intent_without_outcome_is_unresolved_and_no_record() -> None:
    folded = fold(EMPTY, [intent()])
    assert folded.unresolved == (intent(),)
    assert folded.state == EMPTY


def test_a_submission_becomes_a_record_with_what_was_asked_for() -> None:
    folded = fold(EMPTY, [intent(), submitted(raw=job(pipeline_version="1.2.0"))])
    record = folded.state.jobs["a"]
    assert folded.unresolved == ()
    assert (record.job_id, record.fingerprint, record.request) == ("job_new", PRINT, request(2))
    assert (record.spec_path, record.commit, record.submitted_at) == ("specs/a.yaml", "c0ffee", AT)
    assert (record.status, record.pipeline_version, record.attempts) == ("PENDING", "1.2.0", 1)
    assert folded.state.generations == {"a": 1}


def test_a_replaced_job_goes_to_the_history() -> None:
    old = recorded("COMPLETED", observed=job(status="COMPLETED", completed_at=LATER))
    folded = fold(state(a=old), [intent(generation=2), submitted(generation=2)])
    record = folded.state.jobs["a"]
    assert record.job_id == "job_a2"
    (past,) = record.history
    assert (past.job_id, past.fingerprint, past.status) == ("job_1", old.fingerprint, "COMPLETED")
    assert (past.submitted_at, past.ended_at, past.reason) == (old.submitted_at, LATER, "replaced")
    again = fold(folded.state, [intent(generation=3), submitted(generation=3)]).state.jobs["a"]
    assert [p.job_id for p in again.history] == ["job_1", "job_a2"]
    asked = again.history[1]
    assert (asked.request, asked.spec_path, asked.line, asked.source) == (
        request(2),
        "specs/a.yaml",
        3,
        Source(commit="c0ffee"),
    )


def test_a_refusal_ends_the_generation_and_a_look_up_that_found_nothing_does_not() -> None:
    assert fold(EMPTY, [intent(), not_submitted(refused=True)]).state.generations == {"a": 1}
    not_there = fold(EMPTY, [intent(), not_submitted(refused=False)])
    assert not_there.unresolved == ()
    assert not_there.state == EMPTY  # so the next try carries the same token


def test_an_outcome_closes_its_own_intent_only() -> None:
    folded = fold(EMPTY, [intent("a"), intent("b"), submitted("a")])
    assert [i.name for i in folded.unresolved] == ["b"]
    assert fold(EMPTY, [submitted("a")]).state == EMPTY


def test_news_updates_the_record_and_no_news_changes_not_a_byte() -> None:
    before = state(a=recorded("RUNNING"))
    changed = fold(before, [seen(status="COMPLETED", at=LATER)]).state
    assert (changed.jobs["a"].status, changed.jobs["a"].observed_at) == ("COMPLETED", LATER)
    assert dumps(fold(changed, [seen(status="COMPLETED", at="2027-01-01T00:00:00Z")]).state) == dumps(changed)


def test_news_of_another_job_or_name_is_not_for_the_record() -> None:
    before = state(a=recorded("RUNNING"))
    assert fold(before, [seen(job_id="job_other", status="FAILED"), seen("b", status="FAILED")]).state == before


def test_a_job_that_is_gone_is_marked_and_may_come_back() -> None:
    before = state(a=recorded("RUNNING", observed=job("a", "job_1", "RUNNING")))
    gone = fold(before, [Observed(name="a", at=AT, job_id="job_1", job=None)]).state
    assert gone.jobs["a"].gone
    assert gone.jobs["a"].observed == before.jobs["a"].observed
    assert fold(gone, [Observed(name="a", at=LATER, job_id="job_1", job=None)]).state == gone
    assert not fold(gone, [seen(status="RUNNING")]).state.jobs["a"].gone


def test_a_retry_counts_before_it_is_known_to_run() -> None:
    folded = fold(state(a=recorded("FAILED")), [Retried(name="a", at=AT, job_id="job_1", attempt=2)])
    assert (folded.state.jobs["a"].attempts, folded.state.jobs["a"].status) == (2, "PENDING")
    assert fold(folded.state, [Retried(name="a", at=AT, job_id="job_1", attempt=2)]).state == folded.state


def test_each_retry_is_kept_with_its_commit_unless_it_did_not_happen() -> None:
    second = Retried(name="a", at=AT, job_id="job_1", attempt=2, source=Source(commit="two"))
    third = Retried(name="a", at=LATER, job_id="job_1", attempt=3, source=Source(commit="three"))
    record = fold(state(a=recorded("FAILED")), [second, third]).state.jobs["a"]
    assert [(r.attempt, r.at, r.source) for r in record.retries] == [
        (2, AT, Source(commit="two")),
        (3, LATER, Source(commit="three")),
    ]
    undone = third.model_copy(update={"undone": True})
    record = fold(state(a=recorded("FAILED")), [second, third, undone]).state.jobs["a"]
    assert ([r.attempt for r in record.retries], record.attempts) == ([2], 2)


def test_a_record_says_why_it_was_submitted_and_keeps_it_in_the_history() -> None:
    first = intent().model_copy(update={"why": "new"})
    lost = submitted(generation=2).model_copy(update={"why": "its answer was lost", "adopted": True})
    second = intent(generation=2).model_copy(update={"why": "1 field changed"})
    retried = Retried(name="a", at=AT, job_id="job_a1", attempt=2, source=Source(commit="two"))
    moved = Moved(name="b", at=AT, job_id="job_a2", moved_from="a", spec_path="b.yaml", source=Source(commit="three"))
    once = fold(EMPTY, [first, submitted(), retried, second, lost])
    record = once.state.jobs["a"]
    assert record.why == "1 field changed; its answer was lost"
    (past,) = record.history
    assert (past.why, past.attempts, [r.source for r in past.retries]) == ("new", 2, [Source(commit="two")])
    third = intent("b", generation=3)
    after = fold(once.state, [moved, third, submitted("b", generation=3)]).state.jobs["b"]
    assert [p.job_id for p in after.history] == ["job_a1", "job_a2"]
    assert [(m.moved_from, m.spec_path, m.source) for m in after.history[1].moves] == [
        ("a", "specs/a.yaml", Source(commit="three"))
    ]
    assert after.moves == ()


def test_a_record_of_an_earlier_version_is_not_written_anew(tmp_path: Path) -> None:
    """What it does not say stays unsaid, and an apply that changes nothing changes not a byte."""
    known = json.loads(dumps(state(a=recorded("COMPLETED", history=()))))
    for key in ("why", "retries", "moves", "taken_over_at", "source", "line"):
        del known["jobs"]["a"][key]
    path = tmp_path / "state.json"
    path.write_text(json.dumps(known))
    before = read_state(path)
    assert before is not None
    save(path, before, fold(before, [seen(status="COMPLETED", at=LATER), intent("b")]).state)
    assert read_state(path) != before, "news is written"
    path.write_text(json.dumps(known))
    save(path, before, fold(before, [intent("b")]).state)
    assert path.read_text() == json.dumps(known)


def test_a_move_keeps_the_job_and_the_generations() -> None:
    before = state(old=recorded("COMPLETED", line=3)).model_copy(update={"generations": {"old": 3}})
    at = Source(commit="c0ffee")
    entry = Moved(name="new", at=AT, job_id="job_1", moved_from="old", spec_path="specs/new.yaml", line=7, source=at)
    moved = fold(before, [entry]).state
    assert list(moved.jobs) == ["new"]
    record = moved.jobs["new"]
    assert (record.job_id, record.spec_path, record.line) == ("job_1", "specs/new.yaml", 7)
    assert record.moves == (Move(moved_from="old", at=AT, spec_path="specs/old.yaml", line=3, source=at),)
    assert moved.generations == {"old": 3, "new": 3}


@pytest.mark.parametrize(
    "late",
    [
        Forgotten(name="a", at=AT, job_id="job_old"),
        Moved(name="b", at=AT, job_id="job_old", moved_from="a", spec_path="s"),
        Retried(name="a", at=AT, job_id="job_old", attempt=9),
        Observed(name="a", at=AT, job_id="job_old", job=None),
    ],
    ids=lambda e: e.kind,
)
def test_an_old_journal_does_not_touch_a_newer_record(late: Entry) -> None:
    """A state that came by git may be ahead of the journal that lies beside it."""
    newer = state(a=recorded("COMPLETED", job_id="job_new"))
    assert fold(newer, [late]).state == newer


def test_a_forgotten_record_keeps_its_generation_so_that_no_token_comes_back() -> None:
    folded = fold(state(a=recorded("COMPLETED")), [Forgotten(name="a", at=AT, job_id="job_1")])
    assert folded.state.jobs == {}
    assert folded.state.generations == {"a": 1}


def test_an_adopted_job_becomes_a_record() -> None:
    raw = job("a", "job_found", "COMPLETED", created_at=AT, pipeline_version="2")
    entry = Adopted(
        name="a", at=LATER, job_id="job_found", fingerprint=PRINT, request=request(), spec_path="s", job=raw
    )
    record = fold(EMPTY, [entry]).state.jobs["a"]
    assert (record.job_id, record.status, record.submitted_at, record.observed_at) == (
        "job_found",
        "COMPLETED",
        AT,
        LATER,
    )
    assert record.taken_over_at == LATER


@pytest.mark.parametrize("wrong", [5, 1.5, True, [], {"x": 1}, None])
def test_fields_of_a_wrong_type_never_make_a_state_that_cannot_be_read(wrong: Any) -> None:
    odd = dict.fromkeys(["pipeline_version", "status", "created_at", "completed_at", "updated_at"], wrong)
    raw = {"id": "job_1", "name": "a", **odd}
    adopted = Adopted(name="b", at=AT, job_id="job_1", fingerprint=PRINT, request={}, spec_path="s", job=raw)
    first = Submitted(name="a", at=AT, token=token("L", "a", 1), job_id="job_1", job=raw)
    news = Observed(name="a", at=LATER, job_id="job_1", job={**raw, "x": 1})
    folded = fold(EMPTY, [intent(), first, adopted, news, intent(generation=2), submitted(generation=2)])
    assert State.model_validate(folded.state.model_dump(mode="json")) == folded.state
    assert folded.state.jobs["b"].status == "UNKNOWN"


# What a run writes about one name: one action, in its steps. `old` and `gone` are recorded before it.
ACTIONS: list[list[Entry]] = [
    [intent("new")],
    [intent("new"), submitted("new")],
    [intent("new"), not_submitted("new", refused=True)],
    [intent("new"), not_submitted("new", refused=False), intent("new", at=LATER), submitted("new", at=LATER)],
    [intent("new"), submitted("new"), seen("new", "job_new1", LATER, status="RUNNING")],
]
ACTIONS_ON_OLD: list[list[Entry]] = [
    [intent("old", 2), submitted("old", 2)],
    [seen("old", status="CANCELLED"), intent("old", 2), submitted("old", 2), seen("old", "job_old2", LATER)],
    [
        seen("old", status="RUNNING"),
        seen("old", at=LATER, status="FAILED"),
        Retried(name="old", at=LATER, job_id="job_1", attempt=2),
    ],
    [
        Retried(name="old", at=AT, job_id="job_1", attempt=2),
        seen("old", status="RUNNING"),
        seen("old", at=LATER, status="COMPLETED"),
    ],
    [
        Observed(name="old", at=AT, job_id="job_1", job=None),
        seen("old", at=LATER),
        Forgotten(name="old", at=LATER, job_id="job_1"),
    ],
    [
        Moved(name="moved", at=AT, job_id="job_1", moved_from="old", spec_path="m"),
        seen("moved", at=LATER, status="COMPLETED"),
    ],
    [Forgotten(name="old", at=AT, job_id="job_1")],
]
ADOPTION: list[Entry] = [
    Adopted(
        name="found", at=AT, job_id="job_f", fingerprint=PRINT, request={}, spec_path="s", job=job("found", "job_f")
    ),
    seen("found", "job_f", LATER, status="FAILED"),
    Retried(name="found", at=LATER, job_id="job_f", attempt=2),
]


@st.composite
def journals(draw: st.DrawFn) -> list[Entry]:
    """The entries of one run: its actions, their steps interleaved, and cut off anywhere."""
    left = [list(draw(st.sampled_from(s))) for s in (ACTIONS, ACTIONS_ON_OLD, [[], ADOPTION])]
    entries: list[Entry] = []
    while left := [steps for steps in left if steps]:
        entries.append(draw(st.sampled_from(left)).pop(0))
    return entries[: draw(st.integers(0, len(entries)))]


BEFORE = state(old=recorded("RUNNING"), kept=recorded("COMPLETED", job_id="job_k"))


@given(journals(), st.data())
def test_folding_twice_or_in_parts_is_folding_once(entries: list[Entry], data: st.DataObject) -> None:
    once = fold(BEFORE, entries)
    assert fold(once.state, entries) == once
    part = fold(BEFORE, entries[: data.draw(st.integers(0, len(entries)))])
    assert fold(part.state, entries) == once


@given(journals())
def test_no_submitted_job_is_ever_lost(entries: list[Entry]) -> None:
    folded = fold(BEFORE, entries)
    on_record = {r.job_id for r in folded.state.jobs.values()}
    on_record |= {p.job_id for r in folded.state.jobs.values() for p in r.history}
    assert {e.job_id for e in entries if isinstance(e, Submitted)} <= on_record
    told = {e.token for e in entries if isinstance(e, Submitted | NotSubmitted)}
    assert {e.token for e in entries if isinstance(e, Intent)} - told == {i.token for i in folded.unresolved} - told
    assert State.model_validate(folded.state.model_dump(mode="json")) == folded.state


# -- what a run did that had lost the lock --


def test_what_came_late_is_folded_in_where_nobody_knows_of_it() -> None:
    merged = merge(state(1), [], [intent(), submitted()])
    assert merged.state.jobs["a"].job_id == "job_a1"
    assert (merged.unresolved, merged.strays) == ((), ())


def test_what_came_late_and_was_found_meanwhile_changes_nothing() -> None:
    known = fold(state(1), [intent(), submitted()]).state
    assert merge(known, [], [intent(), submitted()]).state == known


def test_the_outcome_that_came_late_resolves_an_intent_that_is_still_open() -> None:
    merged = merge(state(1), [intent()], [intent(), submitted()])
    assert merged.unresolved == ()
    assert merged.state.jobs["a"].job_id == "job_a1"


def test_an_intent_that_came_late_without_its_outcome_is_to_be_settled() -> None:
    assert merge(state(1), [], [intent()]).unresolved == (intent(),)
    known = fold(state(1), [intent(), submitted()]).state
    assert merge(known, [], [intent()]).unresolved == ()


def test_a_second_job_that_came_late_goes_to_the_history_once_and_is_told() -> None:
    known = fold(state(1), [intent(), submitted(raw=job(job_id="job_other"))]).state
    merged = merge(known, [], [intent(), submitted()])
    assert merged.state.jobs["a"].job_id == "job_other"
    assert [(p.job_id, p.reason) for p in merged.state.jobs["a"].history] == [
        ("job_a1", "made by a run that had lost its lock")
    ]
    assert [stray.job_id for stray in merged.strays] == ["job_a1"]
    again = merge(merged.state, [], [intent(), submitted()])
    assert (again.state, again.strays) == (merged.state, ())
