"""JUnit XML: read back by a parser, as a CI system does."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_samples import FAILURES, HOSTILE, NOON, RECORDS, job

from reconciler.job import FailureLog, RecordedJob
from reconciler.report.junit import jobs_junit

# What is allowed where, in the schema that Jenkins' xUnit plugin checks with, and `file` and `line`, which it does not
# know. GitLab and the reporters of GitHub read a part of it.
ALLOWED = {
    "testsuites": ({"name", "time", "tests", "failures", "errors"}, {"testsuite"}),
    "testsuite": (
        {"name", "time", "tests", "failures", "errors", "skipped", "timestamp"},
        {"testcase", "system-out", "system-err"},
    ),
    "testcase": ({"name", "classname", "time", "file", "line"}, {"failure", "error", "skipped"}),
    "failure": ({"message", "type"}, set()),
    "error": ({"message", "type"}, set()),
    "skipped": ({"message", "type"}, set()),
    "system-err": (set(), set()),
}


def parsed(
    records: dict[str, RecordedJob],
    failures: dict[str, FailureLog] | None = None,
    unsettled: dict[str, str] | None = None,
    notes: tuple[str, ...] = (),
) -> ET.Element:
    """The root, after a look at everything that readers rely on."""
    text = jobs_junit(records, failures or {}, unsettled or {}, notes, NOON)
    root = ET.fromstring(text.encode())
    for element in root.iter():
        attributes, children = ALLOWED[element.tag]
        assert set(element.attrib) <= attributes
        assert {child.tag for child in element} <= children
    cases = list(root.iter("testcase"))
    for parent in (root, root[0]):
        assert (root.tag, root[0].tag) == ("testsuites", "testsuite")
        assert int(parent.attrib["tests"]) == len(cases)
        assert int(parent.attrib["failures"]) == len(list(root.iter("failure")))
        assert int(parent.attrib["errors"]) == len(list(root.iter("error")))
        assert re.fullmatch(r"\d+\.\d{3}", parent.attrib["time"])
    assert int(root[0].attrib["skipped"]) == len(list(root.iter("skipped")))
    for case in cases:
        assert re.fullmatch(r"\d+\.\d{3}", case.attrib["time"])
        assert case.attrib["name"]
        assert case.attrib["classname"]
        assert len(case) <= 1
    return root


def case(root: ET.Element, name: str) -> ET.Element:
    return next(c for c in root.iter("testcase") if c.attrib["name"] == name)


@pytest.mark.parametrize(
    ("name", "tag", "message"),
    [
        ("completed", None, None),
        ("retried", None, None),
        ("failed", "failure", "the worker needed more than 8 GB [out_of_memory] (lower batch_size)"),
        ("cancelled", "failure", "CANCELLED"),
        ("running", "skipped", "RUNNING: it has not ended"),
        ("pending", "skipped", "PENDING: it has not ended; place 2/5 in the queue"),
        ("preempted", "skipped", "PREEMPTED: it has not ended"),
        ("from the future", "skipped", "QUARANTINED: it has not ended"),
        ("gone", "error", "the platform has no job job_15-70"),
    ],
)
def test_what_became_of_a_job_is_what_the_case_says(name: str, tag: str | None, message: str | None) -> None:
    found = case(parsed(RECORDS), name)
    assert [child.tag for child in found] == ([tag] if tag else [])
    if tag:
        assert found[0].attrib["message"] == message


def test_a_case_has_its_time_its_group_and_the_place_of_its_spec() -> None:
    root = parsed(RECORDS)
    assert case(root, "completed").attrib == {
        "name": "completed",
        "classname": "batch.k",
        "time": "120.000",
        "file": "specs/pumps.yaml",
        "line": "3",
    }
    assert case(root, "running").attrib["time"] == "0.000"
    assert root[0].attrib["timestamp"] == "2026-03-04T12:00:00"
    assert float(root[0].attrib["time"]) == sum(float(c.attrib["time"]) for c in root.iter("testcase"))


def test_a_failure_tells_the_job_the_inputs_and_the_last_events() -> None:
    failure = case(parsed(RECORDS, FAILURES), "failed")[0]
    assert failure.attrib["type"] == "out_of_memory"
    assert failure.text is not None
    for words in (
        "job_0-30-90",
        "specs/pumps.yaml:3",
        "a.csv: no column 'time'",
        "7 earlier events",
        "ERROR error killed",
    ):
        assert words in failure.text


def test_what_could_not_be_read_is_said() -> None:
    log = FailureLog(absent="its events could not be read: HTTP 503")
    assert "HTTP 503" in (case(parsed(RECORDS, {"failed": log}), "failed")[0].text or "")


def test_a_submission_whose_outcome_is_unknown_is_one_error_with_or_without_a_record() -> None:
    root = parsed(RECORDS, unsettled={"completed": "no answer", "new": "no answer"})
    for name in ("completed", "new"):
        assert [c.tag for c in root.iter("testcase") if c.attrib["name"] == name] == ["testcase"]
        assert case(root, name)[0].tag == "error"
        assert "no answer" in case(root, name)[0].attrib["message"]


def test_notes_stand_beside_the_cases_and_no_jobs_are_an_empty_suite() -> None:
    root = parsed({}, notes=("a: job_1 was not observed: HTTP 503",))
    assert len(root[0]) == 1
    assert root[0][0].text == "a: job_1 was not observed: HTTP 503"


TEXT = st.text(st.characters(min_codepoint=0, max_codepoint=0x1FFFF), min_size=1, max_size=30) | st.just(HOSTILE)


@given(TEXT, TEXT)
def test_no_text_breaks_the_document(name: str, words: str) -> None:
    """Names, errors and paths of any characters, lone surrogates and those that XML lacks included."""
    error = {"message": words, "code": words, "suggestion": words}
    record = job("FAILED", 0, 1, 2, error=error).model_copy(update={"spec_path": words})
    row = {"message": words, "file_id": words, "error_message": words}
    root = parsed({name: record}, {name: FailureLog((row,), 0, (row,), words)}, {}, (words,))
    assert len(root[0].findall("testcase")) == 1


def test_names_that_differ_stay_apart() -> None:
    records = {"a" + c: RECORDS["completed"] for c in ("\x00", "\x01", "\ufffe", "\uffff", "\ud800")}
    assert len({c.attrib["name"] for c in parsed(records).iter("testcase")}) == len(records)
