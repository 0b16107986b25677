"""The journal beside the state: JSON lines, each synced before what it announces happens.

The first line says which state it belongs to. Every line carries a checksum: a torn last line is what a crash leaves
and is dropped; damage anywhere else is an error, since it could hide a job.
"""

from __future__ import annotations

import errno
import json
import os
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from reconciler.durable import read_file, remove_file, replace_file
from reconciler.entries import Entry, Intent, NotSubmitted, Observed, Submitted
from reconciler.errors import StateError
from reconciler.job import State

if TYPE_CHECKING:
    import asyncio

_ENTRY: TypeAdapter[Entry] = TypeAdapter(Entry, config=ConfigDict(defer_build=True))


class Header(BaseModel):
    """Which state the entries are to be folded into."""

    model_config = ConfigDict(frozen=True, defer_build=True)

    journal: Literal[1] = 1
    lineage: str
    serial: int
    endpoint: str


@dataclass(frozen=True, slots=True)
class Leftover:
    """What an earlier run left behind."""

    header: Header
    entries: tuple[Entry, ...]
    late: tuple[Entry, ...] = ()
    """What runs did that had lost the lock by then."""


def read_journal(path: Path, state: State | None) -> Leftover | None:
    """The journal that an earlier run left for `state`; None when there is none, or nothing but a torn start.

    Raises `StateError` when it is damaged, or does not belong to this state.
    """
    try:
        data = read_file(path)
    except OSError as error:
        raise StateError(f"the journal {path} cannot be read: {error.strerror}") from error
    return parse_journal(data or b"", path, state)


def parse_journal(data: bytes, path: Path | str, state: State | None) -> Leftover | None:
    """The journal whose bytes are `data`, as `read_journal`; `path` is where people find it."""
    records = _records(data, path)
    if not records:
        return None
    try:
        header = Header.model_validate(records[0])
        entries = tuple(_ENTRY.validate_python(r) for r in records[1:])
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        hint = "it may be of a newer reconciler; nothing was changed"
        raise StateError(f"the journal {path} cannot be understood: {first['msg']}", hint) from error
    _belongs(header, state, path)
    return Leftover(header, entries)


def parse_late(data: bytes, path: Path | str, state: State | None) -> tuple[Entry, ...]:
    """The entries of whole journals that lie one behind the other, as runs left them that had lost the lock."""
    journals: list[bytes] = []
    for line in data.splitlines(keepends=True):
        record = _records(line, path)
        if record and "journal" in record[0]:
            journals.append(b"")
        journals[-1:] = [(journals or [b""])[-1] + line]
    found = [parse_journal(each, path, state) for each in journals]
    return tuple(entry for leftover in found if leftover for entry in leftover.entries)


def _records(data: bytes, path: Path | str) -> list[dict[str, Any]]:
    lines = data.split(b"\n")
    records = []
    for number, line in enumerate(lines, 1):
        if not line and number == len(lines):
            break
        try:
            record = json.loads(line)
            checksum, body = record["crc"], record["entry"]
            whole = checksum == _checksum(_text(body))
        except (ValueError, KeyError, TypeError, RecursionError):
            whole = False
        if whole:
            records.append(body)
        elif number == len(lines):
            break  # no newline behind it: torn by a crash, so what it announces never happened
        else:
            hint = "its lines say which jobs were submitted: restore it, or look for the jobs before you remove it"
            raise StateError(f"{path}:{number}: the journal is damaged", hint)
    return records


def _belongs(header: Header, state: State | None, path: Path | str) -> None:
    keep = "it may name jobs that no state knows: find its state, or look at its lines before you remove it"
    if state is None:
        raise StateError(f"there is a journal {path}, but no state that it belongs to", f"restore the state; {keep}")
    if header.lineage != state.lineage:
        raise StateError(f"the journal {path} belongs to another state (lineage {header.lineage})", keep)
    if header.endpoint != state.endpoint:
        message = f"the journal {path} names jobs of {header.endpoint}, not of {state.endpoint}"
        raise StateError(message, f"run 'reconciler apply' with --endpoint {header.endpoint} first; {keep}")
    if header.serial > state.serial:
        message = f"the journal {path} is ahead of the state: serial {header.serial}, not {state.serial}"
        raise StateError(message, f"the state was put back to an older one: restore serial {header.serial}; {keep}")


def _text(body: Any) -> str:
    return json.dumps(body, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _checksum(text: str) -> str:
    return f"{zlib.crc32(text.encode()):08x}"


def _line(body: BaseModel) -> bytes:
    text = _text(body.model_dump(mode="json"))
    return f'{{"crc":"{_checksum(text)}","entry":{text}}}\n'.encode()


def journal_bytes(state: State, entries: Sequence[Entry]) -> bytes:
    """A whole journal for `state`: its header and `entries`."""
    header = Header(lineage=state.lineage, serial=state.serial, endpoint=state.endpoint)
    return b"".join([_line(header), *map(_line, entries)])


class Sink(Protocol):
    """Where an open journal is written."""

    def write(self, data: bytes) -> None:
        """Add `data`, and return when a crash cannot take it back. Raises OSError or `StateError`."""

    def close(self) -> None:
        """Let go of it; what was written stays. Waits for a write that is under way."""


class FileSink:
    """A journal on the disk."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        import threading

        self._writing = threading.Lock()

    def write(self, data: bytes) -> None:
        with self._writing:  # a descriptor that was closed meanwhile may be another file's by now
            if self._descriptor < 0:
                raise OSError(errno.EBADF, "it is closed")
            view = memoryview(data)
            while view:
                view = view[os.write(self._descriptor, view) :]
            os.fsync(self._descriptor)

    def close(self) -> None:
        with self._writing:
            if self._descriptor >= 0:
                os.close(self._descriptor)
            self._descriptor = -1


class Journal:
    """An open journal. Appends that wait for the disk at the same time share one sync."""

    def __init__(self, path: Path | str, sink: Sink, carried: Sequence[Intent] = ()) -> None:
        self._path = path
        self._sink = sink
        self._waiting: list[tuple[bytes, asyncio.Future[None]]] = []
        self._flusher: asyncio.Task[None] | None = None
        self._broken: StateError | None = None
        self.entries: list[Entry] = list(carried)

    @classmethod
    def start(cls, path: Path, state: State, carried: Sequence[Intent] = ()) -> Journal:
        """Begin a journal for `state` in place of an earlier one, whose unresolved intents are carried over.

        Raises `StateError` when it cannot be written: before anything was submitted.
        """
        try:
            replace_file(path, journal_bytes(state, carried))
            sink = FileSink(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW))
        except OSError as error:
            message = f"the journal {path} cannot be written: {error.strerror}"
            raise StateError(message, "nothing was submitted; make room or make the folder writable") from error
        return cls(path, sink, carried)

    async def append(self, entry: Entry) -> None:
        """Add `entry`, and return when it is on the disk. Raises `StateError`; after that every append does."""
        import asyncio

        if self._broken:
            if isinstance(entry, Submitted | NotSubmitted | Observed):
                self.entries.append(entry)  # it has happened, whether it can be written down or not
            raise self._broken
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((_line(entry), done))
        self.entries.append(entry)
        if self._flusher is None or self._flusher.done():
            self._flusher = asyncio.create_task(self._flush())
        try:
            await done
        except StateError:
            if isinstance(entry, Intent):
                self.entries.remove(entry)  # nothing is sent without its intent on the disk: it is not open
            raise

    async def _flush(self) -> None:
        import asyncio

        while self._waiting:
            batch, self._waiting = self._waiting, []
            try:
                await asyncio.to_thread(self._sink.write, b"".join(line for line, _ in batch))
            except StateError as error:
                self._broken = error
                batch, self._waiting = [*batch, *self._waiting], []
            except (OSError, RuntimeError) as error:  # RuntimeError: Python is on its way out and starts no threads
                # A failed sync must not be tried again: the pages may be gone and look clean.
                self._broken = StateError(
                    f"the journal {self._path} cannot be written: {getattr(error, 'strerror', None) or error}",
                    "make room or make the folder writable, then run the command again: it settles what was cut off",
                )
                batch, self._waiting = [*batch, *self._waiting], []
            for _, done in batch:
                if done.cancelled():
                    continue
                if self._broken:
                    done.set_exception(self._broken)
                else:
                    done.set_result(None)

    def close(self) -> None:
        """Let go of what it is written to; what was written stays. Waits for a write that is under way."""
        self._sink.close()


def finish(path: Path, state: State, unresolved: Sequence[Intent]) -> None:
    """After the state holds everything: remove the journal, or leave only what is still unknown. Raises StateError."""
    try:
        if unresolved:
            Journal.start(path, state, unresolved).close()
        else:
            remove_file(path)
    except OSError as error:
        raise StateError(f"the journal {path} cannot be removed: {error.strerror}") from error
