"""The record under its lock: read, settled after a run that was cut off, and saved."""

from __future__ import annotations

import contextlib
import os
import shlex
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from reconciler.address import Address, beside
from reconciler.cache import Cache
from reconciler.connect import LOCAL
from reconciler.errors import StateError, StateLocked
from reconciler.job import DesiredJob, JsonObject, State
from reconciler.lock import holder_of
from reconciler.reconcile.settings import Settings
from reconciler.secrets import Secrets
from reconciler.state import look, new_state, parse_state, read_bytes

if TYPE_CHECKING:
    from reconciler.backends import Hold, Snapshot
    from reconciler.client import Client
    from reconciler.entries import Entry, Intent, NotSubmitted, Submitted
    from reconciler.journal import Leftover
    from reconciler.record import Folded


def read_record(settings: Settings) -> tuple[State | None, Leftover | None]:
    """What the state and the journal hold. Raises `StateError` when they are not to be used with this endpoint."""
    store = settings.store()
    return _parsed(settings, str(store), store.snapshot())


@dataclass(frozen=True, slots=True)
class Looked:
    """The record as somebody sees it who only looks. Its jobs must not be written."""

    state: State | None
    leftover: Leftover | None = None
    holder: str = ""
    """Who has the lock, or had it when it was killed."""


def look_at_record(settings: Settings) -> Looked:
    """As `read_record`, for those who only look."""
    if settings.address is None:
        data = read_bytes(settings.state)
        cache = None if settings.cache is None else Cache(settings.cache)
        state = None if data is None else look(data, settings.state, cache)
        if not os.path.lexists(settings.journal) and (state is None or state.endpoint == settings.endpoint):
            return Looked(state, holder=holder_of(beside(settings.state, ".lock")))
    store = settings.store()
    taken = store.snapshot()
    return Looked(*_parsed(settings, str(store), taken), taken.holder)


def _parsed(settings: Settings, where: str, taken: Snapshot) -> tuple[State | None, Leftover | None]:
    from reconciler.journal import Header, Leftover, parse_journal, parse_late

    state = None if taken.state is None else parse_state(taken.state, where)
    _refuse_older(settings, where, state)
    ours = state
    if state is not None and state.endpoint != settings.endpoint:
        if not settings.allow_endpoint_change:
            hint = (
                "give each endpoint a --state of its own; --allow-endpoint-change moves this one on purpose, "
                "but jobs that have ended are not looked for there"
            )
            raise StateError(f"the state {where} belongs to {state.endpoint}, not {settings.endpoint}", hint)
        ours = _at_endpoint(state, settings)
    journal = str(settings.journal) if settings.address is None else where
    leftover = parse_journal(taken.journal, journal, ours)
    late = tuple(entry for data in taken.late for entry in parse_late(data, journal, ours))
    if late and ours is not None:
        header = (
            leftover.header if leftover else Header(lineage=ours.lineage, serial=ours.serial, endpoint=ours.endpoint)
        )
        leftover = Leftover(header, leftover.entries if leftover else (), late)
    return state, leftover


def _refuse_older(settings: Settings, where: str, state: State | None) -> None:
    """Raises `StateError` for a state that was put back: what it does not record would be submitted again."""
    if settings.known is None:
        return
    lineage, serial = settings.known
    if state is None:
        what = "is gone"
    elif state.lineage != lineage:
        what = "is of another history now"
    elif state.serial < serial:
        what = f"has gone back: it had serial {serial}, and has {state.serial} now"
    else:
        return
    hint = "has git or a clean-up replaced it? Bring the newer one back; to go on from this one, start the loop anew"
    raise StateError(f"the state {where} {what}; nothing was done", hint)


def read_other(settings: Settings, place: Path | Address) -> State | None:
    """The state of another environment. Raises `StateError`."""
    from reconciler.backends import open_store

    address = place if isinstance(place, Address) else None
    path = settings.state if address else Path(str(place))
    patience = settings.timing.budget
    store = open_store(address, path, settings.root, settings.environ, settings.lease, patience)
    data = store.snapshot().state
    return None if data is None else parse_state(data, str(store))


def folded_record(state: State | None, leftover: Leftover | None, settings: Settings) -> Folded:
    """The record with what an interrupted run left in the journal; a new state when there is none."""
    from reconciler.record import fold, merge

    base = _at_endpoint(state, settings) if state else new_state(settings.endpoint)
    return merge(base, leftover.entries, leftover.late) if leftover else fold(base, ())


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
    """The record, held under its lock. `on_disk` is what its place holds."""

    settings: Settings
    client: Client
    state: State
    on_disk: State | None
    unresolved: dict[str, str]
    intents: tuple[Intent, ...]
    hold: Hold
    notes: tuple[str, ...] = ()

    def save(self, state: State) -> None:
        """Write `state` if it says something new, then remove the journal, but for what is still unknown."""
        self.hold.check()
        if self.on_disk is None and not state.jobs and not state.generations:
            self.state = state
            return
        self.on_disk = self.state = self.hold.save(self.on_disk, state, self.intents)

    def take(self, entries: Sequence[Entry]) -> None:
        """Fold `entries`, outcomes of open intents among them, and save."""
        from reconciler.record import fold

        folded = fold(self.state, [*self.intents, *entries])
        self.intents = folded.unresolved
        self.save(folded.state)


@contextlib.asynccontextmanager
async def open_session(settings: Settings, *, run_jobs: bool = False) -> AsyncIterator[Session]:
    """Take the lock, read the record, and settle what an interrupted run left, before anything else."""
    store = settings.store()
    async with store.locked(settings.command, settings.lock_timeout, settings.tell) as hold:
        state, leftover = _parsed(settings, str(store), hold.snapshot())
        folded = folded_record(state, leftover, settings)
        async with settings.connect(run_jobs=run_jobs) as client:
            client.secrets = hidden(settings, {}, folded.state, folded.unresolved)
            if settings.address is not None:
                client.only_while(hold.may_send)
            session = Session(settings, client, folded.state, state, {}, folded.unresolved, hold, hold.notes)
            if folded.strays:
                from reconciler.reconcile.withdrawing import withdraw

                session.state, told = await withdraw(client, folded)
                session.notes += told
            if leftover is not None:
                await settle_open(session)
            elif state is not None and state.endpoint != settings.endpoint:
                session.save(session.state)
            try:
                yield session
            except StateLocked as lost:
                if settings.address is None:
                    raise
                client.only_while(lambda: None)  # what is one too many is ours alone
                raise await _after_loss(settings, client, lost) from lost


async def _after_loss(settings: Settings, client: Client, lost: StateLocked) -> StateLocked:
    """The lock went to another run while this one worked. If that one made a job that this one had made as well, ours
    is withdrawn at once, and `lost` says so. If it has not yet, the next run sees to it.
    """
    from reconciler.reconcile.withdrawing import withdraw

    try:
        state, leftover = read_record(settings)
        _, told = await withdraw(client, folded_record(state, leftover, settings))
    except StateError:
        return lost
    return StateLocked("; ".join([lost.message, *told]), lost.hint, lost.details)


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
    from reconciler.entries import Submitted

    if isinstance(entry, Submitted):
        return f"{entry.name}: the answer to its submission was lost; found its job {entry.job_id} on the platform"
    return f"{entry.name}: its submission did not reach the platform; {entry.reason}"
