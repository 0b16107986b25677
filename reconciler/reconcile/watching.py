"""Observe and report back: `status`, `wait`, `events`, `outputs`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from reconciler.actions import Plan
from reconciler.apply import Outcome
from reconciler.check import did_you_mean
from reconciler.downloads import Came, Downloaded, download_all
from reconciler.entries import Intent, Observed
from reconciler.errors import PlanRefused, ReconcilerError, StateLocked, TimedOut
from reconciler.facts import in_flight, left_to_finish
from reconciler.globs import expand, not_recorded, one_name
from reconciler.job import (
    FailureLog,
    JobStatus,
    JsonObject,
    Observation,
    RecordedJob,
    Seen,
    State,
    Unreachable,
    Upload,
    parse_time,
)
from reconciler.observe import last_seen, observe, watch
from reconciler.reconcile.failures import read_failures
from reconciler.reconcile.session import Session, folded_record, open_session, read_record
from reconciler.reconcile.settings import Settings
from reconciler.record import Folded, fold
from reconciler.signals import Stop
from reconciler.text import plural


@dataclass(frozen=True, slots=True)
class Hooks:
    """What is told while it works. `review` decides whether to go on."""

    review: Callable[[Plan], bool] = lambda plan: True
    begin: Callable[[Plan], None] = lambda plan: None
    outcome: Callable[[Outcome], None] = lambda outcome: None
    news: Callable[[Mapping[str, RecordedJob]], None] = lambda records: None
    sent: Callable[[Upload, int], None] = lambda upload, num_bytes: None


@dataclass(frozen=True, slots=True)
class Status:
    """Jobs as they are recorded now. `unsettled`: reasons by name; `notes` say what could not be done."""

    records: Mapping[str, RecordedJob]
    unsettled: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    left: ReconcilerError | None = None
    failures: Mapping[str, FailureLog] = field(default_factory=dict)
    """What the platform tells about jobs that FAILED, by name, when it was asked for."""
    serial: int = 0
    """Of the state."""
    lineage: str = ""


async def status(
    settings: Settings, names: Sequence[str], *, refresh: bool = True, with_failures: bool = False
) -> Status:
    """Observe what is in flight, write it back and show it. While another command holds the lock, only show it."""
    if refresh:
        try:
            async with open_session(settings) as session:
                chosen = _chosen(session.state, names)
                notes = await _refresh(session, chosen)
                seen = _chosen(session.state, names)
                failures = await read_failures(session.client, seen) if with_failures else {}
                notes = (*session.notes, *notes)
                state = session.state
                return Status(seen, session.unresolved, notes, None, failures, state.serial, state.lineage)
        except StateLocked as locked_by:
            note = f"shown without writing it back: {locked_by.message}"
        record, leftover = read_record(settings)
        folded = folded_record(record, leftover, settings)
        chosen = _chosen(folded.state, names)
        async with settings.connect() as client:
            observed = await observe(client, in_flight(chosen), last_seen(chosen))
            entries, notes = observation_entries(observed, chosen, settings)
            seen = _chosen(fold(folded.state, entries).state, names)
            failures = await read_failures(client, seen) if with_failures else {}
        notes = (note, *_under_way(folded.unresolved), *notes)
        return Status(seen, {}, notes, None, failures, folded.state.serial, folded.state.lineage)
    record, leftover = read_record(settings)
    folded = folded_record(record, leftover, settings)
    unsettled = {i.name: "interrupted; apply or status settles it" for i in folded.unresolved}
    state = folded.state
    return Status(_chosen(state, names), unsettled, serial=state.serial, lineage=state.lineage)


async def wait(
    settings: Settings,
    names: Sequence[str],
    stop: Stop,
    hooks: Hooks,
    *,
    timeout: float | None = None,
    fail_fast: bool = False,
    with_failures: bool = False,
) -> Status:
    """Observe until all jobs have ended, at most `timeout` seconds, or with `fail_fast` until one has failed."""
    async with open_session(settings, run_jobs=True) as session:
        chosen = _chosen(session.state, names)
        left = await watch_records(session, chosen, stop, hooks.news, timeout=timeout, fail_fast=fail_fast)
        seen = _chosen(session.state, names)
        failures: Mapping[str, FailureLog] = {}
        if with_failures and stop.error() is None:
            failures = await read_failures(session.client, seen, stop)
        return Status(seen, session.unresolved, session.notes, stop.error() or left, failures, session.state.serial)


def _under_way(intents: Sequence[Intent]) -> Iterator[str]:
    """What whoever has the lock may be about, or was when it was killed."""
    if intents:
        names = ", ".join(intent.name for intent in intents[:3]) + (", …" if len(intents) > 3 else "")
        yield f"{plural(len(intents), 'submission')} may be under way, or cut off, and not known here: {names}"


def _chosen(state: State, names: Sequence[str]) -> dict[str, RecordedJob]:
    """The records of `names`, which may be globs; of all jobs when there are none. Raises `PlanRefused`."""
    meant = expand(names, state.jobs, not_recorded, "'reconciler status' lists what is recorded")
    return {name: state.jobs[name] for name in (meant or sorted(state.jobs))}


async def _refresh(session: Session, records: Mapping[str, RecordedJob]) -> tuple[str, ...]:
    observed = await observe(session.client, in_flight(records), last_seen(records))
    entries, notes = observation_entries(observed, records, session.settings)
    before = left_to_finish(records)
    at = session.settings.timestamp()
    for job_id, seen in (await observe(session.client, {job_id: job_id for job_id in before})).items():
        if isinstance(seen, Seen):
            entries.append(Observed(name=before[job_id], at=at, job_id=job_id, job=seen.job.raw))
    session.take(entries)
    return notes


def observation_entries(
    news: Mapping[str, Observation], records: Mapping[str, RecordedJob], settings: Settings
) -> tuple[list[Observed], tuple[str, ...]]:
    """Observations as journal entries, and a note for each job that could not be observed."""
    entries, notes = [], []
    for name, seen in news.items():
        job_id = records[name].job_id
        if isinstance(seen, Unreachable):
            notes.append(f"{name}: {job_id} was not observed: {seen.reason}")
        else:
            job = seen.job.raw if isinstance(seen, Seen) else None
            entries.append(Observed(name=name, at=settings.timestamp(), job_id=job_id, job=job))
    return entries, tuple(notes)


async def watch_records(
    session: Session,
    records: Mapping[str, RecordedJob],
    stop: Stop,
    news: Callable[[Mapping[str, RecordedJob]], None],
    *,
    timeout: float | None = None,
    fail_fast: bool = False,
    until: Callable[[State], bool] | None = None,
) -> ReconcilerError | None:
    """Observe `records` until they have ended, or `until` says so of the state, and save what was seen, whatever ends
    the watch. The result says why it ended early.
    """
    state = session.state
    notes: tuple[str, ...] = ()
    left: ReconcilerError | None = None
    news({n: state.jobs[n] for n in records})
    rounds = watch(
        session.client,
        in_flight(records),
        last=last_seen(records),
        ages=_ages(records, session.settings.now()),
        sleep=session.settings.timing.sleep,
    )
    try:
        async with asyncio.timeout(timeout):
            async for seen in stop.until(rounds):
                entries, notes = observation_entries(seen, state.jobs, session.settings)
                state = fold(state, entries).state
                now = {n: state.jobs[n] for n in records}
                news(now)
                if until is not None and until(state):
                    break
                if fail_fast and any(r.status in (JobStatus.FAILED, JobStatus.CANCELLED) for r in now.values()):
                    break
    except TimeoutError:
        going = in_flight({n: state.jobs[n] for n in records})
        why = f"; {notes[0]}" if notes else ""
        message = f"{len(going)} of {len(records)} jobs are still in flight after {timeout:g} s{why}"
        left = TimedOut(message, "run 'reconciler wait' to go on waiting")
    finally:
        session.save(state)
    return stop.error() or left


def _ages(records: Mapping[str, RecordedJob], now: datetime) -> dict[str, float]:
    """Seconds since the last run of each job was asked for, as far as it is known; by name."""
    asked = {name: parse_time(r.retries[-1].at if r.retries else r.submitted_at) for name, r in records.items()}
    return {name: max(0.0, (now - moment).total_seconds()) for name, moment in asked.items() if moment is not None}


def recorded(settings: Settings, names: Sequence[str], *, whole: bool = False) -> tuple[Folded, tuple[str, ...]]:
    """What is recorded, without lock and without network, and the names that `names` mean: all when there are none.

    With `whole` only names that have a record. Raises `PlanRefused`, and `StateError`.
    """
    state, leftover = read_record(settings)
    folded = folded_record(state, leftover, settings)
    known = folded.state.jobs.keys() | ({intent.name for intent in folded.unresolved} if not whole else set())
    hint = "'reconciler state list' lists what is recorded"
    return folded, expand(names, known, not_recorded, hint) or tuple(sorted(known))


async def events(settings: Settings, name: str) -> tuple[str, list[JsonObject]]:
    """The id of the job of `name`, or of the recorded job with that id, and its events, oldest first."""
    job_id, _ = _recorded(settings, name)
    async with settings.connect() as client:
        return job_id, await client.events(job_id)


async def outputs(settings: Settings, name: str) -> tuple[str, list[JsonObject]]:
    """The id of the job of `name`, or of the recorded job with that id, and its outputs."""
    job_id, _ = _recorded(settings, name)
    async with settings.connect() as client:
        return job_id, await client.outputs(job_id)


def state_of(settings: Settings, name: str) -> str:
    """The status that is recorded for `name`, or for the job with that id."""
    return _recorded(settings, name)[1]


async def download(settings: Settings, job_id: str, rows: Sequence[JsonObject], folder: Path, came: Came) -> Downloaded:
    """Write the outputs `rows` of a job into `folder`; `came` is told what comes. Raises `PlatformError`, OSError."""
    async with settings.connect() as client:
        return await download_all(client, job_id, rows, folder, settings.parallelism, came)


def _recorded(settings: Settings, name: str) -> tuple[str, str]:
    """The id and the recorded status of the job of `name`, or of a present or past job that has it as its id."""
    read, leftover = read_record(settings)
    state = folded_record(read, leftover, settings).state
    if name not in state.jobs:
        past = (each for record in state.jobs.values() for each in record.history)
        by_id = {**{each.job_id: each.status for each in past}, **{r.job_id: r.status for r in state.jobs.values()}}
        if name in by_id:
            return name, by_id[name]
    record = _record(state, name)
    return record.job_id, record.status


def _record(state: State, name: str) -> RecordedJob:
    one_name(name, state.jobs, "this command takes one name")
    if name not in state.jobs:
        hint = did_you_mean(name, state.jobs) or "'reconciler status' lists what is recorded"
        raise PlanRefused(f"no job named {name!r} is recorded", hint)
    return state.jobs[name]
