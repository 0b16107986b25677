"""The user's cache folder: what can be deleted at any time, and is worth nothing to anybody else.

Only what nobody but this user can have written is read from it, and only whole. That it cannot be written is no fault.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import stat
from importlib.util import find_spec
from pathlib import Path

from reconciler import __version__
from reconciler.durable import read_file, replace_file

_HEAD = b"reconciler cache 1\n"
_DIGEST = 32
_MOST = 100
"""Files in the folder. The oldest go first."""
_READ_WITH = ("yaml", "pydantic", "jsonschema_rs", "jsonschema", "rfc8785")


class Cache:
    """Files by name in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def has(self, name: str) -> bool:
        return _is_ours(self._folder) and _is_ours(self._folder / name)

    def read(self, name: str) -> memoryview | None:
        """What `write` was given. None for a file that is damaged, or not there."""
        try:
            data = read_file(self._folder / name) if self.has(name) else None
        except OSError:
            return None
        if data is None:
            return None
        start = len(_HEAD) + _DIGEST
        rest = memoryview(data)[start:]
        whole = data.startswith(_HEAD) and data[len(_HEAD) : start] == hashlib.sha256(rest).digest()
        return rest if whole else None

    def write(self, name: str, data: bytes) -> None:
        with contextlib.suppress(OSError):
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if _is_ours(self._folder):
                replace_file(self._folder / name, _HEAD + hashlib.sha256(data).digest() + data)
                self._forget_oldest()

    def _forget_oldest(self) -> None:
        ages = sorted((entry.stat().st_mtime_ns, entry.name) for entry in self._folder.iterdir())
        for _, name in ages[: max(0, len(ages) - _MOST)]:
            (self._folder / name).unlink(missing_ok=True)


@functools.cache
def tool() -> bytes:
    """A digest of this version of the tool, to the byte, and of what it reads specs with."""
    digest = hashlib.sha256(__version__.encode())
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    for name in _READ_WITH:
        found = find_spec(name)
        if found is not None and found.origin:
            # Beside a package is a folder that has its version in its name.
            beside = Path(found.origin).parents[1].glob(f"*{name.replace('_', '?')}-*.dist-info")
            digest.update("\n".join([name, *sorted(path.name for path in beside)]).encode())
    return digest.digest()


def _is_ours(path: Path) -> bool:
    """Whether nobody but this user can have written it."""
    try:
        status = path.stat(follow_symlinks=False)
    except OSError:
        return False
    return status.st_uid == os.geteuid() and not status.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
