"""Where a job comes from: the record, the specs and the next plan → one answer about one name or one job id.

Pure: it reads no file and no clock. What is not recorded, as in states of earlier versions, stays null.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from reconciler.actions import Action, ActionKind
from reconciler.compare import Change, compare
from reconciler.entries import Intent
from reconciler.job import Cancellation, JsonObject, Move, PastJob, RecordedJob, Retry, Source, State
from reconciler.links import spec_link
from reconciler.record import ended_at


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True)


class Place(_Value):
    """A spec: its file, its line, and the page that shows it at the commit, if it certainly is what the commit has."""

    path: str
    line: int | None = None
    url: str | None = None


class Renamed(_Value):
    """The record got another name; nothing was submitted."""

    before: str
    after: str
    at: str
    spec: Place
    source: Source | None = None


class ExplainedJob(_Value):
    """One platform job that the spec has, or had before."""

    job_id: str
    present: bool = Field(description="It is the job that the spec has now.")
    status: str = Field(description="The last one that is recorded.")
    gone: bool = Field(default=False, description="The platform said that it has no such job.")
    why: str | None = Field(None, description="Why it was submitted or taken over.")
    spec: Place = Field(description="Where its spec was at the submission.")
    source: Source | None = Field(None, description="What was checked out at the submission, and what ran the command.")
    taken_over_at: str | None = Field(
        None, description="When it got recorded, if it was there already; spec, source and why are of then."
    )
    fingerprint: str
    submitted_at: str | None = None
    ended_at: str | None = None
    observed_at: str | None = Field(None, description="When it was last seen to change; of the present job only.")
    attempts: int | None = None
    retries: tuple[Retry, ...] = ()
    cancellation: Cancellation | None = Field(None, description="When we had it cancelled, and why.")
    renamed: tuple[Renamed, ...] = ()
    pipeline_version: str | None = None
    error: JsonObject | None = None
    changes: tuple[Change, ...] | None = Field(
        None, description="What differs from the request of the job before; null for the first, and when not recorded."
    )
    followed_by: str | None = Field(None, description="The job that the spec had after it.")
    reason: str | None = Field(None, description="Why it is the present one no longer.")


class OpenSubmission(_Value):
    """A submission whose outcome is not known: there may be a job."""

    at: str
    why: str | None = None
    fingerprint: str
    spec: Place
    source: Source | None = None
    changes: tuple[Change, ...] | None = Field(None, description="What differs from the recorded job; null without.")


class NextAction(_Value):
    """What the next plan would do about it, as far as that can be told without the platform."""

    action: ActionKind | None = Field(None, description="Null when nothing can be planned; the reason says why.")
    reason: str
    name: str
    spec: Place | None = None
    status: str | None = Field(None, description="The recorded status that it is planned from.")
    observed_at: str | None = Field(None, description="When that status was observed.")
    moved_from: str | None = None
    cancels: bool = False
    override: str | None = Field(None, description="What to type to have a protected job changed all the same.")
    changes: tuple[Change, ...] = ()
    warnings: tuple[str, ...] = ()


class Explanation(_Value):
    """The answer about one name or job id. `jobs` are all that the name has had, newest first."""

    format_version: Literal[1] = 1
    asked: str
    found_as: Literal["name", "job", "past job", "former name"]
    name: str
    job_id: str | None = Field(None, description="The job among `jobs` that this is about.")
    jobs: tuple[ExplainedJob, ...] = ()
    unsettled: OpenSubmission | None = None
    next: NextAction
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Found:
    """What a name or an id that was asked for means."""

    asked: str
    found_as: Literal["name", "job", "past job", "former name"]
    name: str
    job_id: str | None
    notes: tuple[str, ...] = ()


def find(asked: str, state: State, names: Iterable[str]) -> Found | None:
    """What `asked` means: a name before the id of a job, and that before a name that a record had once.

    `names` are those that have no record: of specs, and of submissions that are not settled.
    """
    owners = [(name, record) for name, record in state.jobs.items() if asked in ids(record)]
    owners.sort(key=lambda item: item[1].job_id != asked)
    if asked in state.jobs or asked in names:
        record = state.jobs.get(asked)
        notes = tuple(
            f"{asked} is also the id of a job of {name}; this is about the name. 'reconciler explain' with that name "
            f"shows the job"
            for name, _ in owners[:1]
        )
        return Found(asked, "name", asked, record.job_id if record else None, notes)
    for name, record in owners:
        return Found(asked, "job" if record.job_id == asked else "past job", name, asked)
    for name, record in state.jobs.items():
        if asked in {move.moved_from for move in record.moves}:
            return Found(asked, "former name", name, record.job_id, (f"{asked} was renamed to {name}",))
    return None


def ids(record: RecordedJob) -> Iterator[str]:
    """The job ids of one record, the present one first."""
    yield record.job_id
    yield from (past.job_id for past in record.history)


def explained_jobs(name: str, record: RecordedJob | None) -> tuple[ExplainedJob, ...]:
    """All jobs of `record`, newest first, each with what differs from the one before it."""
    if record is None:
        return ()
    asked_for: list[PastJob | RecordedJob] = [*record.history, record]
    jobs = [_past(name, past) for past in record.history] + [_present(name, record)]
    for number, (old, new) in enumerate(pairwise(asked_for), 1):
        update: JsonObject = {}
        if old.request is not None and new.request is not None:
            update = {"changes": tuple(compare(old.request, new.request))}
        jobs[number] = jobs[number].model_copy(update=update)
        jobs[number - 1] = jobs[number - 1].model_copy(update={"followed_by": new.job_id})
    return tuple(reversed(jobs))


def _past(name: str, past: PastJob) -> ExplainedJob:
    return ExplainedJob(
        job_id=past.job_id,
        present=False,
        status=past.status,
        why=past.why,
        taken_over_at=past.taken_over_at,
        spec=_submitted_at(past.spec_path or "", past.line, past.moves, past.source),
        source=past.source,
        fingerprint=past.fingerprint,
        submitted_at=past.submitted_at,
        ended_at=past.ended_at,
        attempts=past.attempts,
        retries=past.retries,
        cancellation=past.cancellation,
        renamed=tuple(_renamed(name, past.spec_path or "", past.line, past.moves)),
        reason=past.reason,
    )


def _present(name: str, record: RecordedJob) -> ExplainedJob:
    error = record.observed.get("error")
    return ExplainedJob(
        job_id=record.job_id,
        present=True,
        status=record.status,
        gone=record.gone,
        why=record.why,
        taken_over_at=record.taken_over_at,
        spec=_submitted_at(record.spec_path, record.line, record.moves, record.source),
        source=record.source or (Source(commit=record.commit) if record.commit else None),
        fingerprint=record.fingerprint,
        submitted_at=record.submitted_at,
        ended_at=ended_at(record.observed, record.status),
        observed_at=record.observed_at,
        attempts=record.attempts,
        retries=record.retries,
        cancellation=record.cancellation,
        renamed=tuple(_renamed(name, record.spec_path, record.line, record.moves)),
        pipeline_version=record.pipeline_version,
        error=error if isinstance(error, dict) else None,
    )


def _submitted_at(path: str, line: int | None, moves: Sequence[Move], source: Source | None) -> Place:
    """Where the spec was when its job was submitted: before all of its moves."""
    if moves:
        path, line = moves[0].spec_path, moves[0].line
    return place(path, line, source)


def _renamed(name: str, path: str, line: int | None, moves: Sequence[Move]) -> Iterator[Renamed]:
    """Each move with the name and the place that it led to: those that the next one came from, or the present ones."""
    led_to = [*((m.moved_from, m.spec_path, m.line) for m in moves[1:]), (name, path, line)]
    for move, (after, path_after, line_after) in zip(moves, led_to, strict=False):
        yield Renamed(
            before=move.moved_from,
            after=after,
            at=move.at,
            spec=place(path_after, line_after, move.source),
            source=move.source,
        )


def place(path: str, line: int | None, source: Source | None) -> Place:
    """A spec with its page on the web, when that is known."""
    return Place(path=path, line=line, url=spec_link(source, path, line))


def open_submission(intent: Intent, record: RecordedJob | None) -> OpenSubmission:
    """What is known of a submission whose outcome is not. `record`: the job that it would replace."""
    return OpenSubmission(
        at=intent.at,
        why=intent.why,
        fingerprint=intent.fingerprint,
        spec=place(intent.spec_path, intent.line, intent.source),
        source=intent.source,
        changes=tuple(compare(record.request, intent.request)) if record else None,
    )


def next_action(action: Action, records: Mapping[str, RecordedJob], warnings: Sequence[str]) -> NextAction:
    """The action of a plan that was made from what is recorded."""
    record = records.get(action.moved_from or action.name)
    return NextAction(
        action=action.action,
        reason=action.reason,
        name=action.name,
        spec=Place(path=action.spec_path, line=action.line) if action.spec_path else None,
        status=action.status,
        observed_at=record.observed_at if record else None,
        moved_from=action.moved_from,
        cancels=action.cancels,
        override=action.override,
        changes=action.changes,
        warnings=tuple(warnings),
    )
