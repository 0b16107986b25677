"""Recorded jobs as text and JSON."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

from reconciler.job import JsonObject, RecordedJob, is_terminal
from reconciler.report.style import Paint, plain
from reconciler.report.times import duration, ran_for
from reconciler.text import one_line, pad, plural, width

_STATUS_COLOURS: Mapping[str, Any] = {"COMPLETED": "green", "FAILED": "red", "CANCELLED": "yellow", "RUNNING": "cyan"}


def jobs_text(records: Mapping[str, RecordedJob], paint: Paint = plain) -> str:
    """A table of jobs with a count on top; the errors of failed jobs stand below it."""
    if not records:
        return "No jobs are recorded. 'reconciler apply' submits what the specs ask for."
    counts = Counter(status_of(r) for r in records.values())
    lines = [f"{plural(len(records), 'job')}: " + ", ".join(f"{n:,} {s}" for s, n in counts.most_common())]
    rows = [("NAME", "STATUS", "TOOK", "QUEUE", "JOB", "SUBMITTED")]
    rows += [
        (one_line(name, 60), status_of(r), _took(r), queue_of(r), one_line(r.job_id, 40), r.submitted_at or "")
        for name, r in records.items()
    ]
    used = [i for i in range(len(rows[0])) if any(row[i] for row in rows[1:])]  # an empty column only takes room
    widths = {i: max(width(row[i]) for row in rows) for i in used}
    for number, row in enumerate(rows):
        cells = [pad(row[i], widths[i]) for i in used]
        if number == 0:
            cells = [paint(c, "dim") for c in cells]
        elif colour := _STATUS_COLOURS.get(row[1]):
            cells[1] = paint(cells[1], colour)
        lines.append("  ".join(cells).rstrip())
    lines.extend(
        f"{paint('error', 'red')}: {one_line(name, 60)}: {error_text(r)}"
        for name, r in records.items()
        if r.status == "FAILED" and r.observed.get("error")
    )
    return "\n".join(lines)


def status_of(record: RecordedJob) -> str:
    """The status as it is shown: GONE for a job that the platform does not have any more."""
    return "GONE" if record.gone else one_line(record.status, 30)


def by_status(records: Mapping[str, RecordedJob]) -> list[tuple[str, int]]:
    """How many jobs there are of each status: what ended badly first, then what is in flight."""
    counts = Counter(status_of(record) for record in records.values())
    badly = ("FAILED", "GONE", "CANCELLED")
    order = sorted(counts, key=lambda word: (*(word != bad for bad in badly), is_terminal(word), word))
    return [(word, counts[word]) for word in order]


def queue_of(record: RecordedJob) -> str:
    """`position/depth` of a job that waits; empty when it does not, or it is not known."""
    position, depth = record.observed.get("queue_position"), record.observed.get("queue_depth")
    known = isinstance(position, int) and isinstance(depth, int) and not is_terminal(record.status)
    return f"{position}/{depth}" if known else ""


def _took(record: RecordedJob) -> str:
    seconds = ran_for(record)
    return "" if seconds is None else duration(seconds)


def error_text(record: RecordedJob) -> str:
    """The error of a job, with its code and what the platform suggests, in one line; empty when there is none."""
    error = record.observed.get("error")
    if not isinstance(error, dict):
        return one_line(str(error)) if error else ""
    code = f" [{error['code']}]" if isinstance(error.get("code"), str) else ""
    message = error.get("message") or json.dumps(error, ensure_ascii=False)
    suggestion = f" ({error['suggestion']})" if isinstance(error.get("suggestion"), str) else ""
    return one_line(f"{message}{code}{suggestion}", 1000)


def jobs_json(records: Mapping[str, RecordedJob]) -> JsonObject:
    """The document of `status --format json` and `wait --format json`."""
    return {
        "format_version": 1,
        "jobs": [
            {
                "name": name,
                "job_id": r.job_id,
                "status": r.status,
                "gone": r.gone,
                "fingerprint": r.fingerprint,
                "spec_path": r.spec_path,
                "submitted_at": r.submitted_at,
                "observed_at": r.observed_at,
                **{k: r.observed.get(k) for k in ("queue_position", "queue_depth", "retry_count", "preemption_count")},
                "error": r.observed.get("error"),
            }
            for name, r in records.items()
        ],
    }


def progress_text(records: Mapping[str, RecordedJob]) -> str:
    """The statuses of jobs in a few words: `2 RUNNING · 3 COMPLETED`."""
    counts = Counter(status_of(r) for r in records.values())
    return " · ".join(f"{n:,} {s}" for s, n in sorted(counts.items(), key=lambda item: (is_terminal(item[0]), item[0])))
