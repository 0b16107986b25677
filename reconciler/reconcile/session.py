"""The record under its lock: read, settled after a run that was cut off, and saved."""

from __future__ import annotations

import contextlib
import os
import shlex
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from reconciler.cache import Cache
from reconciler.connect import LOCAL
from reconciler.durable import remove_leftovers
from reconciler.errors import StateError
from reconciler.job import DesiredJob, JsonObject, State
from reconciler.reconcile.settings import Settings
from reconciler.secrets import Secrets
from reconciler.state import look, new_state, read_state, refuse_foreign, save

if TYPE_CHECKING:
    from reconciler.client import Client
    from reconciler.journal import Leftover
    from reconciler.record import Entry, Folded, Intent, NotSubmitted, Submitted


def read_record(settings: Settings) -> tuple[State | None, Leftover | None]:
    """What the state file and the journal hold. Raises `StateError` when they are not to be used with this endpoint."""
    while True:
        state = read_state(settings.state)
        try:
            leftover = _read_journal(settings, state)
        except StateError:
            if read_state(settings.state) == state:
                raise
            continue  # an apply moved on between the two: read again
        if leftover is None or read_state(settings.state) == state:
            return state, leftover


def look_at_record(settings: Settings) -> tuple[State | None, Leftover | None]:
    """As `read_record`, for those who only look. The records of the state must not be written."""
    if settings.cache is None or os.path.lexists(settings.journal):
        return read_record(settings)
    state = look(settings.state, Cache(settings.cache))
    leftover = _read_journal(settings, state)
    return (state, None) if leftover is None else read_record(settings)


def _read_journal(settings: Settings, state: State | None) -> Leftover | None:
    if state is not None and state.endpoint != settings.endpoint:
        if not settings.allow_endpoint_change:
            hint = (
                "give each endpoint a --state of its own; --allow-endpoint-change moves this one on purpose, "
                "but jobs that have ended are not looked for there"
            )
            raise StateError(f"the state {settings.state} belongs to {state.endpoint}, not {settings.endpoint}", hint)
        state = state.model_copy(update={"endpoint": settings.endpoint})
    if not os.path.lexists(settings.journal):
        return None
    from reconciler.journal import read_journal

    return read_journal(settings.journal, state)


def folded_record(state: State | None, leftover: Leftover | None, settings: Settings) -> Folded:
    """The record with what an interrupted run left in the journal; a new state when there is none."""
    from reconciler.record import fold

    base = _at_endpoint(state, settings) if state else new_state(settings.endpoint)
    return fold(base, leftover.entries if leftover else ())


def as_left(state: State | None, leftover: Leftover | None, settings: Settings) -> tuple[State, tuple[Intent, ...]]:
    """As `folded_record`: the state, and the intents whose outcome is not known."""
    if leftover is None and state is not None:
        return (state if state.endpoint == settings.endpoint else _at_endpoint(state, settings)), ()
    folded = folded_record(state, leftover, settings)
    return folded.state, folded.unresolved


def _at_endpoint(state: State, settings: Settings) -> State:
    return state.model_copy(update={"endpoint": settings.endpoint})


@dataclass(slots=True)
class Session:
    """The record, held under its lock. `on_disk` is what the state file holds."""

    settings: Settings
    client: Client
    state: State
    on_disk: State | None
    unresolved: dict[str, str]
    intents: tuple[Intent, ...]
    still_locked: Callable[[], None] = lambda: None
    notes: tuple[str, ...] = ()

    def save(self, state: State) -> None:
        """Write `state` if it says something new, then remove the journal, but for what is still unknown."""
        self.still_locked()
        if self.on_disk is None and not state.jobs and not state.generations:
            self.state = state
            return
        self.on_disk = self.state = save(self.settings.state, self.on_disk, state)
        from reconciler.journal import finish

        finish(self.settings.journal, self.state, self.intents)

    def take(self, entries: Sequence[Entry]) -> None:
        """Fold `entries`, outcomes of open intents among them, and save."""
        from reconciler.record import fold

        folded = fold(self.state, [*self.intents, *entries])
        self.intents = folded.unresolved
        self.save(folded.state)


@contextlib.asynccontextmanager
async def open_session(settings: Settings, *, run_jobs: bool = False) -> AsyncIterator[Session]:
    """Take the lock, read the record, and settle what an interrupted run left, before anything else."""
    from reconciler.lock import locked_when_free

    async with locked_when_free(settings.lock, settings.command, settings.lock_timeout) as still_locked:
        for path in (settings.state, settings.journal):
            refuse_foreign(path)
            remove_leftovers(path)
        state, leftover = read_record(settings)
        folded = folded_record(state, leftover, settings)
        async with settings.connect(run_jobs=run_jobs) as client:
            client.secrets = hidden(settings, {}, folded.state, folded.unresolved)
            session = Session(settings, client, folded.state, state, {}, folded.unresolved, still_locked)
            if leftover is not None:
                await settle_open(session)
            elif state is not None and state.endpoint != settings.endpoint:
                session.save(session.state)
            yield session


def hidden(
    settings: Settings, desired: Mapping[str, DesiredJob], state: State, intents: Sequence[Intent] = ()
) -> Secrets:
    """What must be filled in, and hidden, for the jobs that the specs and the record have."""
    templates: dict[str, list[JsonObject]] = {}
    for job in desired.values():
        if job.env:
            templates.setdefault(job.name, []).append(job.request)
    for name, record in state.jobs.items():
        if record.secrets:  # a renamed job has its old name on the platform
            for each in {name, str(record.observed.get("name", name))}:
                templates.setdefault(each, []).append(record.request)
    for intent in intents:
        if intent.secrets:
            templates.setdefault(intent.name, []).append(intent.request)
    return Secrets(settings.environ, {name: tuple(requests) for name, requests in templates.items()})


def open_names(intents: Sequence[Intent]) -> dict[str, str]:
    """Names with a submission whose outcome is unknown, and the fingerprint of what was submitted."""
    return {i.name: i.fingerprint for i in intents}


async def settle_open(session: Session) -> list[Submitted | NotSubmitted]:
    """Find out about the open intents, save what is known now, and say why the rest is not."""
    from reconciler.settle import settle

    settings = session.settings
    settled = await settle(
        session.client,
        session.intents,
        session.state,
        now=settings.now,
        sleep=settings.timing.sleep,
        settle_time=settings.settle_time if settings.endpoint != LOCAL else 0.0,
    )
    session.unresolved = settled.unresolved
    session.notes += tuple(_note(entry) for entry in settled.entries)
    session.take(settled.entries)
    return list(settled.entries)


def unknown_hint(name: str) -> str:
    """What to type about a submission whose outcome is unknown."""
    quoted = shlex.quote(name)
    return (
        f"look at the platform's jobs with that name; then 'reconciler import {quoted} JOB_ID', "
        f"or, if there is none, 'reconciler settle {quoted} --not-submitted'"
    )


def _note(entry: Submitted | NotSubmitted) -> str:
    """What a settlement found, for people: an interruption that went well is worth a line."""
    from reconciler.record import Submitted

    if isinstance(entry, Submitted):
        return f"{entry.name}: the answer to its submission was lost; found its job {entry.job_id} on the platform"
    return f"{entry.name}: its submission did not reach the platform; {entry.reason}"
