"""What people and scripts read. Whole commands are in the acceptance transcripts; here is what those do not show."""

from __future__ import annotations

import json

import pytest
from nouns import desired, recorded, request, state

from reconciler.errors import Diagnostic, Location
from reconciler.plan import Facts, PlanOptions, make_plan
from reconciler.report.diagnostics import diagnostics_json, diagnostics_text
from reconciler.report.jobs import jobs_json, jobs_text
from reconciler.report.plans import plan_json, plan_text
from reconciler.report.results import events_text, outputs_json, outputs_text
from reconciler.report.style import coloured, size

HOSTILE = "a\x1b[31m\r\n::set-output name=x::\u202e\x00b"


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
