"""Where a job comes from, as text and JSON."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from reconciler.compare import Change
from reconciler.explanation import ExplainedJob, Explanation, NextAction, OpenSubmission, Place, Renamed
from reconciler.job import CancelCause, JsonObject, Retry, Source
from reconciler.report.plans import change_parts
from reconciler.report.style import Colour, Paint, plain
from reconciler.text import one_line, pad, plural, width, wrap

_SHOWN = 20  # changed fields of one comparison
_LABEL = 15  # cells of a label, and what stands before it
_INDENT = 4
_FRACTION = re.compile(r"(?<=:\d\d)\.\d+")


@dataclass(frozen=True, slots=True)
class _Look:
    """How it is written: in which colours, and into how many terminal cells; None does not break lines."""

    paint: Paint
    columns: int | None

    def line(self, text: str, indent: int = 0, colour: Colour | None = None) -> str:
        """`text` after `indent` cells, its further lines two cells further in."""
        words = ((word, self.paint(word, colour) if colour else word) for word in text.split(" "))
        return " " * indent + wrap(words, self.columns, indent, indent + 2)


def explanation_text(told: Explanation, paint: Paint = plain, columns: int | None = None) -> str:
    """The job that was asked about, what differs from the one before it, its history, and the next plan.

    Lines are broken at `columns` terminal cells, but for the table of the history.
    """
    look = _Look(paint, columns)
    by_id = {job.job_id: job for job in told.jobs}
    job = by_id.get(told.job_id or "")
    lines = [look.line(_head(told, job), 0, "bold"), *(look.line(f"note: {one_line(note)}") for note in told.notes)]
    if told.unsettled:
        lines += ["", *_open_lines(told.unsettled, look)]
    if job:
        lines += ["", *(["The job that is recorded:"] if told.unsettled else []), *_job_lines(job, look)]
        lines += _compared(told.jobs, job, look)
        if after := by_id.get(job.followed_by or ""):
            lines += ["", look.line(f"Then came {one_line(after.job_id)}: {_why(after)}")]
            lines += _change_lines(after.changes, look)
    if len(told.jobs) > 1:
        lines += ["", f"All {plural(len(told.jobs), 'job')} of {one_line(told.name, 128)}, newest first:"]
        lines += _history(told.jobs, told.job_id, paint)
    return "\n".join([*lines, "", *_next_lines(told, look)])


def explanation_json(told: Explanation) -> JsonObject:
    """The document of `explain --format json`."""
    return told.model_dump(mode="json")


def _head(told: Explanation, job: ExplainedJob | None) -> str:
    name = one_line(told.name, 128)
    if job is None:
        moved = f"recorded as {one_line(told.next.moved_from, 128)}" if told.next.moved_from else "never submitted"
        return f"{name}: {'no job is known yet' if told.unsettled else moved}"
    past = "" if job.present else ", a past job"
    return f"{name}: {_status(job)}, {one_line(job.job_id)}{past}"


def _status(job: ExplainedJob) -> str:
    return "GONE" if job.gone else one_line(job.status, 30)


def _open_lines(submission: OpenSubmission, look: _Look) -> Iterator[str]:
    open_ = "A submission is open: whether it made a job is not known. apply, status or settle finds out."
    yield look.line(open_, 0, "yellow")
    yield from _facts(
        [
            ("sent", _moment(submission.at)),
            ("because", one_line(submission.why or "not recorded")),
            *_origin(submission.spec, submission.source),
            ("fingerprint", one_line(submission.fingerprint, 80)),
        ],
        look,
    )
    yield from _change_lines(submission.changes, look)


def _job_lines(job: ExplainedJob, look: _Look) -> Iterator[str]:
    tool = f", by reconciler {one_line(job.source.tool_version, 40)}" if job.source and job.source.tool_version else ""
    submitted = _moment(job.submitted_at) or "when is not recorded"
    ended = f", ended {_moment(job.ended_at)}" if job.ended_at else ""
    seen = f", observed {_moment(job.observed_at)}" if job.observed_at else ""
    rows = [
        ("submitted", f"{submitted}, not from this record" if job.taken_over_at else f"{submitted}{tool}"),
        ("taken over", f"{_moment(job.taken_over_at)}{tool}" if job.taken_over_at else ""),
        ("because", _why(job)),
        *_origin(job.spec, job.source),
        *(row for move in job.renamed for row in _rename(move)),
        ("attempts", str(job.attempts) if job.attempts else "not recorded"),
        *(row for retry in job.retries for row in _retry(retry)),
        *_cancellation(job),
        ("status", f"{_status(job)}{ended}{seen}"),
        *([("error", _error(job.error))] if job.error else []),
        ("version", one_line(job.pipeline_version or "", 60)),
        ("fingerprint", one_line(job.fingerprint, 80)),
    ]
    yield from _facts(rows, look)


def _origin(spec: Place, source: Source | None) -> Iterator[tuple[str, str]]:
    """Where a submission comes from: spec, commit, author, CI run."""
    yield "spec", _place(spec)
    yield "", one_line(spec.url or "", 2000)
    yield "commit", _commit(source)
    yield "CI run", one_line((source and source.run_url) or "", 2000)


def _facts(rows: Sequence[tuple[str, str]], look: _Look) -> Iterator[str]:
    for label, value in rows:
        if value:
            words = ((word, word) for word in value.split(" "))
            yield look.paint(pad(f"  {label}", _LABEL), "dim") + wrap(words, look.columns, _LABEL, _LABEL)


def _moment(time: str | None) -> str:
    """A time without the parts of a second that a platform may give."""
    return one_line(_FRACTION.sub("", time or ""), 40)


def _place(spec: Place) -> str:
    if not spec.path:
        return "not recorded"
    return one_line(spec.path) + (f":{spec.line}" if spec.line else "")


def _commit(source: Source | None) -> str:
    """The commit, and what else is known of it."""
    if source is None or not source.commit:
        return "not known"
    branch = f" on {one_line(source.branch, 120)}" if source.branch else ""
    author = f", by {one_line(source.author, 120)}" if source.author else ""
    told = "had changes that were not committed" if source.dirty else "were as committed"
    dirty = f"; the specs {told}" if source.dirty is not None else ""
    return f"{one_line(source.commit, 80)}{branch}{author}{dirty}"


def _short(source: Source | None) -> str:
    """The first of the commit, starred when the specs were not what it has; empty when it is not known."""
    if source is None or not source.commit:
        return ""
    return one_line(source.commit, 80)[:12] + ("*" if source.dirty else "")


def _rename(move: Renamed) -> Iterator[tuple[str, str]]:
    commit = f", commit {_short(move.source)}" if _short(move.source) else ""
    before, after = one_line(move.before, 128), one_line(move.after, 128)
    yield "renamed", f"{_moment(move.at)} from {before} to {after}, in {_place(move.spec)}{commit}"
    yield "", one_line(move.spec.url or "", 2000)


def _retry(retry: Retry) -> Iterator[tuple[str, str]]:
    commit = f", commit {_short(retry.source)}" if _short(retry.source) else ""
    yield f"attempt {retry.attempt}", f"{_moment(retry.at)}{commit}"
    yield "", one_line((retry.source and retry.source.run_url) or "", 2000)


_CANCELLED: Mapping[CancelCause, str] = {
    "hand": "by hand",
    "timeout": "for its time-out",
    "preempted": "since it was PREEMPTED for too long",
    "suspend": "since its spec was suspended",
    "replace": "for the job after it",
}


def _cancellation(job: ExplainedJob) -> Iterator[tuple[str, str]]:
    if (asked := job.cancellation) is not None:
        run = f"of attempt {asked.attempt}, " if (job.attempts or 1) > 1 else ""
        commit = f", commit {_short(asked.source)}" if _short(asked.source) else ""
        yield "cancelled", f"{_CANCELLED[asked.cause]}, {run}{_moment(asked.at)}{commit}"
        yield "", one_line((asked.source and asked.source.run_url) or "", 2000)


def _why(job: ExplainedJob) -> str:
    """The reason that is recorded; for older records, what the comparison tells."""
    if job.why:
        return one_line(job.why)
    if job.changes is None:
        return "not recorded"
    return f"{plural(len(job.changes), 'field')} changed" if job.changes else "submitted anew, unchanged"


def _error(error: JsonObject) -> str:
    message = error.get("message")
    return one_line(message if isinstance(message, str) else json.dumps(error, ensure_ascii=False), 1000)


def _compared(jobs: Sequence[ExplainedJob], job: ExplainedJob, look: _Look) -> list[str]:
    before = next((other for other in jobs if other.followed_by == job.job_id), None)
    if before is None:
        return []
    head = ["", look.line(f"Against {one_line(before.job_id)}, the job before it:")]
    if job.changes is None:
        return [*head, look.line("what it asked for is not recorded", _INDENT)]
    return [*head, *(_change_lines(job.changes, look) or [look.line("it asked for the same", _INDENT)])]


def _change_lines(changes: Sequence[Change] | None, look: _Look) -> list[str]:
    lines = []
    for change in (changes or ())[:_SHOWN]:
        parts = ((text, look.paint(text, colour) if colour else text) for text, colour in change_parts(change))
        lines.append(" " * _INDENT + wrap(parts, look.columns, _INDENT, _INDENT + 2))
    if (more := len(changes or ()) - _SHOWN) > 0:
        lines.append(look.line(f"… and {plural(more, 'more field')}; --format json has them all", _INDENT))
    return lines


def _history(jobs: Sequence[ExplainedJob], asked: str | None, paint: Paint) -> Iterator[str]:
    moved = len({job.spec.path for job in jobs}) > 1
    rows = [("", "JOB", "STATUS", "SUBMITTED", "ENDED", "COMMIT", "SPEC" if moved else "", "BECAUSE")]
    rows += [
        (
            ">" if job.job_id == asked else "",
            one_line(job.job_id, 40),
            _status(job),
            _moment(job.submitted_at),
            _moment(job.ended_at),
            _short(job.source),
            one_line(job.spec.path, 40) if moved else "",
            one_line(_why(job), 60),
        )
        for job in jobs
    ]
    widths = [max(width(row[i]) for row in rows) for i in range(len(rows[0]))]
    for number, row in enumerate(rows):
        text = " ".join(pad(cell, widths[i] + 1) for i, cell in enumerate(row) if widths[i]).rstrip()
        yield f"  {text}" if number else f"  {paint(text, 'dim')}"
    if any(job.source and job.source.commit and job.source.dirty for job in jobs):
        yield "  * the specs had changes that were not committed"


def _next_lines(told: Explanation, look: _Look) -> Iterator[str]:
    action = told.next
    name = f" {one_line(action.name, 128)}" if action.name != told.name else ""
    yield look.line(f"Next plan: {action.action or 'none'}{name}: {one_line(action.reason, 1000)}", 0, "bold")
    if action.action is None:
        return
    yield from _change_lines(action.changes, look)
    if action.override:
        yield f"  to do it all the same: {one_line(action.override, 1000)}"
    yield look.line(_basis(action), 2, "dim")
    yield from (look.line(f"warning: {one_line(text)}", 2, "yellow") for text in action.warnings)


def _basis(action: NextAction) -> str:
    """What the next plan was made from."""
    spec = f"the spec {_place(action.spec)} as it is now" if action.spec and action.action != "orphan" else "the specs"
    when = f", observed {_moment(action.observed_at)}" if action.observed_at else ""
    seen = f" and the recorded status, {one_line(action.status, 30)}{when}" if action.status else ""
    return f"By {spec}{seen}; the platform was not asked."
