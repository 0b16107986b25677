"""Patterns of files: `*`, `?` and `[…]` inside of a name, `**` for folders at any depth.

They never match a hidden name, and `**` follows no links, so that it ends. What a pattern names is a matter of the
files alone: not of the system, and not of the order in which a folder lists them.
"""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from reconciler.check import did_you_mean

LIMIT = 37_000
"""Files of one pattern. The platform has refused a job with as many inputs."""
_VISITED = 1_000_000
_MAGIC = re.compile(r"[*?[]")


class TooMany(Exception):
    """More files match than a job can have, or more names would have to be looked at than makes sense."""


def is_pattern(written: str) -> bool:
    """Whether `written` may stand for several files."""
    return _MAGIC.search(written) is not None


def matches(folder: Path, pattern: str) -> list[Path]:
    """The files below `folder` that `pattern` names, sorted by their paths. A folder is never one of them; a link that
    leads nowhere is, so that it is not left out unseen.

    Raises OSError for a folder that cannot be listed, and `TooMany`.
    """
    found: set[Path] = set()
    start, rest = _start(folder, pattern)
    for path in _Walk().below(start, rest):
        found.add(path)
        if len(found) > LIMIT:
            raise TooMany
    return sorted(found, key=lambda path: path.as_posix())


def suggestion(folder: Path, pattern: str) -> str | None:
    """What could have been meant by a pattern that nothing matches: the nearest folder, or file."""
    start, rest = _start(folder, pattern)
    while not start.is_dir() and start != start.parent:
        if start.parent.is_dir():
            near = did_you_mean(start.name, _names(start.parent))
            return near or f"there is no folder {start.name!r} in {start.parent.name or str(start.parent)!r}"
        start = start.parent
    names = _names(start)
    near = did_you_mean(rest[-1], names) if len(rest) == 1 else None
    return near or (f"{start.name!r} has, for example, {names[0]!r}" if names else f"{start.name!r} is empty")


def _names(folder: Path) -> list[str]:
    try:
        return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))
    except OSError:
        return []


def _start(folder: Path, pattern: str) -> tuple[Path, Sequence[str]]:
    """The folder that a pattern begins at, and its parts from the first with a wildcard on."""
    parts = [part for part in pattern.split("/") if part not in ("", ".")]
    plain = next((i for i, part in enumerate(parts) if is_pattern(part)), len(parts))
    top = Path("/") if pattern.startswith("/") else folder
    return top.joinpath(*parts[:plain]), parts[plain:]


class _Walk:
    """One walk, with a bound on the names that it looks at."""

    def __init__(self) -> None:
        self._visited = 0

    def below(self, folder: Path, parts: Sequence[str]) -> Iterator[Path]:
        """The files below `folder` that `parts` name; one may come more than once."""
        part, rest = parts[0], parts[1:]
        if part == "**":
            yield from self.below(folder, rest or ("*",))
            for entry in self._entries(folder):
                if entry.is_dir(follow_symlinks=False) and not entry.name.startswith("."):
                    yield from self.below(Path(entry.path), parts)
            return
        if not is_pattern(part):
            path = folder / part
            if rest and path.is_dir():
                yield from self.below(path, rest)
            elif not rest and os.path.lexists(path) and not path.is_dir():
                yield path
            return
        wanted = re.compile(fnmatch.translate(part))
        for entry in self._entries(folder):
            hidden = entry.name.startswith(".") and not part.startswith(".")
            if hidden or not wanted.match(entry.name) or entry.is_dir() != bool(rest):
                continue
            if rest:
                yield from self.below(Path(entry.path), rest)
            else:
                yield Path(entry.path)

    def _entries(self, folder: Path) -> list[os.DirEntry[str]]:
        try:
            with os.scandir(folder) as entries:
                found = list(entries)
        except (FileNotFoundError, NotADirectoryError):
            return []
        self._visited += len(found)
        if self._visited > _VISITED:
            raise TooMany
        return found
