"""A plan as JUnit XML: a case a job, for CI systems that show nothing else. Pure."""

from __future__ import annotations

import posixpath
import re
from collections import Counter
from xml.etree import ElementTree as ET

from reconciler.actions import Action, Plan
from reconciler.compare import Change
from reconciler.report.plans import change_parts, verdict
from reconciler.text import one_line

_NOT_XML = re.compile("[\ufffe\uffff]")  # of what XML 1.0 does not allow, one_line leaves these


def plan_junit(plan: Plan) -> str:
    """One suite with one case a job. A plan is no test, so that nothing in it has failed: an unchanged job passes, one
    that something would be done about is skipped, with the action and the reason as its message, and a submission
    whose outcome is unknown is an error. Only a limit that refuses the plan is a failure, a case of its own.
    Warnings stand beside them.
    """
    suite = ET.Element("testsuite", name="reconciler plan")
    folder = (plan.source.folder if plan.source else None) or ""
    for action in plan.actions:
        suite.append(_case(action, folder, unsettled=action.name in plan.unsettled))
    for name in sorted(set(plan.unsettled) - {a.name for a in plan.actions}):
        _error(ET.SubElement(suite, "testcase", name=_text(name), classname="reconciler.plan"))
    for refusal in plan.refusals:
        case = ET.SubElement(suite, "testcase", name=refusal.guard, classname="reconciler.plan")
        failure = ET.SubElement(case, "failure", message=_text(refusal.reason), type="refused")
        failure.text = _text(f"to do it all the same: {refusal.override}")
    counts = Counter(child.tag for case in suite for child in case)
    suite.attrib |= {
        "tests": str(len(suite)),
        "failures": str(counts["failure"]),
        "errors": str(counts["error"]),
        "skipped": str(counts["skipped"]),
        "time": "0.000",
    }
    ET.SubElement(suite, "system-out").text = _text(verdict(plan))
    if plan.warnings:
        ET.SubElement(suite, "system-err").text = "\n".join(_text(w) for w in plan.warnings)
    root = ET.Element("testsuites", name="reconciler")
    root.append(suite)
    ET.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(root, encoding="unicode")}\n'


def _case(action: Action, folder: str, *, unsettled: bool) -> ET.Element:
    case = ET.Element(
        "testcase",
        name=_text(action.name),
        classname=f"reconciler.plan.{'blocked' if action.blocked else action.action}",
        time="0.000",
    )
    if action.spec_path:
        case.set("file", _text(posixpath.join(folder, action.spec_path)))
        if action.line:
            case.set("line", str(action.line))
    if unsettled:
        _error(case)
    elif not action.unchanged:
        verb = "blocked" if action.blocked else action.action
        skipped = ET.SubElement(case, "skipped", message=_text(f"{verb}: {action.told}"))
        skipped.text = "\n".join(_change(change) for change in action.changes) or None
    return case


def _change(change: Change) -> str:
    return _text(" ".join(text for text, _ in change_parts(change)))


def _error(case: ET.Element) -> None:
    message = "the outcome of its submission is unknown; apply, status or settle finds out"
    ET.SubElement(case, "error", message=message, type="unsettled").text = message


def _text(text: str) -> str:
    """`text` in characters that XML 1.0 has, on one line."""
    return _NOT_XML.sub(lambda m: f"\\u{ord(m[0]):04x}", one_line(text, 1000))
