"""A plan and diagnostics as GitLab reads them. Whole ones are in the acceptance transcripts."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree as ET

from nouns import desired, observed, recorded, state

from reconciler.actions import Plan
from reconciler.errors import Diagnostic, Location
from reconciler.facts import Facts, PlanOptions
from reconciler.guards import Guard, Limit
from reconciler.job import Seen, Source
from reconciler.plan import make_plan
from reconciler.report.codequality import diagnostics_codequality, plan_codequality
from reconciler.report.planjunit import plan_junit

HOSTILE = 'a<b>&"\x1b[31m\x00\uffff]]>'


def plan(name: str = "a", value: int = 2, **about: Any) -> Plan:
    facts = Facts(
        {name: desired(name, value), "same": desired("same"), "new": desired("new", 9)},
        state(**{name: recorded("RUNNING"), "same": recorded("COMPLETED", job_id="job_2")}),
        {name: Seen(observed("RUNNING", name=name))},
    )
    return make_plan(facts, PlanOptions(), **about)


def test_a_reviewer_is_shown_what_cancels_running_work_first_of_all() -> None:
    found = {f["check_name"]: f["severity"] for f in plan_codequality(plan())}
    assert found == {"reconciler/replace-cancels-running-work": "critical", "reconciler/create": "minor"}


def test_paths_are_those_of_the_repository() -> None:
    made = plan(source=Source(folder="projects/one"))
    assert {f["location"]["path"] for f in plan_codequality(made)} == {
        "projects/one/specs/a.yaml",
        "projects/one/specs/new.yaml",
    }
    assert 'file="projects/one/specs/a.yaml"' in plan_junit(made)


def test_a_finding_is_the_same_while_the_plan_says_the_same() -> None:
    def prints(made: Plan) -> list[str]:
        return [f["fingerprint"] for f in plan_codequality(made)]

    assert prints(plan()) == prints(plan())
    assert len(set(prints(plan()))) == 2
    assert set(prints(plan())) & set(prints(plan(value=3))) == {prints(plan())[1]}, "the spec of 'a' has changed"


def test_unsettled_submissions_and_warnings_are_found() -> None:
    made = plan().model_copy(update={"unsettled": ("a",), "warnings": ("mind\nthis",)})
    found = {f["check_name"]: f for f in plan_codequality(made)}
    assert found["reconciler/unsettled"]["severity"] == "blocker"
    assert found["reconciler/warning"]["description"] == "mind\\u000athis"
    suite = ET.fromstring(plan_junit(made))[0]
    assert suite.get("errors") == "1"
    assert [e.get("type") for e in suite.iter("error")] == ["unsettled"]


def test_a_case_a_job_and_none_has_failed() -> None:
    suite = ET.fromstring(plan_junit(plan()))[0]
    assert {k: suite.get(k) for k in ("tests", "failures", "errors", "skipped")} == {
        "tests": "3", "failures": "0", "errors": "0", "skipped": "2",
    }  # fmt: skip
    what = {c.get("name"): [child.tag for child in c] for c in suite.iter("testcase")}
    assert what == {"a": ["skipped"], "new": ["skipped"], "same": []}


def test_hostile_names_are_text() -> None:
    made = plan(HOSTILE)
    names = [c.get("name") or "" for c in ET.fromstring(plan_junit(made)).iter("testcase")]
    assert 'a<b>&"\\u001b[31m\\u0000\\uffff]]>' in names
    assert all("\x1b" not in f["description"] for f in plan_codequality(made))


def test_a_diagnostic_is_the_same_when_lines_are_put_above_it() -> None:
    def prints(line: int) -> list[str]:
        faults = [
            Diagnostic("unknown-field", "unknown field 'x'", Location("specs/a.yaml", line + n, 3)) for n in (0, 5)
        ]
        return [f["fingerprint"] for f in diagnostics_codequality(faults)]

    assert prints(1) == prints(9)
    assert len(set(prints(1))) == 2


def test_ten_thousand_findings_are_written_quickly() -> None:
    faults = [Diagnostic("unknown-field", "unknown", Location("specs/a.yaml", n)) for n in range(10_000)]
    assert len({f["fingerprint"] for f in diagnostics_codequality(faults)}) == 10_000


def test_what_is_refused_or_blocked_is_seen() -> None:
    limits: dict[Guard, Limit] = {"max_submissions": Limit(1)}
    facts = Facts({"a": desired("a"), "b": desired("b", 2)}, state(), {})
    made = make_plan(facts, PlanOptions(limits=limits))
    severities = {f["check_name"]: f["severity"] for f in plan_codequality(made)}
    assert severities["reconciler/max_submissions"] == "blocker"
    suite = ET.fromstring(plan_junit(made))[0]
    assert suite.get("failures") == "1"
    assert [f.get("type") for f in suite.iter("failure")] == ["refused"]

    action = made.actions[0].model_copy(update={"action": "keep", "blocked": "replace", "cancels": False})
    blocked = made.model_copy(update={"actions": (action,), "refusals": ()})
    assert [f["check_name"] for f in plan_codequality(blocked)] == ["reconciler/blocked"]
    assert ET.fromstring(plan_junit(blocked))[0].get("skipped") == "1"
