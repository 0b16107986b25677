"""The records of uploads in parts: what was announced, which parts came, and whether it is over."""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from reconciler.service.errors import refuse

OPEN, COMPLETED, ABORTED = "UPLOADING", "COMPLETED", "ABORTED"


@dataclass(frozen=True, slots=True)
class Part:
    """Which bytes of the file a part holds. `number` begins at 1."""

    number: int
    offset: int
    length: int


@dataclass(frozen=True, slots=True)
class Upload:
    """What is to become a file."""

    id: str
    org_id: str
    file_uid: str
    filename: str
    file_type: str
    num_bytes: int
    part_size: int
    status: str

    @property
    def num_parts(self) -> int:
        """At least one: an empty file has one empty part."""
        return max(1, -(-self.num_bytes // self.part_size))

    def part(self, number: int) -> Part:
        """Raises `ApiError` 400 when the upload has no such part."""
        if not 1 <= number <= self.num_parts:
            raise refuse(400, "invalid_parameter", f"there is no part {number}", f"they are 1 to {self.num_parts}")
        offset = (number - 1) * self.part_size
        return Part(number, offset, min(self.part_size, self.num_bytes - offset))


def _upload(row: sqlite3.Row) -> Upload:
    return Upload(**{name: row[name] for name in Upload.__dataclass_fields__})


def find_upload(tx: sqlite3.Connection, upload_id: str, org_id: str | None = None) -> Upload:
    """The upload, of any organisation or of one. Raises `ApiError` 404."""
    query = "SELECT * FROM uploads WHERE id = ?1 AND org_id = COALESCE(?2, org_id)"
    row = tx.execute(query, (upload_id, org_id)).fetchone()
    if row is None:
        raise refuse(404, "upload_not_found", f"there is no upload {upload_id!r}", "POST /files/uploads/initiate")
    return _upload(row)


def open_upload(tx: sqlite3.Connection, upload_id: str, org_id: str | None = None) -> Upload:
    """The upload, which is not over. Raises `ApiError` 404 or 409."""
    upload = find_upload(tx, upload_id, org_id)
    if upload.status != OPEN:
        raise refuse(409, "conflict", f"the upload {upload_id} is {upload.status.lower()} already")
    return upload


def begun(tx: sqlite3.Connection, org_id: str, filename: str) -> list[Upload]:
    """The uploads under this name that are not over, newest first."""
    query = "SELECT * FROM uploads WHERE org_id = ? AND filename = ? AND status = ? ORDER BY created_at DESC"
    return [_upload(row) for row in tx.execute(query, (org_id, filename, OPEN))]


def part_rows(tx: sqlite3.Connection, upload_id: str) -> list[sqlite3.Row]:
    """The parts that have come, in order."""
    return tx.execute("SELECT * FROM upload_parts WHERE upload_id = ? ORDER BY part_number", (upload_id,)).fetchall()


def all_parts(upload: Upload) -> list[Part]:
    """All parts of the upload, in order."""
    return [upload.part(number) for number in range(1, upload.num_parts + 1)]


def check_tokens(upload: Upload, tokens: Mapping[int, str], rows: Mapping[int, sqlite3.Row]) -> None:
    """Raises `ApiError` 400 with the parts that are not of this upload, or whose bytes have another token."""
    for number in tokens:
        upload.part(number)
    wrong = [n for n, token in tokens.items() if n not in rows or rows[n]["token"] != token]
    if wrong:
        raise refuse(
            400,
            "invalid_parameter",
            f"part_token of {some(wrong)}: the part that came last has another token, or none came",
            "PUT the part again and send the ETag of the answer",
        )


def some(numbers: Sequence[int]) -> str:
    """The numbers for a message, the first ten of them."""
    shown = [str(number) for number in numbers[:10]]
    return ", ".join([*shown, "…"] if len(numbers) > len(shown) else shown)
