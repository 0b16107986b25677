"""How the record changes: the pure function that folds journal entries into a state.

The same entries are what the journal holds on disk, so a run that was cut off and a run that ended well are folded
by the same code.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reconciler.entries import (
    Adopted,
    Cancelled,
    Entry,
    Forgotten,
    Intent,
    Moved,
    NotSubmitted,
    Observed,
    Protected,
    Retried,
    Submitted,
)
from reconciler.job import (
    Cancellation,
    JobStatus,
    Move,
    PastJob,
    RecordedJob,
    Retry,
    State,
    is_terminal,
)

STRAY = "made by a run that had lost its lock"
"""The reason in the history for a job that was one too many."""


@dataclass(frozen=True, slots=True)
class Folded:
    """A state with entries folded in, and the intents among them whose outcome is not known."""

    state: State
    unresolved: tuple[Intent, ...]
    strays: tuple[Submitted, ...] = ()
    """Jobs that were made a second time, by runs that had lost the lock."""


def fold(state: State, entries: Iterable[Entry]) -> Folded:
    """Apply `entries` in order. Folding entries that the state holds already changes nothing."""
    jobs, generations = dict(state.jobs), dict(state.generations)
    open_intents: dict[str, Intent] = {}
    for entry in entries:
        match entry:
            case Intent():
                # An intent of a generation that has ended was folded before: this journal outlived its state.
                if generations.get(entry.name, 0) < entry.generation:
                    open_intents[entry.token] = entry
            case Submitted():
                intent = open_intents.pop(entry.token, None)
                if intent is not None:
                    jobs[entry.name] = _record(intent, entry, jobs.get(entry.name))
                    generations[entry.name] = max(generations.get(entry.name, 0), intent.generation)
            case NotSubmitted():
                intent = open_intents.pop(entry.token, None)
                if intent is not None and entry.refused:
                    generations[entry.name] = max(generations.get(entry.name, 0), intent.generation)
            case Moved():
                _move(entry, jobs, generations)
            case Forgotten():
                if _is_of(entry, jobs.get(entry.name)):
                    del jobs[entry.name]
            case _:
                _update(entry, jobs)
    changed = state.model_copy(update={"jobs": jobs, "generations": generations})
    return Folded(changed, tuple(open_intents.values()))


def merge(state: State, entries: Iterable[Entry], late: Sequence[Entry]) -> Folded:
    """Fold `entries`, and then what runs did that had lost the lock. A job of theirs for which there is another one by
    now goes to the history of its record, and to `strays`, as does one whose record is gone: nothing is forgotten.
    """
    folded = fold(state, [*entries, *late])
    jobs = dict(folded.state.jobs)
    intents = {entry.token: entry for entry in late if isinstance(entry, Intent)}
    known = {r.job_id for r in jobs.values()} | {p.job_id for r in jobs.values() for p in r.history}
    strays = []
    for entry in late:
        record, intent = jobs.get(entry.name), intents.get(getattr(entry, "token", ""))
        if not isinstance(entry, Submitted) or entry.job_id in known or intent is None:
            continue
        known.add(entry.job_id)
        strays.append(entry)
        if record is None:
            continue
        past = PastJob(
            job_id=entry.job_id,
            fingerprint=intent.fingerprint,
            status=_status(entry.job),
            submitted_at=intent.at,
            reason=STRAY,
            request=intent.request,
            spec_path=intent.spec_path,
            line=intent.line,
            source=intent.source,
            why=intent.why,
        )
        jobs[entry.name] = record.model_copy(update={"history": (*record.history, past)})
    return Folded(folded.state.model_copy(update={"jobs": jobs}), folded.unresolved, tuple(strays))


def _record(intent: Intent, outcome: Submitted, previous: RecordedJob | None) -> RecordedJob:
    if previous is not None and previous.job_id == outcome.job_id:
        return previous
    history: tuple[PastJob, ...] = ()
    if previous is not None:
        ended = previous.observed
        past = PastJob(
            job_id=previous.job_id,
            fingerprint=previous.fingerprint,
            status=previous.status,
            submitted_at=previous.submitted_at,
            ended_at=ended_at(ended, previous.status),
            reason="replaced",
            request=previous.request,
            spec_path=previous.spec_path,
            line=previous.line,
            source=previous.source,
            why=previous.why,
            taken_over_at=previous.taken_over_at,
            attempts=previous.attempts,
            retries=previous.retries,
            cancellation=previous.cancellation,
            moves=previous.moves,
        )
        history = (*previous.history, past)
    return RecordedJob(
        job_id=outcome.job_id,
        fingerprint=intent.fingerprint,
        request=intent.request,
        secrets=intent.secrets,
        spec_path=intent.spec_path,
        pipeline_version=_text(outcome.job, "pipeline_version"),
        status=_status(outcome.job),
        submitted_at=intent.at,
        observed_at=outcome.at,
        line=intent.line,
        commit=intent.source.commit if intent.source else None,
        source=intent.source,
        why="; ".join(why for why in (intent.why, outcome.why) if why) or None,
        observed=outcome.job,
        protect=intent.protect,
        on_remove=intent.on_remove,
        reruns=_reruns(previous.reruns if previous else (), intent.rerun),
        files=intent.files,
        sources=intent.sources,
        history=history,
    )


def _update(entry: Adopted | Retried | Cancelled | Observed | Protected, jobs: dict[str, RecordedJob]) -> None:
    if isinstance(entry, Adopted):
        jobs[entry.name] = RecordedJob(
            job_id=entry.job_id,
            fingerprint=entry.fingerprint,
            request=entry.request,
            secrets=entry.secrets,
            spec_path=entry.spec_path,
            pipeline_version=_text(entry.job, "pipeline_version"),
            status=_status(entry.job),
            submitted_at=_text(entry.job, "created_at"),
            observed_at=entry.at,
            line=entry.line,
            commit=entry.source.commit if entry.source else None,
            source=entry.source,
            why=entry.why,
            taken_over_at=entry.at,
            attempts=1 + _count(entry.job, "retry_count"),
            observed=entry.job,
            protect=entry.protect,
            on_remove=entry.on_remove,
            reruns=_reruns((), entry.rerun),
        )
        return
    record = jobs.get(entry.name)
    if record is not None and isinstance(entry, Observed) and not _is_of(entry, record):
        jobs[entry.name] = _observed_before(record, entry)
        return
    if record is None or not _is_of(entry, record):
        return
    match entry:
        case Protected():
            on_remove = entry.on_remove or record.on_remove
            jobs[entry.name] = record.model_copy(update={"protect": entry.protect, "on_remove": on_remove})
        case Cancelled():
            jobs[entry.name] = _cancelled(record, entry)
        case Retried():
            jobs[entry.name] = _retried(record, entry)
        case Observed():
            jobs[entry.name] = _observed(record, entry)


def _cancelled(record: RecordedJob, entry: Cancelled) -> RecordedJob:
    cancellation = None if entry.undone else _cancellation(entry)
    return record.model_copy(update={"cancellation": cancellation})


def _cancellation(entry: Cancelled) -> Cancellation:
    return Cancellation(attempt=entry.attempt, cause=entry.cause, at=entry.at, source=entry.source)


def _retried(record: RecordedJob, entry: Retried) -> RecordedJob:
    known = {retry.attempt: retry for retry in record.retries}
    update: dict[str, Any]
    if entry.undone:
        known.pop(entry.attempt, None)
        update = {"attempts": entry.attempt - 1, "status": _status(record.observed)}
    else:  # until the platform has been asked, the job may be running again: it counts as in flight
        known.setdefault(entry.attempt, Retry(attempt=entry.attempt, at=entry.at, source=entry.source))
        update = {"attempts": max(record.attempts, entry.attempt), "status": JobStatus.PENDING.value}
    return record.model_copy(update={**update, "retries": tuple(known[n] for n in sorted(known))})


def _is_of(entry: Retried | Cancelled | Observed | Moved | Protected | Forgotten, record: RecordedJob | None) -> bool:
    """Whether `entry` is about this very record: a journal may be older than the state that it is folded into."""
    return record is not None and record.job_id == entry.job_id


def _observed(record: RecordedJob, entry: Observed) -> RecordedJob:
    if entry.job is None:
        if record.gone:
            return record
        return record.model_copy(update={"gone": True, "observed_at": entry.at})
    if entry.job == record.observed and _status(entry.job) == record.status and not record.gone:
        return record  # nothing new: the record, its time included, stays as it is
    update: dict[str, Any] = {
        "observed": entry.job,
        "status": _status(entry.job),
        "observed_at": entry.at,
        "gone": False,
        "pipeline_version": _text(entry.job, "pipeline_version") or record.pipeline_version,
    }
    return record.model_copy(update=update)


def _observed_before(record: RecordedJob, entry: Observed) -> RecordedJob:
    """What became of a job that the name had before, which was left to finish."""
    if entry.job is None or all(past.job_id != entry.job_id for past in record.history):
        return record
    seen = {"status": _status(entry.job), "ended_at": ended_at(entry.job, _status(entry.job))}
    history = (past.model_copy(update=seen) if past.job_id == entry.job_id else past for past in record.history)
    return record.model_copy(update={"history": tuple(history)})


def _move(entry: Moved, jobs: dict[str, RecordedJob], generations: dict[str, int]) -> None:
    record = jobs.get(entry.moved_from)
    if record is not None and _is_of(entry, record):
        del jobs[entry.moved_from]
        moved = Move(
            moved_from=entry.moved_from,
            at=entry.at,
            spec_path=record.spec_path,
            line=record.line,
            source=entry.source,
        )
        update = {
            "spec_path": entry.spec_path,
            "line": entry.line,
            "moves": (*record.moves, moved),
            "protect": record.protect if entry.protect is None else entry.protect,
            "on_remove": entry.on_remove or record.on_remove,
        }
        jobs[entry.name] = record.model_copy(update=update)
        generations[entry.name] = max(generations.get(entry.name, 0), generations.get(entry.moved_from, 0))


def _reruns(before: tuple[str, ...], text: str | None) -> tuple[str, ...]:
    return before if text is None or text in before else (*before, text)


def _text(job: Mapping[str, Any], key: str) -> str | None:
    """A field of a job object as the platform sent it: whatever is not text is taken as absent."""
    value = job.get(key)
    return value if isinstance(value, str) else None


def _count(job: Mapping[str, Any], key: str) -> int:
    value = job.get(key)
    return value if type(value) is int and 0 <= value < 99 else 0


def _status(job: Mapping[str, Any]) -> str:
    return _text(job, "status") or "UNKNOWN"


def ended_at(job: Mapping[str, Any], status: str) -> str | None:
    if not is_terminal(status):
        return None
    return _text(job, f"{status.lower()}_at")
