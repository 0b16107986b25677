"""The lock of a shared record: a lease in the register's own document, renewed while its holder lives.

Nobody compares clocks of two machines. Who waits watches the register, and takes over when nothing has changed for a
whole lease by its own clock. The holder's right to act ends earlier, counted from before its last change was sent. So
the two never overlap, however long either of them was stopped.
"""

from __future__ import annotations

import asyncio
import contextlib
import getpass
import os
import secrets
import socket
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from reconciler.backends.register import Document, Found, Lease, Lost, Occupied, Register, Unsure
from reconciler.errors import StateError, StateLocked, StateUnavailable
from reconciler.job import parse_time, timestamp
from reconciler.lock import Waiting
from reconciler.text import one_line

SECONDS = 60.0
_RENEWED = 0.25
"""A lease is renewed when so much of it has gone by."""
_MAY_ACT = 0.75
"""After so much of it without a change its holder begins nothing more: the rest is for requests under way."""


def clock() -> float:
    """Seconds that also pass while the machine sleeps."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


_DOUBTS = 5
"""So often a lock is asked for whose answer is lost."""
_SOMEBODY = "another process"
_AGAIN = "run the command again: it settles what was cut off"


@dataclass(frozen=True, slots=True)
class Pace:
    """How time passes; tests have their own. Seconds."""

    lease: float = SECONDS
    clock: Callable[[], float] = clock
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep


def new_lease(command: str, seconds: float, run: str | None) -> Lease:
    """A lease of this process."""
    now = timestamp(datetime.now(UTC))
    return Lease(
        holder=secrets.token_hex(16),
        seconds=seconds,
        renewed=now,
        pid=os.getpid(),
        host=socket.gethostname(),
        user=_user(),
        command=command,
        since=now,
        run=run,
    )


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def _nobody(text: str) -> None:
    """Hears what is told where nobody does."""


async def acquire(
    register: Register, lease: Lease, timeout: float, pace: Pace, dead: str = "", tell: Callable[[str], None] = _nobody
) -> tuple[Holding, str | None]:
    """Take the lock, and what to say about whoever had it and gave no sign of life. Waits at most `timeout` seconds,
    but for one lease more when the note says that it was over long ago, and then tells who has it. `dead` is a holder
    that certainly runs no more.

    Raises `StateLocked`, `StateUnavailable` and `StateError`.
    """
    began = seen_at = pace.clock()
    waiting = Waiting(str(register), tell)
    seen: object = object()
    held_by = ""
    occupied: Found | None = None
    doubts = 0
    while True:
        began_read = pace.clock()
        found = await asyncio.to_thread(register.read)
        theirs = found.document.lease
        if theirs is not None and theirs.holder == lease.holder:  # the answer was lost, not the race
            return Holding(register, found, lease, pace, began_read), None
        if occupied is not None and occupied.document == found.document:
            found = occupied
        if seen != found.mark:
            seen, seen_at = found.mark, pace.clock()
        if theirs is not None:
            held_by = str(theirs)
        waited = pace.clock() - seen_at
        silent = waited >= (theirs.seconds if theirs else pace.lease)
        gone = bool(dead) and theirs is not None and theirs.holder == dead
        over = silent or gone
        if over or (theirs is None and occupied is None):
            occupied = None
            holding = await _take(register, found, lease, pace)
            if isinstance(holding, Holding):
                why = _why(theirs, gone=gone)
                return holding, one_line(f"took over the lock of {held_by}: {why}") if over and held_by else None
            if isinstance(holding, Occupied):
                occupied, held_by = holding.found, holding.who
            elif isinstance(holding, Unsure):
                doubts += 1
                if doubts > _DOUBTS:
                    raise StateUnavailable(one_line(f"the state {register} cannot be locked: {holding}"), _AGAIN)
                await pace.sleep(min(1.0, pace.lease / 10))
            continue
        patience = max(timeout, theirs.seconds + 1 if theirs and _over_long_ago(theirs) else 0.0)
        if pace.clock() - began >= patience:
            raise _locked(register, held_by, theirs.seconds if theirs else pace.lease)
        waiting.still(pace.clock(), held_by or _SOMEBODY)
        await pace.sleep(min(1.0, pace.lease / 10))


def _why(lease: Lease | None, *, gone: bool) -> str:
    if gone:
        return "that process runs no longer"
    return f"there was no sign of life for {lease.seconds if lease else SECONDS:g} s"


def _over_long_ago(lease: Lease) -> bool:
    """Whether its note says so. Clocks may differ, so this is worth waiting for, and proves nothing."""
    renewed = parse_time(lease.renewed)
    return renewed is not None and (datetime.now(UTC) - renewed).total_seconds() > 2 * lease.seconds


def _locked(register: Register, held_by: str, seconds: float) -> StateLocked:
    hint = (
        f"wait for it, or give --lock-timeout {2 * seconds:g}s: "
        f"a lock whose holder gives no sign of life for {seconds:g} s is taken over"
    )
    return StateLocked(one_line(f"the state {register} is locked by {held_by or _SOMEBODY}"), hint)


async def _take(register: Register, found: Found, lease: Lease, pace: Pace) -> Holding | Occupied | Unsure | None:
    began = pace.clock()
    wanted = found.document.model_copy(update={"lease": lease, "serial": found.document.serial + 1})
    taking = asyncio.create_task(asyncio.to_thread(register.swap, found, wanted, f"{lease.command}: the lock"))
    try:
        taken = await asyncio.shield(taking)
    except (Occupied, Unsure) as failed:
        return failed
    except Lost:
        return None
    except asyncio.CancelledError:
        # The thread goes on: a lock that comes after all is nobody's, and others would have to watch it for a lease.
        with contextlib.suppress(Lost, Occupied, Unsure, StateError):
            Holding(register, await taking, lease, pace, began).give_back(f"{lease.command}: interrupted")
        raise
    return Holding(register, taken, lease, pace, began)


class Holding:
    """A lease that is held, and renewed by a thread of its own until it is given back."""

    def __init__(self, register: Register, found: Found, lease: Lease, pace: Pace, began: float) -> None:
        self._register, self._found, self._lease, self._pace = register, found, lease, pace
        self._changed_at = began
        self._busy = threading.Lock()
        self._lost: StateError | None = None
        self._ended = threading.Event()
        self._renewer = threading.Thread(target=self._renew, name="lease", daemon=True)
        self._renewer.start()

    @property
    def document(self) -> Document:
        return self._found.document

    def who(self) -> str:
        """Who holds it, for a log."""
        return one_line(f"by {self._lease}")

    def check(self) -> None:
        """Raises `StateLocked` when somebody else has taken over."""
        if self._lost:
            raise self._lost

    def may_send(self) -> None:
        """Raises `StateError` unless certainly nobody can have taken over by now."""
        self.check()
        if self._pace.clock() - self._changed_at >= _MAY_ACT * self._lease.seconds:
            raise StateUnavailable(
                f"the lock of the state {self._register} could not be renewed in time, so nothing more is sent",
                _AGAIN,
            )

    def change(self, message: str, *, folded: str = "", **update: Any) -> None:
        """Change fields of the document, and take `folded` from what came late. Returns when the register has it.

        Raises `StateLocked` when somebody else has taken over, `StateUnavailable` when it cannot be told.
        """
        with self._busy:
            self.check()
            self._swap(message, folded, update)

    def _swap(self, message: str, folded: str, update: dict[str, Any]) -> None:
        ours = {"state": self.document.state, "journal": self.document.journal, **update}
        end, pause, doubt = self._pace.clock() + self._lease.seconds, 0.1, None
        while True:
            began = self._pace.clock()
            now = self.document  # others may add to what came late, also while the lock is ours
            news = {
                "lease": self._lease.model_copy(update={"renewed": timestamp(datetime.now(UTC))}),
                "late": now.late.removeprefix(folded),
                "serial": now.serial + 1,
            }
            wanted = now.model_copy(update={**ours, **news})
            try:
                self._found = self._register.swap(self._found, wanted, message)
            except (Lost, Occupied, Unsure) as error:
                doubt = None if isinstance(error, Lost) else error
                if self._look_again(wanted, doubt, began=began, end=end):
                    break
                if doubt is not None:
                    if self._pace.clock() >= end:
                        raise self._unavailable(str(doubt)) from error
                    self._ended.wait(pause)
                    pause = min(2 * pause, 5.0)
            else:
                self._changed_at = began
                break

    def _look_again(self, wanted: Document, doubt: Exception | None, *, began: float, end: float) -> bool:
        """After a refusal, or no answer: whether the register has `wanted` all the same. Takes what it has for known.

        Raises `StateLocked` when somebody else has the lock.
        """
        try:
            found = self._register.read()
        except StateUnavailable:
            if self._pace.clock() >= end:
                raise
            self._ended.wait(0.2)
            return False
        theirs = found.document.lease
        if theirs is None or theirs.holder != self._lease.holder:
            self._lost = self._taken_over(theirs)
            raise self._lost
        if found.document == wanted:
            self._found, self._changed_at = found, began
            return True
        if doubt is None or found.document.serial >= wanted.serial:  # an earlier change of ours came late
            self._found = found
        return False

    def _unavailable(self, why: str) -> StateUnavailable:
        return StateUnavailable(one_line(f"the state {self._register} cannot be written: {why}"), _AGAIN)

    def _taken_over(self, theirs: Lease | None) -> StateLocked:
        by = f"by {theirs}" if theirs else "and given back"
        message = one_line(f"the lock of the state {self._register} was taken over meanwhile, {by}")
        return StateLocked(message, "this run has stopped; run the command again: it settles what was cut off")

    def _renew(self) -> None:
        every = _RENEWED * self._lease.seconds
        while not self._ended.wait(max(0.01, every - (self._pace.clock() - self._changed_at))):
            if self._pace.clock() - self._changed_at < every:
                continue
            try:
                self.change("the lock goes on")
            except StateError:
                if self._lost:
                    return
                self._ended.wait(every / 5)

    def give_back(self, message: str) -> None:
        """End the lease, so that the next one need not wait. A lease that cannot be given back ends by itself."""
        self._ended.set()
        with self._busy:
            for _ in range(3):
                if self._lost:
                    return
                update = {"lease": None, "serial": self.document.serial + 1}
                try:
                    self._found = self._register.swap(self._found, self.document.model_copy(update=update), message)
                except (Lost, Unsure, Occupied, StateError):
                    if not self._still_ours():
                        return
                else:
                    return

    def _still_ours(self) -> bool:
        try:
            self._found = self._register.read()
        except StateError:
            return False
        theirs = self._found.document.lease
        return theirs is not None and theirs.holder == self._lease.holder
