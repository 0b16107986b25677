"""What the state holds, shown: all of it, and nothing in it reaches the terminal raw."""

from __future__ import annotations

import json

from nouns import recorded, state

from reconciler.job import State
from reconciler.report.records import record_json, record_text, records_json, records_text

HOSTILE = "\x1b[2J\nforged: line"


def test_the_document_of_one_record_is_what_the_state_file_has() -> None:
    record = recorded("RUNNING", observed={"id": "job_1", "error": None})
    document = json.loads(json.dumps(record_json("a", record)))
    assert document["name"] == "a"
    assert document["record"] == json.loads(state(a=record).model_dump_json())["jobs"]["a"]


def test_an_outline_has_every_field_that_holds_something() -> None:
    record = recorded(observed={"id": "job_1", "error": None, "rows": [{"a": 1, "b": [2]}, [], "x"]})
    assert record_text("n", record).splitlines() == [
        "name: n",
        "job_id: job_1",
        f"fingerprint: {record.fingerprint}",
        "request:",
        "  pipeline_type: batch",
        "  pipeline_key: k",
        "  parameters:",
        "    worker:",
        "      config:",
        "        value: 1",
        "spec_path: specs/old.yaml",
        "status: RUNNING",
        "submitted_at: 2026-01-01T00:00:00Z",
        "attempts: 1",
        "observed:",
        "  id: job_1",
        "  error: null",
        "  rows:",
        "    - a: 1",
        "      b:",
        "        - 2",
        "    - []",
        "    - x",
        "gone: false",
        "protect: false",
        "on_remove: prune",
    ]


def test_what_came_from_outside_is_escaped_and_deep_values_end() -> None:
    deep: object = HOSTILE
    for _ in range(100):
        deep = {HOSTILE: deep}
    record = recorded(HOSTILE, observed={"deep": deep})
    text = record_text(HOSTILE, record)
    assert "\x1b" not in text
    assert not [line for line in text.splitlines() if line.startswith("forged")]
    listed = records_text(state(**{HOSTILE: record}), [HOSTILE])
    assert "\x1b" not in listed
    assert len(listed.splitlines()) == 2


def test_a_list_names_what_was_asked_for_and_what_is_unsettled() -> None:
    have = state(7, a=recorded(), b=recorded("FAILED", job_id="job_2"))
    assert records_text(have, ["b"]).splitlines() == [
        "NAME  STATUS  JOB    SPEC",
        "b     FAILED  job_2  specs/old.yaml",
    ]
    document = records_json(have, ["b", "open"], ["open"])
    assert [job["name"] for job in document["jobs"]] == ["b"]
    assert (document["serial"], document["unsettled"]) == (7, ["open"])
    assert records_text(State(lineage="L", endpoint="e"), []) == "No jobs are recorded."
