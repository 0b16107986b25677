"""Reading a file that is being sent: what leaves is what the plan was made from, or it does not arrive whole."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import os
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import TracebackType

from reconciler.errors import PlatformError
from reconciler.job import Upload

BLOCK = 1 << 20
"""Bytes that are read at a time."""
Sent = Callable[[int], None]
"""Told of bytes that have left; a negative number takes back what must be sent again."""


class Changed(PlatformError):
    """The file is not what the plan was made from."""

    def __init__(self, upload: Upload) -> None:
        super().__init__(f"{upload.path} has changed since the plan was made", "plan again")


class Whole:
    """A file as one stream. Its last bytes are only read when all of it is what it should be."""

    def __init__(self, upload: Upload, path: Path, sent: Sent) -> None:
        self._upload = upload
        self._file = path.open("rb")
        self._size = os.fstat(self._file.fileno()).st_size
        self._digest = hashlib.sha256()
        self._sent = sent
        self._told = 0
        self.changed = False

    def fileno(self) -> int:
        """httpx asks the file for its size."""
        return self._file.fileno()

    def read(self, size: int = -1) -> bytes:
        """Some bytes. Raises `Changed` instead of the last ones."""
        data = self._file.read(size if size >= 0 else BLOCK)
        self._told += len(data)
        if self._upload.digest:
            self._digest.update(data)
            over = self._told >= self._size or not data
            if over and (self._told != self._size or f"sha256:{self._digest.hexdigest()}" != self._upload.digest):
                self.changed = True
                raise Changed(self._upload)
        self._sent(len(data))
        return data

    def close(self, *, again: bool) -> None:
        """No more is read. `again`: what was sent does not count."""
        if again:
            self._sent(-self._told)
        self._file.close()


class Parted:
    """A file that is sent in parts, in any order. A context manager."""

    def __init__(self, upload: Upload, path: Path) -> None:
        self._upload = upload
        self._path = path
        self.changed = False

    def __enter__(self) -> Parted:
        self._fd = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        self._first = self._stamp()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._fd)

    def _stamp(self) -> tuple[int, int]:
        status = os.fstat(self._fd)
        return status.st_size, status.st_mtime_ns

    def still_same(self) -> None:
        """Raises `Changed` when the file has another size than it should, or was written to since it was opened."""
        if self._stamp() != self._first or self._first[0] != self._upload.num_bytes:
            raise Changed(self._upload)

    def checksum(self) -> str:
        """CRC32C of the whole: four bytes, the highest first, in base64. Raises `Changed` for another content."""
        import google_crc32c

        digest, crc, offset = hashlib.sha256(), 0, 0
        while data := os.pread(self._fd, BLOCK, offset):
            digest.update(data)
            crc = google_crc32c.extend(crc, data)
            offset += len(data)
        if offset != self._upload.num_bytes or (
            self._upload.digest and f"sha256:{digest.hexdigest()}" != self._upload.digest
        ):
            raise Changed(self._upload)
        return base64.b64encode(int(crc).to_bytes(4, "big")).decode()

    def _read(self, length: int, offset: int) -> bytes:
        data = os.pread(self._fd, length, offset)
        if not data:
            self.changed = True
            raise Changed(self._upload)
        return data

    async def blocks(self, offset: int, length: int, sent: Sent) -> AsyncIterator[bytes]:
        """The bytes from `offset` on. Raises `Changed` when there are less than `length`."""
        end = offset + length
        while offset < end:
            data = await asyncio.to_thread(self._read, min(BLOCK, end - offset), offset)
            yield data
            offset += len(data)
            sent(len(data))
