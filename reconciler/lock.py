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
import socket
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

from reconciler.errors import StateError, StateLocked

_POLL = 0.1


@contextlib.contextmanager
def locked(
    path: Path, command: str, timeout: float = 0.0, sleep: Callable[[float], None] = time.sleep
) -> Iterator[None]:
    """Hold the lock file `path` for the length of the block, waiting at most `timeout` seconds for it.

    Raises `StateLocked` when another process holds it, and `StateError` when the file cannot be made.
    """
    descriptor = _open(path)
    try:
        _acquire(descriptor, path, timeout, sleep)
        _write_holder(descriptor, command)
        yield
    finally:
        os.close(descriptor)


def _open(path: Path) -> int:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        hint = "the folder of the state must be writable; nothing was done"
        raise StateError(f"the lock {path} cannot be opened: {error.strerror}", hint) from error


def _acquire(descriptor: int, path: Path, timeout: float, sleep: Callable[[float], None]) -> None:
    waited = 0.0
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if waited >= timeout:
                hint = "wait for it, or give --lock-timeout; the lock is freed when its holder ends"
                raise StateLocked(f"the state is locked by {_holder(path)}", hint) from error
            sleep(_POLL)
            waited += _POLL
        else:
            return


def _write_holder(descriptor: int, command: str) -> None:
    holder = {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "user": _user(),
        "command": command,
        "since": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
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


def _holder(path: Path) -> str:
    try:
        note = json.loads(path.read_bytes())
        return "'{command}' of {user} on {host}, pid {pid}, since {since}".format(**note)
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"
