"""Values → text and JSON. Pure: it computes nothing that a plan, an outcome or a record does not say.

Text goes to a terminal, so everything that came from a file or from the platform is made harmless here.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, Protocol, TypeAlias

from reconciler.errors import Diagnostic
from reconciler.job import JsonObject, RecordedJob, is_terminal
from reconciler.plan import Action, Change, Plan
from reconciler.text import one_line, pad, plural, width

Paint: TypeAlias = Callable[[str, Literal["green", "red", "yellow", "cyan", "bold", "dim"]], str]

_CODES = {"green": "32", "red": "31", "yellow": "33", "cyan": "36", "bold": "1", "dim": "2"}
_MARKS: Mapping[str, tuple[str, Any, str]] = {
    "create": ("+", "green", "to create"),
    "replace": ("±", "yellow", "to replace"),
    "retry": ("↻", "yellow", "to retry"),
    "cancel": ("-", "red", "to cancel"),
    "adopt": ("=", "cyan", "to adopt"),
    "move": ("→", "cyan", "to move"),
    "forget": ("x", "dim", "to forget"),
    "orphan": ("?", "yellow", "orphaned"),
}
_PAST: Mapping[str, str] = {
    "create": "created",
    "replace": "replaced",
    "retry": "retried",
    "cancel": "cancelled",
    "adopt": "adopted",
    "move": "moved",
    "forget": "forgotten",
}
_STATUS_COLOURS: Mapping[str, Any] = {"COMPLETED": "green", "FAILED": "red", "CANCELLED": "yellow", "RUNNING": "cyan"}


def plain(text: str, colour: str) -> str:
    """No colour."""
    return text


def coloured(text: str, colour: str) -> str:
    """ANSI colour."""
    return f"\x1b[{_CODES[colour]}m{text}\x1b[0m"


def to_json(value: Any) -> str:
    """Pretty JSON for scripts; strings keep their true value, escaped as JSON does."""
    return json.dumps(value, indent=2, ensure_ascii=False)


# -- diagnostics ----------------------------------------------------------------------------------


def diagnostics_text(diagnostics: Iterable[Diagnostic], paint: Paint = plain) -> str:
    """One line each: `specs/a.yaml:12:7: error[unknown-field]: unknown field 'modle' (did you mean 'model'?)`."""
    lines = []
    for d in diagnostics:
        label = paint(f"{d.severity}[{d.code}]", "red" if d.severity == "error" else "yellow")
        where = f"{one_line(str(d.location))}: " if d.location else ""
        hint = f" ({one_line(d.hint)})" if d.hint else ""
        lines.append(f"{where}{label}: {one_line(d.summary)}{hint}")
    return "\n".join(lines)


def diagnostics_json(diagnostics: Iterable[Diagnostic]) -> JsonObject:
    """The document of `validate --format json`."""
    return {
        "format_version": 1,
        "diagnostics": [
            {
                "severity": d.severity,
                "code": d.code,
                "summary": d.summary,
                "detail": d.detail,
                "path": d.location.path if d.location else None,
                "line": d.location.line or None if d.location else None,
                "column": d.location.column or None if d.location else None,
                "hint": d.hint,
            }
            for d in diagnostics
        ],
    }


# -- plan -----------------------------------------------------------------------------------------


def plan_text(plan: Plan, paint: Paint = plain) -> str:
    """The verdict, then what is done and why, then warnings. Unchanged jobs are only counted."""
    shown = [a for a in plan.actions if a.action != "keep"]
    kept = [a for a in plan.actions if a.action == "keep"]
    lines = [paint(_verdict(plan), "bold")]
    names = max((width(one_line(a.name, 60)) for a in shown), default=0)
    if shown:
        lines.append("")
    for action in shown:
        lines.extend(_action_lines(action, names, paint))
    if kept:
        lines += ["", "Unchanged:", *_kept_lines(kept)]
    uploads = {u.file_id: u.num_bytes for a in shown for u in a.uploads}
    if uploads:
        total = plural(len(uploads), "file")
        lines.append(f"Uploads: {total}, {size(sum(uploads.values()))}, less what the platform has already.")
    if plan.warnings:
        lines += ["", *(f"{paint('warning', 'yellow')}: {one_line(w)}" for w in plan.warnings)]
    return "\n".join(lines)


def _kept_lines(kept: Sequence[Action]) -> Iterator[str]:
    """Unchanged jobs are counted by reason; those that ended badly are named, with what to do."""
    reasons: dict[str, list[str]] = {}
    for action in kept:
        ended_badly = action.reason.startswith(("failed", "cancelled"))
        reasons.setdefault(action.reason.partition(": ")[0], []).append(
            one_line(action.name, 60) if ended_badly else ""
        )
    for reason, names in sorted(reasons.items(), key=lambda item: -len(item[1])):
        named = [n for n in names if n]
        shown = ": " + ", ".join(named[:5]) + (", …" if len(named) > 5 else "") if named else ""
        yield f"  {len(names):,} {one_line(reason)}{shown}"
    if any(n for names in reasons.values() for n in names):
        yield "  'apply --replace NAME' submits a job that ended badly anew; reconcile.retry in its spec runs it again."


def _verdict(plan: Plan) -> str:
    summary = plan.summary()
    parts = [f"{count:,} {_MARKS[kind][2]}" for kind, count in summary.items() if kind in _MARKS]
    if summary.get("keep"):
        parts.append(f"{summary['keep']:,} unchanged")
    if not plan.pending():
        rest = [p for p in parts if not p.endswith("unchanged")]
        if plan.unsettled:
            return f"{plural(len(plan.unsettled), 'submission')} to settle first; nothing else is to be done."
        return "No changes" + (f" ({', '.join(rest)})" if rest else "") + ": nothing is to be done."
    return "Plan: " + ", ".join(parts) + "."


def _action_lines(action: Action, names: int, paint: Paint) -> list[str]:
    mark, colour, _ = _MARKS[action.action]
    where = f"{action.spec_path}:{action.line}" if action.line else action.spec_path or ""
    head = f"  {paint(mark, colour)} {paint(pad(action.action, 7), colour)}  {pad(one_line(action.name, 60), names)}"
    lines = [f"{head}  {one_line(action.reason)}  {paint(one_line(where), 'dim')}".rstrip()]
    lines.extend(f"        {_change_text(change, paint)}" for change in action.changes[:20])
    if len(action.changes) > 20:
        lines.append(f"        … and {len(action.changes) - 20} more fields; --format json has them all")
    return lines


def _change_text(change: Change, paint: Paint) -> str:
    path = one_line(change.path)
    if change.op == "add":
        return f"{path}: {paint('added', 'green')} {_value(change.after)}"
    if change.op == "remove":
        return f"{path}: {paint('removed', 'red')} {_value(change.before)}"
    return f"{path}: {paint(_value(change.before), 'red')} → {paint(_value(change.after), 'green')}"


def _value(value: Any) -> str:
    return one_line(json.dumps(value, ensure_ascii=False), 70)


def plan_json(plan: Plan) -> JsonObject:
    """The document of `plan --format json` and `--out`: the plan with its counts."""
    body = plan.model_dump(mode="json")
    return {"format_version": body.pop("format_version"), "summary": plan.summary(), **body}


# -- apply ----------------------------------------------------------------------------------------


class Result(Protocol):
    """What came of one action. Structural: this module knows nothing of how it came about."""

    @property
    def name(self) -> str: ...
    @property
    def action(self) -> str: ...
    @property
    def outcome(self) -> str: ...
    @property
    def job_id(self) -> str | None: ...
    @property
    def status(self) -> str | None: ...
    @property
    def error(self) -> str | None: ...
    @property
    def hint(self) -> str | None: ...


def outcomes_text(outcomes: Sequence[Result], paint: Paint = plain) -> str:
    """Counts, then everything that is not done, with what to do about it."""
    counts = Counter(o.outcome for o in outcomes)
    colours: Mapping[str, Any] = {"done": "green", "failed": "red", "skipped": "yellow", "unknown": "red"}
    done = Counter(_PAST.get(o.action, o.action) for o in outcomes if o.outcome == "done")
    parts = [paint(f"{count:,} {verb}", "green") for verb, count in done.items()]
    verdict = ", ".join([*parts, *(paint(f"{counts[k]:,} {k}", colours[k]) for k in list(colours)[1:] if counts[k])])
    lines = [f"Applied: {verdict}."]
    for o in outcomes:
        if o.outcome == "done":
            continue
        head = f"  {paint(o.outcome, colours[o.outcome])}  {o.action} {one_line(o.name, 60)}"
        lines.append(f"{head}: {one_line(o.error or '', 1000)}")
        if o.hint:
            lines.append(f"           {one_line(o.hint)}")
    return "\n".join(lines)


def outcomes_json(outcomes: Sequence[Result]) -> JsonObject:
    """The document of `apply --format json`."""
    keys = ("name", "action", "outcome", "job_id", "status", "error")
    return {
        "format_version": 1,
        "summary": dict(Counter(o.outcome for o in outcomes)),
        "outcomes": [{k: getattr(o, k) for k in keys} for o in outcomes],
    }


# -- jobs -----------------------------------------------------------------------------------------


def jobs_text(records: Mapping[str, RecordedJob], paint: Paint = plain) -> str:
    """A table of jobs with a count on top; the errors of failed jobs stand below it."""
    if not records:
        return "No jobs are recorded. 'reconciler apply' submits what the specs ask for."
    counts = Counter(_status(r) for r in records.values())
    lines = [f"{plural(len(records), 'job')}: " + ", ".join(f"{n:,} {s}" for s, n in counts.most_common())]
    rows = [("NAME", "STATUS", "TOOK", "QUEUE", "JOB", "SUBMITTED")]
    rows += [
        (one_line(name, 60), _status(r), _took(r), _queue(r), one_line(r.job_id, 40), r.submitted_at or "")
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
        f"{paint('error', 'red')}: {one_line(name, 60)}: {_error_text(r)}"
        for name, r in records.items()
        if r.status == "FAILED" and r.observed.get("error")
    )
    return "\n".join(lines)


def _status(record: RecordedJob) -> str:
    return "GONE" if record.gone else one_line(record.status, 30)


def _queue(record: RecordedJob) -> str:
    position, depth = record.observed.get("queue_position"), record.observed.get("queue_depth")
    known = isinstance(position, int) and isinstance(depth, int) and not is_terminal(record.status)
    return f"{position}/{depth}" if known else ""


def _took(record: RecordedJob) -> str:
    ended = record.observed.get(f"{record.status.lower()}_at")
    try:
        delta = datetime.fromisoformat(str(ended)) - datetime.fromisoformat(str(record.observed.get("started_at")))
    except (ValueError, TypeError):
        return ""
    seconds = max(0, delta.total_seconds())
    return f"{seconds:.1f} s" if seconds < 60 else f"{int(seconds) // 60} min {int(seconds) % 60} s"


def _error_text(record: RecordedJob) -> str:
    error = record.observed.get("error")
    if not isinstance(error, dict):
        return one_line(str(error))
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
    counts = Counter(_status(r) for r in records.values())
    return " · ".join(f"{n:,} {s}" for s, n in sorted(counts.items(), key=lambda item: (is_terminal(item[0]), item[0])))


# -- events and outputs ---------------------------------------------------------------------------


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


def size(num_bytes: Any) -> str:
    """`512 B`, `3.4 kB`, `1.2 GB`; empty when it is not known."""
    if type(num_bytes) is not int:
        return ""
    if num_bytes < 1000:
        return f"{num_bytes} B"
    value, unit = num_bytes / 1000, "kB"
    for larger in ("MB", "GB", "TB"):
        if value >= 1000:
            value, unit = value / 1000, larger
    return f"{value:.1f} {unit}"
