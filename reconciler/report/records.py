"""What the state file holds, as text and JSON: all records in short, or one of them whole."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from reconciler.job import JsonObject, RecordedJob, State
from reconciler.report.jobs import status_of
from reconciler.report.style import Paint, plain
from reconciler.text import one_line, pad, width

_DEEP = 12  # levels that are written as an outline; what is deeper stands in one line
_VALUE = 2000  # characters of a value


def records_text(state: State, names: Sequence[str], paint: Paint = plain) -> str:
    """One line a record: name, status, job, spec."""
    rows = [("NAME", "STATUS", "JOB", "SPEC")]
    for name in names:
        if (record := state.jobs.get(name)) is not None:
            cells = (one_line(name, 128), status_of(record), one_line(record.job_id, 60), one_line(record.spec_path))
            rows.append(cells)
    if len(rows) == 1:
        return "No jobs are recorded."
    widths = [max(width(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["  ".join(map(pad, row, widths)).rstrip() for row in rows]
    return "\n".join([paint(lines[0], "dim"), *lines[1:]])


def records_json(state: State, names: Sequence[str], unsettled: Sequence[str]) -> JsonObject:
    """The document of `state list --format json`."""
    records = {name: state.jobs[name] for name in names if name in state.jobs}
    return {
        "format_version": 1,
        "lineage": state.lineage if state.serial else None,
        "serial": state.serial,
        "endpoint": state.endpoint,
        "jobs": [
            {
                "name": name,
                "job_id": r.job_id,
                "status": r.status,
                "gone": r.gone,
                "fingerprint": r.fingerprint,
                "spec_path": r.spec_path,
                "attempts": r.attempts,
                "protect": r.protect,
            }
            for name, r in records.items()
        ],
        "unsettled": list(unsettled),
    }


def record_text(name: str, record: RecordedJob) -> str:
    """The record as an outline. Fields of it that hold nothing are left out."""
    return "\n".join(_outline({"name": name, **_held(record.model_dump(mode="json"))}, 0))


def record_json(name: str, record: RecordedJob) -> JsonObject:
    """The document of `state show --format json`: the record as the state file has it."""
    return {"format_version": 1, "name": name, "record": record.model_dump(mode="json")}


def whole_records_json(records: Mapping[str, RecordedJob]) -> JsonObject:
    """The document of `state show --format json` for a glob, or several names."""
    jobs = [{"name": name, "record": record.model_dump(mode="json")} for name, record in records.items()]
    return {"format_version": 1, "jobs": jobs}


def _held(fields: JsonObject) -> JsonObject:
    """Without what holds nothing; what was sent and what was observed stay whole."""
    held = {}
    for key, value in fields.items():
        below = _held(value) if isinstance(value, dict) and key not in ("request", "observed") else value
        if below not in (None, "", [], {}):
            held[key] = below
    return held


def _outline(value: Any, level: int) -> Iterator[str]:
    indent = "  " * level
    if isinstance(value, dict):
        entries = [(f"{one_line(str(key))}:", below) for key, below in value.items()]
    else:
        entries = [("-", below) for below in value]
    for head, below in entries:
        if isinstance(below, dict | list) and below and level < _DEEP:
            lines = list(_outline(below, level + 1))
            if head == "-":
                lines[0] = f"{indent}- {lines[0].lstrip()}"
                yield from lines
            else:
                yield f"{indent}{head}"
                yield from lines
        else:
            yield f"{indent}{head} {_scalar(below)}".rstrip()


def _scalar(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return one_line(text, _VALUE)
