"""What people and scripts read. Whole commands are in the acceptance transcripts; here is what those do not show."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from nouns import desired, recorded, request, state

from reconciler.actions import Plan
from reconciler.errors import Diagnostic, Location
from reconciler.facts import Facts, PlanOptions
from reconciler.guards import Limit
from reconciler.job import Cancellation, RecordedJob
from reconciler.plan import make_plan
from reconciler.report.diagnostics import diagnostics_json, diagnostics_text
from reconciler.report.jobs import jobs_json, jobs_text
from reconciler.report.plans import plan_json, plan_text
from reconciler.report.results import events_text, outputs_json, outputs_text
from reconciler.report.style import coloured, size
from reconciler.text import width

HOSTILE = "a\x1b[31m\r\n::set-output name=x::\u202e\x00b##[add-mask]c"


def test_a_plan_puts_the_verdict_first_and_only_counts_what_is_unchanged() -> None:
    jobs = {f"j{i}": recorded("COMPLETED", i) for i in range(50)}
    wanted = {n: desired(n, i) for i, n in enumerate(jobs)} | {"new": desired("new", "x")}
    text = plan_text(make_plan(Facts(wanted, state(**jobs))))
    assert text.splitlines()[0] == "Plan: 1 to create, 50 unchanged."
    assert text.splitlines()[-1] == "  50 up to date"
    assert len(text.splitlines()) < 8


def test_many_changed_fields_are_cut_with_a_count() -> None:
    want = desired()
    body = request(list(range(100)))
    have = recorded().model_copy(update={"request": body})
    text = plan_text(make_plan(Facts({"a": want}, state(a=have)), PlanOptions(replace=frozenset("a"))))
    assert text.count("value") == 1
    have = recorded().model_copy(update={"request": request({str(i): i for i in range(100)})})
    want = desired(value={str(i): -i - 1 for i in range(100)})
    text = plan_text(make_plan(Facts({"a": want}, state(a=have))))
    assert "and 80 more fields" in text


@pytest.mark.parametrize("paint", [None, coloured])
def test_text_from_outside_cannot_steer_a_terminal(paint: object) -> None:
    """Not one control character of a hostile name, status, error or message reaches the output."""
    record = recorded(HOSTILE, job_id="job_1", observed={"error": {"message": HOSTILE}, "queue_position": 1})
    failed = recorded("FAILED", observed={"error": {"message": HOSTILE, "code": HOSTILE, "suggestion": HOSTILE}})
    facts = Facts({HOSTILE: desired(HOSTILE, HOSTILE)}, state(**{HOSTILE: recorded(value=HOSTILE + "x")}))
    texts = [
        jobs_text({HOSTILE: record, "b": failed}),
        plan_text(make_plan(facts)),
        events_text([{"message": HOSTILE, "level": HOSTILE, "event_type": HOSTILE, "created_at": HOSTILE}]),
        outputs_text([{"port_name": HOSTILE, "input_file_id": HOSTILE, "data": {}}], ["x"]),
        diagnostics_text([Diagnostic("c", HOSTILE, Location(HOSTILE, 1, 1), hint=HOSTILE)]),
    ]
    for text in texts:
        assert "\\u001b[31m" in text
        assert not any(c in text for c in "\x1b\r\x00\u202e")
        assert "##[" not in text, "a command to a CI runner"


def test_a_file_name_does_not_begin_a_line_with_a_command() -> None:
    fault = Diagnostic("unreadable", "x", Location("::add-mask::a.yaml", 1, 1))
    assert diagnostics_text([fault]) == "./::add-mask::a.yaml:1:1: error[unreadable]: x"


def test_json_carries_true_values() -> None:
    jobs = jobs_json({HOSTILE: recorded("FAILED", observed={"error": {"message": HOSTILE}, "retry_count": 2})})
    row = json.loads(json.dumps(jobs))["jobs"][0]
    assert (row["name"], row["error"]["message"], row["retry_count"]) == (HOSTILE, HOSTILE, 2)
    assert {"job_id", "status", "fingerprint", "spec_path", "submitted_at", "observed_at"} <= row.keys()
    assert {"queue_position", "queue_depth", "preemption_count"} <= row.keys()


def test_plan_json_has_what_scripts_read() -> None:
    document = plan_json(make_plan(Facts({"a": desired()}, state(0))))
    assert {"format_version", "lineage", "serial", "endpoint", "summary", "actions", "warnings"} <= document.keys()
    assert document["lineage"] is None
    wanted = {"name", "action", "reason", "spec_path", "line", "job_id", "status", "fingerprint", "changes"}
    assert wanted <= document["actions"][0].keys()


def test_a_diagnostic_is_one_line_with_its_place_and_its_hint() -> None:
    fault = Diagnostic(
        "unknown-field", "unknown field 'modle'", Location("specs/a.yaml", 12, 7), hint="did you mean 'model'?"
    )
    line = "specs/a.yaml:12:7: error[unknown-field]: unknown field 'modle' (did you mean 'model'?)"
    assert diagnostics_text([fault]) == line
    assert diagnostics_json([fault])["diagnostics"][0] == {
        "severity": "error",
        "code": "unknown-field",
        "summary": "unknown field 'modle'",
        "detail": None,
        "path": "specs/a.yaml",
        "line": 12,
        "column": 7,
        "hint": "did you mean 'model'?",
    }


def test_references_that_open_outputs_are_not_shown() -> None:
    output = {"id": "out_1", "data": {"ref": "https://storage/x?signature=s3cret", "filename": "x.csv"}}
    assert "s3cret" not in json.dumps(outputs_json("job_1", [output]))
    assert "s3cret" not in outputs_text([output], ["x.csv"])


@pytest.mark.parametrize(
    ("num_bytes", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (45_200_000, "45.2 MB"), (None, ""), ("9", "")],
)
def test_sizes(num_bytes: object, text: str) -> None:
    assert size(num_bytes) == text


def everything() -> Plan:
    """One action of each kind, with long names, reasons and values."""
    long = "a long value with words in it " * 4
    jobs = {
        "running-and-changed": recorded("RUNNING", long, job_id="job_1"),
        "changed": recorded("COMPLETED", {"a": long, "b": 1}),
        "again": recorded("FAILED", 3),
        "old-name": recorded("COMPLETED", 4),
        "gone-spec": recorded("COMPLETED", 5),
        "same": recorded("COMPLETED", 6),
    }
    wanted = {
        "running-and-changed": desired("running-and-changed", "other"),
        "changed": desired("changed", {"a": long + "!", "c": [1]}),
        "again": desired("again", 3, attempts=3),
        "new-name-大きな名前": desired("new-name-大きな名前", 4),
        "same": desired("same", 6),
        "new": desired("new", 7),
    }
    return make_plan(Facts(wanted, state(**jobs)))


def test_what_cancels_running_work_is_read_first_and_each_section_is_counted() -> None:
    titles = [line for line in plan_text(everything()).splitlines() if re.fullmatch(r"\w.* \(\d+\)", line)]
    assert titles == [
        "Cancels running work (1)",
        "Creates (1)",
        "Replaces (1)",
        "Retries (1)",
        "Only recorded: nothing is submitted or cancelled (1)",
        "Orphans: their specs are gone (1)",
        "Unchanged (1)",
    ]


@pytest.mark.parametrize("columns", [30, 60, 80, 120])
def test_a_plan_fits_the_width_of_the_terminal_and_loses_no_word(columns: int) -> None:
    plan = everything().model_copy(update={"warnings": ("it is " + "very " * 60 + "long",)})
    text = plan_text(plan, columns=columns)
    for line in text.splitlines():
        assert width(line) <= columns or len(re.sub(r"^ *[+±↻=→?x-]? ", "", line).split()) <= 3, line
    if columns >= 80:
        assert text.split() == plan_text(plan).split()
        assert max(map(width, text.splitlines())) <= columns


def test_colour_takes_no_room() -> None:
    plan = everything()
    painted = re.sub("\x1b\\[[0-9;]*m", "", plan_text(plan, coloured, 80))
    assert painted == plan_text(plan, columns=80)


def test_a_command_to_copy_is_never_broken() -> None:
    facts = Facts({"a": desired("a", 2, protect=True), "b": desired("b")}, state(a=recorded("RUNNING")))
    command = ("reconciler", "apply", "a folder", "--prune")
    text = plan_text(make_plan(facts, PlanOptions(limits={"max_submissions": Limit(0)}, command=command)), columns=40)
    assert text.startswith("Refused: 1 to create, 1 blocked. Apply\n")
    lines = text.splitlines()
    assert "  to do it all the same: reconciler apply 'a folder' --prune --max-submissions 1" in lines
    assert "        to do it all the same: reconciler apply 'a folder' --prune --unprotect a" in lines


def test_a_blocked_change_is_not_nothing_to_do() -> None:
    facts = Facts({"a": desired("a", 2, protect=True)}, state(a=recorded("RUNNING")))
    assert plan_text(make_plan(facts)).startswith("1 change blocked; nothing else is to be done.")


BY_HAND = recorded("CANCELLED", cancellation=Cancellation(attempt=1, cause="hand", at="2026-01-01T00:00:00Z"))


@pytest.mark.parametrize(
    ("have", "policy", "hint"),
    [
        (recorded("FAILED"), {}, "submits it anew; with reconcile.retry in its spec apply runs it again."),
        (recorded("FAILED", attempts=2), {"attempts": 2}, "'apply --replace NAME' submits it anew."),
        (recorded("FAILED"), {"suspend": True}, "1 failed; suspended: a"),
        (BY_HAND, {"suspend": True}, "1 cancelled by hand; suspended: a"),
        (BY_HAND, {"attempts": 2}, "'apply --replace NAME' submits it anew."),
        (recorded("COMPLETED"), {}, "1 up to date"),
    ],
)
def test_what_to_do_about_a_job_that_ended_badly_is_what_helps(
    have: RecordedJob, policy: dict[str, Any], hint: str
) -> None:
    text = plan_text(make_plan(Facts({"a": desired("a", **policy)}, state(a=have))))
    assert text.splitlines()[-1].endswith(hint)
