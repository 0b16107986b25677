"""The user's cache folder: what can be deleted at any time, and is worth nothing to anybody else.

Only what nobody but this user can have written is read from it. That it cannot be written is no fault.
"""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path

from reconciler.durable import read_file, replace_file

_MOST = 100
"""Files in the folder. The oldest go first."""


class Cache:
    """Files by name in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def has(self, name: str) -> bool:
        return _is_ours(self._folder) and _is_ours(self._folder / name)

    def read(self, name: str) -> bytes | None:
        try:
            return read_file(self._folder / name) if self.has(name) else None
        except OSError:
            return None

    def write(self, name: str, data: bytes) -> None:
        with contextlib.suppress(OSError):
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if _is_ours(self._folder):
                replace_file(self._folder / name, data)
                self._forget_oldest()

    def _forget_oldest(self) -> None:
        ages = sorted((entry.stat().st_mtime_ns, entry.name) for entry in self._folder.iterdir())
        for _, name in ages[: max(0, len(ages) - _MOST)]:
            (self._folder / name).unlink(missing_ok=True)


def _is_ours(path: Path) -> bool:
    """Whether nobody but this user can have written it."""
    try:
        status = path.stat(follow_symlinks=False)
    except OSError:
        return False
    return status.st_uid == os.geteuid() and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
