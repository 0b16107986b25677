"""A record in a register that many machines share.

Whatever cannot be written there any more, since the lock was lost, is not lost: it goes beside the record, for the
next run to fold in, or, if not even that can be done, into a file of this machine, which its next run finds.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from reconciler.backends.lease import Holding, Pace, acquire, new_lease
from reconciler.backends.register import Document, Lost, Occupied, Register, Unsure
from reconciler.backends.snapshot import Snapshot
from reconciler.connect import ignore_in_git
from reconciler.durable import read_file, remove_file, replace_file
from reconciler.entries import Intent
from reconciler.errors import PlanRefused, StateError, StateLocked
from reconciler.job import State
from reconciler.journal import Journal, journal_bytes
from reconciler.lock import Waiting, locked_when_free, on_network
from reconciler.report.replacements import log_text
from reconciler.state import dumps, numbered
from reconciler.text import one_line

_TRIES = 5


@dataclass(frozen=True, slots=True)
class SharedStore:
    """A register; and `aside`, this machine's own files: `<aside>.<holder>.journal`."""

    register: Register
    aside: Path
    pace: Pace
    run: str | None = None

    def __str__(self) -> str:
        return str(self.register)

    def snapshot(self) -> Snapshot:
        document = self.register.read().document
        return _snapshot(document, self._aside())

    def _aside(self) -> dict[Path, bytes]:
        """What runs of this machine could not write."""
        try:
            files = sorted(self.aside.parent.glob(f"{self.aside.name}.*.journal"))
            return {path: read_file(path) or b"" for path in files}
        except OSError as error:
            raise StateError(f"{self.aside.parent} cannot be read: {error.strerror}") from error

    @contextlib.asynccontextmanager
    async def locked(self, command: str, timeout: float, tell: Callable[[str], None]) -> AsyncIterator[SharedHold]:
        lease = new_lease(command, self.pace.lease, self.run)
        async with self._alone_here(command, timeout, lease.holder, tell) as dead:
            holding, note = await acquire(self.register, lease, timeout, self.pace, dead, tell)
            hold = SharedHold(self, holding, lease.holder, command, (note,) if note else ())
            try:
                yield hold
            except PlanRefused:
                hold.done = hold.done or "refused"
                raise
            finally:
                holding.give_back(hold.message())

    @contextlib.asynccontextmanager
    async def _alone_here(
        self, command: str, timeout: float, holder: str, tell: Callable[[str], None]
    ) -> AsyncIterator[str]:
        """Hold the lock of this folder, and note the `holder`. Yields who was noted there: while a process runs it has
        the lock of its folder, so that one has died, and its lease need not be waited for.
        """
        note = self.aside.with_name(f"{self.aside.name}.holder")
        ignore_in_git(note.parent)
        lock = self.aside.with_name(f"{self.aside.name}.lock")
        async with locked_when_free(lock, command, timeout, waiting=Waiting(str(self), tell)):
            try:
                dead = (read_file(note) or b"").decode("ascii", "replace")
                replace_file(note, holder.encode())
            except OSError as error:
                raise StateError(f"{note} cannot be used: {error.strerror}") from error
            yield "" if on_network(note.parent) else dead
            with contextlib.suppress(OSError):
                note.unlink()


def _snapshot(document: Document, aside: dict[Path, bytes]) -> Snapshot:
    data = None if document.state is None else document.state.encode()
    late = tuple(each for each in (document.late.encode(), *aside.values()) if each)
    holder = one_line(str(document.lease)) if document.lease else ""
    return Snapshot(data, document.journal.encode(), late, holder)


@dataclass(slots=True)
class SharedHold:
    """The record under a lease."""

    store: SharedStore
    holding: Holding
    holder: str
    command: str
    notes: tuple[str, ...] = ()
    journal: Journal | None = None
    begun: bytes = b""
    """The journal as it is to be: its start goes to the register with the first entries."""
    folded: str = ""
    """Of what came late, what the session has seen: it goes when the record that has it is saved."""
    aside: dict[Path, bytes] = field(default_factory=dict)
    started_for: State | None = None
    first: State | None = None
    done: str = ""

    def message(self) -> str:
        """What this command did to the record, for the log of the register: a line, and the names."""
        return f"{self.command}: {self.done or 'nothing new'}\n\n{self.holding.who()}"

    def check(self) -> None:
        try:
            self.holding.check()
        except StateLocked as error:
            raise self._rescued(error) from error

    def may_send(self) -> None:
        self.holding.may_send()

    def snapshot(self) -> Snapshot:
        document = self.holding.document
        self.folded, self.aside = document.late, self.store._aside()
        return _snapshot(document, self.aside)

    def save(self, before: State | None, after: State, unresolved: Sequence[Intent]) -> State:
        after = numbered(before, after)
        self.first = self.first or before or after.model_copy(update={"jobs": {}})
        self._keep(after, journal_bytes(after, unresolved) if unresolved else b"", log_text(self.first, after))
        return after

    def replace(self, before: State | None, after: State) -> None:
        self._keep(after, b"", log_text(before, after))

    def _keep(self, after: State, journal: bytes, what: str) -> None:
        document = self.holding.document
        update = {"state": dumps(after).decode(), "journal": journal.decode()}
        if self.folded or any(getattr(document, key) != value for key, value in update.items()):
            self.done = what or self.done
            try:
                self.holding.change(self.message(), folded=self.folded, **update)
            except StateError as error:
                raise self._rescued(error) from error
        self.journal, self.folded = None, ""
        for path in self.aside:
            with contextlib.suppress(OSError):
                remove_file(path)
        self.aside = {}

    def start_journal(self, state: State, carried: Sequence[Intent]) -> Journal:
        self.begun = journal_bytes(state, carried)
        self.started_for = state
        self.journal = Journal(str(self.store), self, carried)
        return self.journal

    def write(self, data: bytes) -> None:
        whole = self.begun + data
        self.holding.change(f"{self.command}: under way", journal=whole.decode())
        self.begun = whole

    def close(self) -> None:
        """Nothing is open. A write that is under way adds what the state has by then: to fold it changes nothing."""

    def _rescued(self, error: StateError) -> StateError:
        """`error`, with where what the journal has went to, if it has anything to tell."""
        if self.journal is None or self.started_for is None or not self.journal.entries:
            return error
        data = journal_bytes(self.started_for, self.journal.entries)
        self.journal = None
        path = self.store.aside.with_name(f"{self.store.aside.name}.{self.holder}.journal")
        kept = True
        try:
            replace_file(path, data)
        except OSError:
            kept = False
        if _leave(self.store.register, data.decode()):
            with contextlib.suppress(OSError):
                remove_file(path)
            where = "what this run did is beside the record; the next run folds it in"
        elif kept:
            where = f"what this run did is in {path}; the next run on this machine folds it in"
        else:
            where = "what this run did could not be written; the next run looks for its jobs on the platform"
        return type(error)(f"{error.message}; {where}", error.hint)


def _leave(register: Register, data: str) -> bool:
    """Put a journal beside a record whose lock is somebody else's by now; whether it is there."""
    for n in range(_TRIES):
        try:
            found = register.read()
            if data in found.document.late:
                return True
            update = {"late": found.document.late + data, "serial": found.document.serial + 1}
            register.swap(found, found.document.model_copy(update=update), "what a run did that had lost the lock")
        except (Lost, Unsure, Occupied):
            time.sleep(0.2 * 2**n)
        except StateError:
            return False
        else:
            return True
    return False
