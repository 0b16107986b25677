"""A plan as a pull-request comment. A whole one is in the acceptance transcripts; here is what must always hold."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from nouns import desired, recorded, state

from reconciler.actions import Action, Plan
from reconciler.facts import Facts, PlanOptions
from reconciler.guards import Limit
from reconciler.job import Source
from reconciler.plan import make_plan
from reconciler.report.markdown import COMMENT, code, plan_markdown, prose

ENDPOINT = "https://platform.example/v0.5"


def thousand(word: str = "job") -> Plan:
    """A thousand changes, with twenty changed fields each, and one job that is cancelled."""
    before, after = ({f"field{i}": f"{v} {i} " + "x" * 60 for i in range(20)} for v in ("old", "new"))
    names = [f"{word}-{i:04}" for i in range(1000)]
    jobs = {n: recorded("COMPLETED", before, job_id=f"job_{i}") for i, n in enumerate(names[:500])}
    jobs["running"] = recorded("RUNNING", "other", job_id="job_r")
    return make_plan(Facts({n: desired(n, {**after, "n": n}) for n in names}, state(**jobs)), PlanOptions(prune=True))


def test_a_thousand_changes_fit_in_one_comment_and_the_verdict_is_never_cut() -> None:
    assert "left out here" not in plan_markdown(thousand())
    text = plan_markdown(thousand("a-name-that-takes-its-part-of-the-room"))
    assert len(text) <= COMMENT
    lines = text.splitlines()
    assert lines[0] == "### Plan: 1 to cancel, 500 to replace, 500 to create."
    assert "#### Cancels running work (1)" in lines[:8]
    assert "job_r (RUNNING)" in text
    assert {"#### Creates (500)", "#### Replaces (500)"} <= set(lines)
    shown = sum(line.startswith("- ") for line in lines)
    (left_out,) = re.findall(r"\*\*([\d,]+) actions are left out here", text)
    assert shown + int(left_out.replace(",", "")) == 1001
    assert shown > 500


@pytest.mark.parametrize("limit", [1200, 5000, 30_000])
def test_it_keeps_to_any_limit(limit: int) -> None:
    text = plan_markdown(thousand(), limit)
    assert len(text) <= limit
    assert text.startswith("### Plan: 1 to cancel")


def test_fewer_fields_are_shown_before_actions_are_left_out() -> None:
    before, after = ({f"f{i}": f"{v}{i}" for i in range(20)} for v in "ab")
    names = [f"j{i}" for i in range(60)]
    facts = Facts({n: desired(n, after) for n in names}, state(**{n: recorded("COMPLETED", before) for n in names}))
    text = plan_markdown(make_plan(facts))
    assert "left out here" not in text
    assert "… and 15 more fields" in text


def test_what_a_reviewer_needs_is_there() -> None:
    facts = Facts(
        {"new": desired("new"), "changed": desired("changed", 2), "same": desired("same", 3)},
        state(
            changed=recorded("RUNNING", 1), same=recorded("COMPLETED", 3, job_id="job_2"), gone=recorded("RUNNING", 9)
        ),
    )
    source = Source(commit="c0ffee" * 6, dirty=True)
    assert plan_markdown(make_plan(facts, source=source)).splitlines() == [
        "### Plan: 1 to replace, 1 to create, 1 orphaned, 1 unchanged.",
        "",
        "2 runs would be submitted, and 1 job in flight is cancelled.",
        "",
        f"`{ENDPOINT}` · state serial 1 · commit `c0ffeec0ffee`, with changes that are not committed",
        "",
        "#### Cancels running work (1)",
        "",
        "- replace `changed`: 1 field changed; cancels job_1 (RUNNING) · `specs/changed.yaml:1`",
        "  - `parameters.worker.config.value`: `1` → `2`",
        "",
        "#### Creates (1)",
        "",
        "- create `new`: new · `specs/new.yaml:1` · `k (its latest version)`, `value: 1`",
        "",
        "#### Orphans: their specs are gone (1)",
        "",
        "- orphan `gone`: spec removed; --prune would cancel job_1 (RUNNING) · `specs/old.yaml`",
        "",
        "#### Unchanged (1)",
        "",
        "- 1 up to date",
    ]


@given(st.text(min_size=1).filter(lambda t: t.strip()))
def test_a_code_span_ends_where_its_text_ends(text: str) -> None:
    """No run of backticks in it is as long as its fence."""
    span = code(text)
    fence = len(span) - len(span.lstrip("`"))
    inside = span[fence:-fence]
    assert not re.search(rf"(?<!`)`{{{fence}}}(?!`)", inside)
    assert text in inside


@pytest.mark.parametrize(
    "hostile",
    ["@team", "**b**", "[x](y)", "<img src=x>", "https://x.example", "www.x.example", "#1", "__b__", "a|b", "`x`"],
)
def test_words_from_outside_are_neither_markup_nor_mentions_nor_links(hostile: str) -> None:
    assert prose(f"see {hostile} here") == code(f"see {hostile} here")
    action = Action(name=hostile, action="create", reason=f"new {hostile}", spec_path=f"specs/{hostile}.yaml", line=1)
    text = plan_markdown(Plan(endpoint=ENDPOINT, actions=(action,), warnings=(f"see {hostile}",)))
    spans = re.sub(r"(?<!`)(`+)(?!`).*?(?<!`)\1(?!`)", "", text)
    assert hostile not in spans


def test_an_empty_plan_says_so() -> None:
    text = plan_markdown(Plan(endpoint=ENDPOINT))
    assert text == f"### No changes: nothing is to be done.\n\n`{ENDPOINT}` · first run\n"


def test_it_fits_however_much_there_is_to_warn_of_and_to_leave_alone() -> None:
    long = "a-long-name-" * 10
    kept = tuple(
        Action(name=f"k{i}", action="keep", reason=f"it may be the job of {long}{i}, which is open") for i in range(999)
    )
    warnings = tuple(f"{long}{i}: @everybody look" for i in range(999))
    text = plan_markdown(thousand().model_copy(update={"actions": (*thousand().actions, *kept), "warnings": warnings}))
    assert len(text) <= COMMENT
    assert text.startswith("### Plan: 1 to cancel")
    assert "#### Warnings (999)" in text


def test_a_refusal_and_what_overrides_it_come_first_however_much_there_is() -> None:
    facts = Facts({(n := f"n{i:04} @team `x`"): desired(n, i) for i in range(3000)}, state())
    text = plan_markdown(make_plan(facts, PlanOptions(limits={"max_submissions": Limit(7)})))
    lines = text.splitlines()
    assert len(text) <= COMMENT
    assert lines[0] == "### Refused: 3,000 to create. Apply does none of it."
    assert lines[4].startswith("- refused: ``3,000 jobs would be submitted, max_submissions allows 7: n0000 @team `x`")
    assert lines[4].endswith("and 2,995 more``")
    assert lines[6] == "To do it all the same: `reconciler apply --max-submissions 3000`"


def test_a_thousand_blocked_jobs_fit_and_say_what_overrides_them() -> None:
    names = [f"a-name-that-takes-its-part-of-the-room-{i:04}" for i in range(1000)]
    records = {n: recorded("RUNNING", job_id=f"job_{i}") for i, n in enumerate(names)}
    text = plan_markdown(make_plan(Facts({n: desired(n, n, protect=True) for n in names}, state(**records))))
    assert len(text) <= COMMENT
    assert text.startswith("### 1,000 changes blocked; nothing else is to be done.")
    assert "#### Blocked by reconcile.protect: --unprotect NAME overrides it (1,000)" in text
    (left_out,) = re.findall(r"\*\*(\d+) actions are left out here: \d+ blocked", text)
    assert text.count("\n- blocked ") + int(left_out) == 1000
