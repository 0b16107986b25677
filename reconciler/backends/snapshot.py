"""What every place of a record offers: one look at it, and a lock under which it is changed."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from reconciler.entries import Intent
from reconciler.job import State
from reconciler.journal import Journal


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The bytes of the record at one moment. `late`: whole journals of runs that had lost the lock. `holder`: who has
    the lock, or had it when it was killed; empty when the last one gave it back.
    """

    state: bytes | None
    journal: bytes
    late: tuple[bytes, ...] = ()
    holder: str = ""


class Hold(Protocol):
    """The record under its lock."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What people should know about how the lock was got."""

    def check(self) -> None:
        """Raises `StateError` when the lock is not ours any longer."""

    def may_send(self) -> None:
        """Raises `StateError` unless nobody else can have the lock now: asked right before each request that acts."""

    def snapshot(self) -> Snapshot:
        """What the place holds. Raises `StateError`."""

    def save(self, before: State | None, after: State, unresolved: Sequence[Intent]) -> State:
        """Keep `after` with the next serial, unless it says nothing new, and of the journal only what is `unresolved`.

        Returns what the place holds now. Raises `StateError`; then what the journal has is still there.
        """

    def replace(self, before: State | None, after: State) -> None:
        """Keep `after` just as it is, with no journal: for a state that comes from elsewhere. Raises `StateError`."""

    def start_journal(self, state: State, carried: Sequence[Intent]) -> Journal:
        """Begin a journal for `state` in place of an earlier one. Raises `StateError`."""


class Store(Protocol):
    """A place that holds a record. Its text is how people write it."""

    def snapshot(self) -> Snapshot:
        """What the place holds, without its lock. Raises `StateError`."""

    def locked(
        self, command: str, timeout: float, tell: Callable[[str], None]
    ) -> contextlib.AbstractAsyncContextManager[Hold]:
        """Hold the lock; wait for it at most `timeout` seconds, and `tell` people so.

        Raises `StateLocked`, `StateError`.
        """
