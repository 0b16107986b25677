"""Recorded jobs as JUnit XML, the test report that CI systems read.

There is no one standard. What is written is what Jenkins, GitLab and the reporters of GitHub have in common; `file` and
`line` of a case are beyond the schemas, but GitLab and GitHub link them, and Jenkins passes over them.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from xml.etree import ElementTree as ET

from reconciler.job import FailureLog, JsonObject, RecordedJob, is_terminal
from reconciler.report.jobs import error_text, queue_of
from reconciler.report.times import ran_for
from reconciler.text import one_line

_NO_LOG = ("its events were not asked for",)
_NOT_XML = re.compile("[\ufffe\uffff]")  # of what XML 1.0 does not allow, one_line leaves these


def jobs_junit(
    records: Mapping[str, RecordedJob],
    failures: Mapping[str, FailureLog],
    unsettled: Mapping[str, str],
    notes: Sequence[str],
    at: datetime,
) -> str:
    """One suite with one case a job: COMPLETED passes, FAILED and CANCELLED fail, what is in flight is skipped, and
    what is gone, or may not have been submitted (`unsettled`: reasons by name), is an error. `notes` stand beside them.

    Times are seconds, 0.000 when a job has not ended; the timestamp is UTC.
    """
    suite = ET.Element("testsuite", name="reconciler")
    counts: Counter[str] = Counter()
    total = 0.0
    for name in sorted(records.keys() | unsettled.keys()):
        case, seconds = _case(name, records.get(name), failures.get(name), unsettled.get(name))
        counts.update(child.tag for child in case)
        total += seconds
        suite.append(case)
    numbers = {"tests": len(suite), "failures": counts["failure"], "errors": counts["error"]}
    counted = {key: str(number) for key, number in numbers.items()} | {"time": f"{total:.3f}"}
    suite.attrib |= counted | {"skipped": str(counts["skipped"])}
    suite.set("timestamp", at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S"))
    if notes:
        ET.SubElement(suite, "system-err").text = "\n".join(_text(note) for note in notes)
    root = ET.Element("testsuites", counted, name="reconciler")
    root.append(suite)
    ET.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(root, encoding="unicode")}\n'


def _case(
    name: str, record: RecordedJob | None, failure: FailureLog | None, unsettled: str | None
) -> tuple[ET.Element, float]:
    case = ET.Element("testcase", name=_text(name, 800))
    seconds = 0.0
    if record is not None:
        seconds = ran_for(record) or 0.0
        # Jenkins takes what is before the last dot for a package, and shows its classes together.
        kind, key = (str(record.request.get(k) or "") for k in ("pipeline_type", "pipeline_key"))
        case.attrib |= {"classname": _text(".".join(filter(None, (kind, key)))) or "reconciler"}
        case.attrib |= {"time": f"{seconds:.3f}", "file": _text(record.spec_path, 1000)}
        if record.line:
            case.set("line", str(record.line))
    else:
        case.attrib |= {"classname": "reconciler", "time": "0.000"}
    if unsettled is not None:
        _add(case, "error", f"the outcome of its submission is unknown: {unsettled}", "UNKNOWN", [])
    elif record is not None:
        _judge(case, record, failure)
    return case, seconds


def _judge(case: ET.Element, record: RecordedJob, failure: FailureLog | None) -> None:
    status = one_line(record.status, 30)
    if record.gone and not is_terminal(record.status):
        last = f"its last status was {record.status}"
        _add(case, "error", f"the platform has no job {record.job_id}", "GONE", [last])
    elif status == "FAILED":
        error = record.observed.get("error")
        code = error.get("code") if isinstance(error, dict) else None
        message = error_text(record) or "FAILED, and the platform says no more"
        _add(case, "failure", message, code if isinstance(code, str) and code else status, _body(record, failure))
    elif status == "CANCELLED":
        _add(case, "failure", status, status, _body(record, failure))
    elif not is_terminal(record.status):
        queue = queue_of(record)
        message = f"{status}: it has not ended" + (f"; place {queue} in the queue" if queue else "")
        ET.SubElement(case, "skipped", message=_text(message))


def _add(case: ET.Element, tag: str, message: str, kind: str, lines: Sequence[str]) -> None:
    element = ET.SubElement(case, tag, message=_text(message, 1000), type=_text(kind, 100))
    element.text = "\n".join(_text(line, 1000) for line in (message, *lines))


def _body(record: RecordedJob, failure: FailureLog | None) -> list[str]:
    return [
        f"job: {record.job_id}",
        f"spec: {record.spec_path}" + (f":{record.line}" if record.line else ""),
        *(_failure_lines(failure) if failure else _NO_LOG if record.status == "FAILED" else ()),
    ]


def _failure_lines(failure: FailureLog) -> Iterator[str]:
    for row in failure.inputs:
        yield f"input {_of(row, 'port_name')} {_of(row, 'file_id')}: {_of(row, 'error_message') or 'failed'}"
    if failure.events_left_out:
        yield f"… {failure.events_left_out:,} earlier events"
    for event in failure.events:
        yield " ".join(filter(None, (_of(event, k) for k in ("created_at", "level", "event_type", "message"))))
    if failure.absent:
        yield failure.absent


def _of(row: JsonObject, key: str) -> str:
    value = row.get(key)
    return value if isinstance(value, str) else ""


def _text(text: str, limit: int = 500) -> str:
    """`text` in characters that XML 1.0 has, on one line."""
    return _NOT_XML.sub(lambda m: f"\\u{ord(m[0]):04x}", one_line(text, limit))
