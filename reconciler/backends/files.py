"""A record on the disk of this machine: a state file, and its journal and lock beside it."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from reconciler.backends.snapshot import Snapshot
from reconciler.durable import read_file, remove_leftovers
from reconciler.entries import Intent
from reconciler.errors import StateError
from reconciler.job import State
from reconciler.journal import Journal, finish
from reconciler.lock import Waiting, holder_of, locked_when_free
from reconciler.state import read_bytes, refuse_foreign, save, write_state


@dataclass(frozen=True, slots=True)
class FileStore:
    """The three files of one record."""

    state: Path
    journal: Path
    lock: Path

    def __str__(self) -> str:
        return str(self.state)

    def snapshot(self) -> Snapshot:
        while True:
            state, journal = read_bytes(self.state), self._journal()
            if not journal or read_bytes(self.state) == state:  # else an apply moved on between the two: read again
                return Snapshot(state, journal, holder=holder_of(self.lock))

    def _journal(self) -> bytes:
        try:
            return read_file(self.journal) or b""
        except OSError as error:
            raise StateError(f"the journal {self.journal} cannot be read: {error.strerror}") from error

    @contextlib.asynccontextmanager
    async def locked(self, command: str, timeout: float, tell: Callable[[str], None]) -> AsyncIterator[FileHold]:
        waiting = Waiting(str(self), tell)
        async with locked_when_free(self.lock, command, timeout, waiting=waiting) as still_locked:
            for path in (self.state, self.journal):
                refuse_foreign(path)
                remove_leftovers(path)
            yield FileHold(self, still_locked)


@dataclass(frozen=True, slots=True)
class FileHold:
    """The files under their lock, which the operating system keeps: only somebody who removes it can take it away."""

    store: FileStore
    still_locked: Callable[[], None]
    notes: tuple[str, ...] = ()

    def check(self) -> None:
        self.still_locked()

    def may_send(self) -> None:
        pass

    def snapshot(self) -> Snapshot:
        return self.store.snapshot()

    def save(self, before: State | None, after: State, unresolved: Sequence[Intent]) -> State:
        saved = save(self.store.state, before, after)
        finish(self.store.journal, saved, unresolved)
        return saved

    def replace(self, before: State | None, after: State) -> None:
        write_state(self.store.state, after)
        finish(self.store.journal, after, ())

    def start_journal(self, state: State, carried: Sequence[Intent]) -> Journal:
        return Journal.start(self.store.journal, state, carried)
