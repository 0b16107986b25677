"""The lock of a state: an advisory lock that the operating system frees when its holder dies.

`filelock` empties the file when it opens it, and with it the note about the holder; so this is `flock` itself. The
file is never removed: that would let a second holder in.
"""

from __future__ import annotations

import contextlib
import fcntl
import getpass
import json
import os
import shlex
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from reconciler.durable import make_folder, read_file
from reconciler.errors import StateError, StateLocked
from reconciler.job import timestamp
from reconciler.text import one_line

_POLL = 0.1
_EVERY = 60.0  # seconds between two signs that a lock is waited for
_WATCHING = frozenset({"wait", "apply --wait"})
"""Commands that hold it for as long as jobs run, with little to do."""

_NETWORK = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "ceph", "glusterfs", "lustre", "afs", "ncpfs"})
"""File systems on which another host may hold a lock that this one does not see."""


@contextlib.contextmanager
def locked(path: Path, command: str, shared: Callable[[Path], bool] | None = None) -> Iterator[Callable[[], None]]:
    """Hold the lock file `path` for the length of the block. Yields a check that it is still held.

    Raises `StateLocked` when another process holds it, or another host may, and `StateError` when the file cannot be
    made. `shared` tells whether a folder is on a network file system.
    """
    descriptor = _open(path)
    try:
        _acquire(descriptor, path)
        _refuse_other_host(path, shared or on_network)
        _write_holder(descriptor, command)
        try:
            yield lambda: _still_ours(descriptor, path)
        finally:
            with contextlib.suppress(OSError):
                os.ftruncate(descriptor, 0)  # a holder that has ended leaves no note, only one that was killed
    finally:
        os.close(descriptor)


def _still_ours(descriptor: int, path: Path) -> None:
    """Raises `StateError` when the lock file was removed or replaced: another process may hold the new one."""
    ours = os.fstat(descriptor)
    try:
        there = path.stat(follow_symlinks=False)
    except OSError:
        there = None
    if there is None or (there.st_dev, there.st_ino) != (ours.st_dev, ours.st_ino):
        hint = "see that nothing else uses this state, then run the command again: the journal has what was done"
        raise StateError(f"the lock {path} was removed while it was held", hint)


def _refuse_other_host(path: Path, shared: Callable[[Path], bool]) -> None:
    """Over a network a free lock proves nothing, if the note says that another host took it and never gave it back."""
    note = _note(path)
    if note.get("host") in (None, socket.gethostname()) or not shared(path.parent):
        return
    hint = (
        "locks may not reach across hosts on this network file system. If that command has ended, "
        f"empty its note: : > {shlex.quote(str(path))}"
    )
    raise StateLocked(f"the state is locked by {_holder(path)}, on another host", hint)


def on_network(folder: Path) -> bool:
    """Whether `folder` is on a network file system, as far as the system tells."""
    try:
        mounts = Path("/proc/self/mountinfo").read_text().splitlines()
        target = str(folder.resolve())
    except OSError:
        return False
    best, kind = "", ""
    for line in mounts:
        left, _, right = line.partition(" - ")
        point = left.split()[4].encode().decode("unicode_escape")
        if (target + "/").startswith(point.rstrip("/") + "/") and len(point) >= len(best):
            best, kind = point, right.split()[0]
    return kind in _NETWORK or kind.startswith("fuse.")


def _open(path: Path) -> int:
    try:
        make_folder(path.parent)
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        hint = "the folder of the state must be writable; nothing was done"
        raise StateError(f"the lock {path} cannot be opened: {error.strerror}", hint) from error


def _acquire(descriptor: int, path: Path) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        hint = "wait for it, or give --lock-timeout; the lock is freed when its holder ends"
        if _note(path).get("command") in _WATCHING:
            hint = f"Ctrl-C there ends the waiting, and cancels no job; or {hint}"
        raise StateLocked(f"the state is locked by {_holder(path)}", hint) from error
    except OSError as error:
        hint = "the folder of the state must be on a file system that has locks; nothing was done"
        raise StateError(f"the lock {path} cannot be taken: {error.strerror}", hint) from error


async def _sleep(seconds: float) -> None:
    import asyncio

    await asyncio.sleep(seconds)


@dataclass(slots=True)
class Waiting:
    """Tells people that the lock of `where` is waited for, and who has it: after a second, then once a minute."""

    where: str
    tell: Callable[[str], None]
    due: float | None = None

    def still(self, now: float, holder: str) -> None:
        """It is waited for at `now`, seconds of some clock, and `holder` has it."""
        if self.due is None:
            self.due = now + 1.0
        elif now >= self.due:
            self.due = now + _EVERY
            self.tell(one_line(f"Waiting for the lock of {self.where}, held by {holder}", 1000))


@contextlib.asynccontextmanager
async def locked_when_free(
    path: Path,
    command: str,
    timeout: float,
    sleep: Callable[[float], Awaitable[None]] = _sleep,
    waiting: Waiting | None = None,
) -> AsyncIterator[Callable[[], None]]:
    """As `locked`, but wait for it, at most `timeout` seconds. Signals are heard meanwhile: the event loop runs."""
    waited = 0.0
    with contextlib.ExitStack() as stack:
        while True:
            try:
                still_held = stack.enter_context(locked(path, command))
                break
            except StateLocked:
                if waited >= timeout:
                    raise
            if waiting is not None:
                waiting.still(waited, _holder(path))
            await sleep(_POLL)
            waited += _POLL
        yield still_held


def _write_holder(descriptor: int, command: str) -> None:
    holder = {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "user": _user(),
        "command": command,
        "since": timestamp(datetime.now(UTC)),
    }
    # The note helps a person; a full disk must not keep anybody from reading or settling.
    with contextlib.suppress(OSError):
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(holder).encode() + b"\n", 0)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def _note(path: Path) -> dict[str, Any]:
    try:
        note = json.loads(read_file(path) or b"{}")
    except (OSError, ValueError, RecursionError):
        return {}
    return note if isinstance(note, dict) else {}


def holder_of(path: Path) -> str:
    """Who has the lock file `path`, or had it when it was killed; empty when it was given back in good order."""
    return _holder(path) if _note(path) else ""


def _holder(path: Path) -> str:
    try:
        return one_line("'{command}' of {user} on {host}, pid {pid}, since {since}".format(**_note(path)))
    except (KeyError, TypeError, ValueError, RecursionError):
        return "another process"
