"""The parts of uploads on disk: a folder for each upload, with a file for each PUT.

A PUT never touches what an earlier one wrote: it makes a file of its own, and the record in the database says which
file is the part. So a repeated, concurrent or torn PUT cannot change a part that was acknowledged, which it could if
all wrote into one file at their offsets. The price is that the bytes are copied once when the upload is complete; they
are read then anyway, for the checksum.
"""

from __future__ import annotations

import base64
import contextlib
import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import google_crc32c

from reconciler.service.contents import sync_folder, untouched_since
from reconciler.service.folder import DataFolder
from reconciler.service.ids import new_id


class PartWriter:
    """One PUT on its way to disk. It opens nothing before the first `write`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: BinaryIO | None = None
        self._digest = hashlib.md5(usedforsecurity=False)  # what storage services give as the ETag of a part
        self.size = 0

    @property
    def place(self) -> str:
        """What `PartFiles` finds the bytes by."""
        return self._path.name

    def write(self, data: bytes) -> None:
        """Add bytes, perhaps none."""
        if self._file is None:
            self._path.parent.mkdir(exist_ok=True)
            self._file = self._path.open("xb")
        self._file.write(data)
        self._digest.update(data)
        self.size += len(data)

    def seal(self) -> str:
        """Force what was written to disk. Returns the token of the part, which is made of its bytes."""
        assert self._file is not None
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        sync_folder(self._path.parent)
        return self._digest.hexdigest()

    def discard(self) -> None:
        """Take the bytes back."""
        if self._file is not None:
            with contextlib.suppress(OSError):  # closing writes what is buffered, and the disk may be full
                self._file.close()
            self._path.unlink(missing_ok=True)


class PartFiles:
    """The parts below one data folder."""

    def __init__(self, folder: DataFolder) -> None:
        self._root = folder.uploads

    def begin(self, upload_id: str) -> PartWriter:
        """A place for one more PUT."""
        return PartWriter(self._root / upload_id / new_id("prt"))

    def size(self, upload_id: str, place: str) -> int | None:
        """The bytes in a place; None when it is gone."""
        try:
            return (self._root / upload_id / place).stat().st_size
        except FileNotFoundError:
            return None

    def discard(self, upload_id: str, place: str) -> None:
        """Remove what another PUT has replaced."""
        with contextlib.suppress(OSError):  # what stays goes with the folder
            (self._root / upload_id / place).unlink(missing_ok=True)

    def joined(self, upload_id: str, places: Sequence[str]) -> Joined:
        """The bytes in these places, one after the other."""
        return Joined([self._root / upload_id / place for place in places])

    def remove(self, upload_id: str) -> None:
        """Delete all parts of an upload. Nothing happens when there are none."""
        shutil.rmtree(self._root / upload_id, ignore_errors=True)

    def stored(self, *, older_than: float) -> list[str]:
        """The uploads that have parts on disk, and none newer than the POSIX time `older_than`."""
        return untouched_since(older_than, self._root)

    @contextmanager
    def lock(self, upload_id: str, *, shared: bool = False) -> Iterator[None]:
        """Held, by one or shared by many, while the parts must not change. Raises `BlockingIOError` when it is taken.

        The system frees it when its process dies, and other processes on the folder see it.
        """
        folder = self._root / upload_id
        folder.mkdir(exist_ok=True)
        with (folder / "lock").open("ab") as handle:
            fcntl.flock(handle, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
            yield


class Joined:
    """Files read as one, with the checksum of what was read."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = iter(paths)
        self._file: BinaryIO | None = None
        self._crc = 0

    def read(self, size: int = 1 << 20, /) -> bytes:
        """Up to `size` bytes; none at the end of the last file."""
        while True:
            if self._file is None:
                path = next(self._paths, None)
                if path is None:
                    return b""
                self._file = path.open("rb", buffering=0)
            if data := self._file.read(size):
                self._crc = google_crc32c.extend(self._crc, data)
                return data
            self.close()

    def close(self) -> None:
        """Let go of the file that is being read."""
        if self._file is not None:
            self._file.close()
            self._file = None

    @property
    def checksum(self) -> str:
        """CRC32C of all that was read: four bytes, the highest first, in base64."""
        return base64.b64encode(self._crc.to_bytes(4, "big")).decode()
