"""What went wrong: outcomes of actions that are not done, and jobs that FAILED, were CANCELLED or are gone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from reconciler.job import FailureLog, JsonObject, RecordedJob, is_terminal
from reconciler.report.jobs import error_text, status_of
from reconciler.report.outcomes import Result
from reconciler.report.page.markup import Child, Html, element
from reconciler.report.page.pieces import more, row, spec, status, table
from reconciler.report.times import duration, ran_for
from reconciler.text import plural

JOBS = 200
"""Jobs whose failure is told."""
OUTCOMES = 500
"""Outcomes that are listed; those that are not done come first."""
_OPEN = 10


def outcomes_part(outcomes: Sequence[Result]) -> Iterator[Html]:
    """What came of each action."""
    counts = Counter(o.outcome for o in outcomes)
    yield element("p", ", ".join(f"{count:,} {word}" for word, count in counts.most_common()), ".", class_="verdict")
    ordered = sorted(outcomes, key=lambda o: o.outcome == "done")
    rows = (
        row(o.name, o.action, o.outcome, element("code", o.job_id) if o.job_id else "", _error(o))
        for o in ordered[:OUTCOMES]
    )
    heads = ("Name", "Action", "Outcome", "Job", "Error")
    listed = table("Outcome of each action", heads, rows), more(len(outcomes) - OUTCOMES, "outcomes")
    summary = element("summary", plural(len(outcomes), "action"))
    yield element("details", summary, listed, open=counts["done"] < len(outcomes))


def _error(result: Result) -> Child:
    return [result.error, " ", element("span", result.hint, class_="about") if result.hint else None]


def ended_badly(
    records: Mapping[str, RecordedJob], failures: Mapping[str, FailureLog] | None = None
) -> dict[str, RecordedJob]:
    """FAILED, those with a log first, then gone, then CANCELLED."""
    order = ("FAILED", "GONE", "CANCELLED")
    told = {name for name, log in (failures or {}).items() if log.events}
    found = {name: record for name, record in records.items() if status_of(record) in order}
    return dict(sorted(found.items(), key=lambda item: (order.index(status_of(item[1])), item[0] not in told)))


def failures_part(
    records: Mapping[str, RecordedJob], failures: Mapping[str, FailureLog], unsettled: Mapping[str, str]
) -> Iterator[Html]:
    """Each with its error, the inputs that failed and its last events, or why they are not here."""
    for name, reason in list(unsettled.items())[:JOBS]:
        text = f"The outcome of its submission is unknown: {reason}"
        yield element("details", element("summary", status("UNKNOWN"), " ", name), element("p", text), open=True)
    bad = ended_badly(records, failures)
    for index, (name, record) in enumerate(list(bad.items())[:JOBS]):
        summary = element("summary", status(status_of(record)), " ", element("strong", name))
        yield element("details", summary, _failure(name, record, failures.get(name)), open=index < _OPEN)
    yield more(len(bad) - JOBS, "jobs that ended badly")


def _failure(name: str, record: RecordedJob, log: FailureLog | None) -> Iterator[Child]:
    if record.gone and not is_terminal(record.status):
        yield element("p", f"The platform has no job {record.job_id}. Its last status was {record.status}.")
    if error := error_text(record):
        yield element("p", error, class_="error")
    facts = ["Job ", element("code", record.job_id), " of ", spec(record.source, record.spec_path, record.line)]
    seconds = ran_for(record)
    yield element("p", facts, f"; it ran for {duration(seconds)}" if seconds is not None else None, class_="quiet")
    if log is None:
        if status_of(record) == "FAILED":
            yield element("p", "Its events were not asked for; 'reconciler events' shows them.", class_="quiet")
        return
    if log.inputs:
        rows = (
            row(element("code", _of(i, "file_id")), _of(i, "port_name"), _of(i, "error_message")) for i in log.inputs
        )
        yield table(f"Inputs of {name} that failed", ("Input", "Port", "Error"), rows)
    if log.events:
        rows = (row(_of(e, "created_at"), _of(e, "level"), _of(e, "event_type"), _of(e, "message")) for e in log.events)
        earlier = f"; {log.events_left_out:,} earlier ones are left out" if log.events_left_out else ""
        yield table(f"Last events of {name}{earlier}", ("Time", "Level", "Kind", "Message"), rows, class_="events")
    if log.absent:
        yield element("p", f"Events and inputs: {log.absent}.", class_="quiet")
    elif not log.events:
        yield element("p", "It has no events.", class_="quiet")


def _of(line: JsonObject, key: str) -> str:
    value = line.get(key)
    return value if isinstance(value, str) else ""
