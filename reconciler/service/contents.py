"""Bytes on disk: each content is a folder named by its id, with one file in it under the name that users gave.

A content appears whole or not at all: it is written elsewhere, forced to disk, and renamed.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
from pathlib import Path
from typing import Protocol

from reconciler.service.folder import DataFolder
from reconciler.service.names import disk_name

_CHUNK = 1 << 20


class Readable(Protocol):
    """Where bytes come from; no bytes are the end."""

    def read(self, size: int = ..., /) -> bytes: ...


class EscapingOutput(ValueError):
    """A worker named a path that is not a plain file of its own output folder."""


def sync_folder(path: Path) -> None:
    """Make the names in the folder `path` durable."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def untouched_since(moment: float, parent: Path) -> list[str]:
    """What in the folder `parent` was last touched before the POSIX time `moment`. Others may be at work in it."""
    found = []
    with os.scandir(parent) as entries:
        for entry in entries:
            with contextlib.suppress(FileNotFoundError):  # it has gone meanwhile
                if entry.stat().st_mtime < moment:
                    found.append(entry.name)
    return found


class Contents:
    """The contents of one data folder."""

    def __init__(self, folder: DataFolder) -> None:
        self._folder = folder

    def receive(self, content_id: str, filename: str, source: Readable) -> Path:
        """Write `source` to the place of the content; not visible before `publish`. Returns the file's path."""
        target = self._folder.incoming / content_id / disk_name(filename)
        target.parent.mkdir()
        with target.open("xb") as file:
            shutil.copyfileobj(source, file, _CHUNK)
            file.flush()
            os.fsync(file.fileno())
        target.chmod(0o444)
        sync_folder(target.parent)
        return target

    def publish(self, content_id: str) -> None:
        """Move a received content to where `path` finds it."""
        (self._folder.incoming / content_id).rename(self._folder.contents / content_id)
        sync_folder(self._folder.contents)

    def take_over(self, content_id: str, output_dir: Path, relative: str) -> Path:
        """Move the file `relative` of a worker's `output_dir` into a content. Raises `EscapingOutput`.

        A content that is there already was taken over before, and is left as it is. One that was moved away from the
        worker, but not published, is finished: the service died in between, and the file is nowhere else.
        """
        taken = self._folder.contents / content_id
        if taken.is_dir():
            return next(taken.iterdir())
        holder = self._folder.incoming / content_id
        try:
            holder.mkdir(exist_ok=True)
            held = next(holder.iterdir(), None)
            if held is None:
                source = _plain_file(output_dir, relative)
                held = holder / source.name
                source.rename(held)
            _seal(held, relative)
            sync_folder(holder)
            self.publish(content_id)
        except EscapingOutput:
            self.remove(content_id)
            raise
        return taken / held.name

    def path(self, content_id: str, filename: str) -> Path:
        """Where the content's file is."""
        return self._folder.contents / content_id / disk_name(filename)

    def remove(self, content_id: str) -> None:
        """Delete a content, wherever it is. Nothing happens when there is none."""
        for parent in (self._folder.contents, self._folder.incoming):
            shutil.rmtree(parent / content_id, ignore_errors=True)

    def stored(self, *, older_than: float) -> list[str]:
        """The ids of all contents on disk that were last touched before the POSIX time `older_than`."""
        parents = (self._folder.contents, self._folder.incoming)
        return [name for parent in parents for name in untouched_since(older_than, parent)]


def _seal(path: Path, relative: str) -> None:
    """Look at the file again, now that the worker can no longer swap it, and force it to disk."""
    handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
            raise EscapingOutput(f"the output {relative!r} is not a plain file with one name")
        os.fchmod(handle, 0o444)
        os.fsync(handle)
    finally:
        os.close(handle)


def _plain_file(output_dir: Path, relative: str) -> Path:
    parts = Path(relative).parts
    if not parts or "\0" in relative or Path(relative).is_absolute() or ".." in parts:
        raise EscapingOutput(f"the output path {relative!r} must be relative and stay inside the output folder")
    source = output_dir.joinpath(*parts)
    try:
        real = source.resolve(strict=True)
    except (OSError, RuntimeError) as error:
        raise EscapingOutput(f"there is no output file {relative!r}") from error
    if real != output_dir.resolve().joinpath(*parts) or not real.is_file():
        raise EscapingOutput(
            f"the output {relative!r} is not a plain file of the output folder (symbolic links are not taken)"
        )
    return real
