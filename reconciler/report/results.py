"""Events, outputs and pipelines as text and JSON."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from reconciler.job import JsonObject
from reconciler.registry import Pulled
from reconciler.report.style import Paint, plain, size
from reconciler.text import one_line, pad, width


def events_text(events: Sequence[JsonObject], paint: Paint = plain) -> str:
    """One line an event, oldest first."""
    lines = []
    for event in events:
        level = str(event.get("level") or "")
        colour: Any = "red" if level in ("ERROR", "FAILED") else "yellow" if level == "WARN" else "dim"
        index = f" #{event['index']}" if isinstance(event.get("index"), int) else ""
        kind = one_line(str(event.get("event_type") or ""), 40)
        message = one_line(str(event.get("message") or ""), 1000)
        when = one_line(str(event.get("created_at") or ""), 30)
        lines.append(f"{when}  {paint(pad(one_line(level, 10), 7), colour)}  {kind}{index}  {message}".rstrip())
    return "\n".join(lines) or "No events."


def outputs_text(outputs: Sequence[JsonObject], names: Sequence[str]) -> str:
    """One line an output: port, file name, size, and the input that it comes from."""
    rows = []
    for output, name in zip(outputs, names, strict=True):
        data = output.get("data")
        num_bytes = data.get("num_bytes") if isinstance(data, dict) else None
        origin = output.get("input_file_id") or ""
        rows.append((one_line(str(output.get("port_name") or "")), name, size(num_bytes), str(origin)))
    widths = [max((width(row[i]) for row in rows), default=0) for i in range(4)]
    lines = ["  ".join(pad(one_line(c), widths[i]) for i, c in enumerate(row)).rstrip() for row in rows]
    return "\n".join(lines) or "No outputs."


def outputs_json(job_id: str, outputs: Sequence[JsonObject]) -> JsonObject:
    """The outputs without their references: those open the files to everybody who has them."""
    return {
        "format_version": 1,
        "job_id": job_id,
        "outputs": [
            {**o, "data": {k: v for k, v in o["data"].items() if k != "ref"} if isinstance(o.get("data"), dict) else {}}
            for o in outputs
        ],
    }


def pipelines_text(rows: Sequence[JsonObject]) -> str:
    """One line a pipeline version."""
    cells = [
        tuple(one_line(str(row.get(k) or ""), 60) for k in ("pipeline_key", "pipeline_version", "status", "name"))
        for row in rows
    ]
    widths = [max((width(row[i]) for row in cells), default=0) for i in range(4)]
    lines = ["  ".join(pad(c, widths[i]) for i, c in enumerate(row)).rstrip() for row in sorted(cells)]
    return "\n".join(lines) or "No pipelines."


def pulled_text(pulled: Sequence[Pulled]) -> str:
    """One line a snapshot: what it is against the platform, its file, and what there is to say of it."""
    widest = max((width(one_line(each.path)) for each in pulled), default=0)
    lines = []
    for each in pulled:
        line = f"{each.change:<9}  {pad(one_line(each.path), widest)}  {one_line(each.why or '')}"
        lines.append(line.rstrip())
    return "\n".join(lines) or "No pipelines."


def pulled_json(pulled: Sequence[Pulled]) -> JsonObject:
    """The snapshots for scripts."""
    return {
        "format_version": 1,
        "snapshots": [
            {
                "path": each.path,
                "pipeline_key": each.key,
                "pipeline_version": each.version,
                "change": each.change,
                "why": each.why,
            }
            for each in pulled
        ],
    }
