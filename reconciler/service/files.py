"""The files of the organisation: one flat space of names, where a name's content may be replaced.

`file_id` is the name, `file_uid` one content under it. A content that a job refers to is kept when its name is
deleted or gets other content, so that the job reads what it was made with.
"""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass
from datetime import datetime
from typing import Any, BinaryIO

from reconciler.service.attributes import attributes
from reconciler.service.clock import Clock, stamp
from reconciler.service.contents import Contents
from reconciler.service.database import Database
from reconciler.service.errors import ApiError, refuse
from reconciler.service.ids import new_id

ACCEPTED_TYPES = ("image/jpeg", "image/png", "video/mp4", "text/plain", "text/csv", "application/json")
_LONGEST_NAME = 200  # bytes; leaves room below the 255 of most file systems
_FAR = 1 << 62
_ORPHAN_AGE = 3600.0  # seconds; an upload that has taken longer than this has no process behind it


@dataclass(frozen=True, slots=True)
class StoredFile:
    """One content of one name. `attributes` is what `attributes.attributes` found in it."""

    seq: int
    file_id: str
    file_uid: str
    file_type: str
    num_bytes: int
    attributes: dict[str, Any]
    created_at: str


@dataclass(frozen=True, slots=True)
class FileSlice:
    """A page of files, newest first, and the cursors around it."""

    files: list[StoredFile]
    next_cursor: str | None
    prev_cursor: str | None


def _stored(row: sqlite3.Row) -> StoredFile:
    return StoredFile(
        seq=row["seq"],
        file_id=row["file_id"],
        file_uid=row["file_uid"],
        file_type=row["file_type"],
        num_bytes=row["num_bytes"],
        attributes=json.loads(row["attributes"]),
        created_at=row["created_at"],
    )


def check_name(filename: str) -> None:
    """Raises `ApiError` 400 for names that could not be a file's name, or would be shown wrongly."""
    if not filename:
        raise refuse(400, "missing_parameter", "the uploaded part has no file name", "send filename=… with it")
    if filename in {".", ".."} or "/" in filename or "\\" in filename or not filename.isprintable():
        raise refuse(
            400,
            "invalid_parameter",
            f"{filename!r} cannot be a file name",
            "use a plain name, without slashes and control characters",
        )
    if len(filename.encode()) > _LONGEST_NAME:
        raise refuse(400, "invalid_parameter", f"the file name is longer than {_LONGEST_NAME} bytes")


class Files:
    """Names and contents together."""

    def __init__(self, database: Database, contents: Contents, clock: Clock) -> None:
        self._database = database
        self._contents = contents
        self._clock = clock

    def put(self, org_id: str, filename: str, file_type: str, source: BinaryIO) -> StoredFile:
        """Store `source` under `filename`; what was there before is replaced."""
        check_name(filename)
        if file_type not in ACCEPTED_TYPES:
            raise refuse(
                400,
                "invalid_file_type",
                f"files of type {file_type or 'unknown'!r} are not taken",
                f"declare the part as one of {', '.join(ACCEPTED_TYPES)} (JSON lines go as text/plain)",
            )
        uid = new_id("fil")
        try:
            path = self._contents.receive(uid, filename, source)
            found = attributes(path, file_type)
            num_bytes = path.stat().st_size
            self._contents.publish(uid)
            return self.register(org_id, uid, filename, file_type, num_bytes, found)
        except BaseException:
            self._contents.remove(uid)
            raise

    def register(
        self, org_id: str, uid: str, filename: str, file_type: str, num_bytes: int, found: dict[str, Any]
    ) -> StoredFile:
        """Put a published content under its name; what was there before is replaced."""
        with self._database.write() as tx:
            unused = self._retire(tx, org_id, filename)
            tx.execute(
                "INSERT INTO files (org_id, file_uid, file_id, file_type, num_bytes, attributes, created_at)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                (org_id, uid, filename, file_type, num_bytes, json.dumps(found), stamp(self._clock())),
            )
            row = tx.execute("SELECT * FROM files WHERE file_uid = ?", (uid,)).fetchone()
        if unused:
            self._contents.remove(unused)
        return _stored(row)

    def _retire(self, tx: sqlite3.Connection, org_id: str, file_id: str) -> str | None:
        """Take the current content of a name out of use. The uid of a content that no job needs, to be removed."""
        row = _current(tx, org_id, file_id)
        if row is None:
            return None
        uid = str(row["file_uid"])
        if tx.execute("SELECT 1 FROM inputs WHERE file_uid = ? LIMIT 1", (uid,)).fetchone():
            tx.execute("UPDATE files SET current = 0 WHERE file_uid = ?", (uid,))
            return None
        tx.execute("DELETE FROM files WHERE file_uid = ?", (uid,))
        return uid

    def get(self, org_id: str, file_id: str) -> StoredFile:
        """The current content of a name. Raises `ApiError` 404."""
        with self._database.read() as tx:
            row = _current(tx, org_id, file_id)
        if row is None:
            raise _no_file(file_id)
        return _stored(row)

    def delete(self, org_id: str, file_id: str) -> StoredFile:
        """Take the name out of use, and its content unless a job refers to it. Raises `ApiError` 404."""
        with self._database.write() as tx:
            row = _current(tx, org_id, file_id)
            if row is None:
                raise _no_file(file_id)
            unused = self._retire(tx, org_id, file_id)
        if unused:
            self._contents.remove(unused)
        return _stored(row)

    def page(self, org_id: str, *, limit: int, after: str | None, before: str | None) -> FileSlice:
        """Files newest first: those behind the cursor `after`, before the cursor `before`, or between the two."""
        low, high = (-1 if before is None else int(before)), (_FAR if after is None else int(after))
        with self._database.read() as tx:
            # Without `after`, the page is the one just before `before`, not the newest of all.
            direction = "ASC" if before is not None and after is None else "DESC"
            window = "SELECT * FROM files WHERE current AND org_id = ? AND seq > ? AND seq < ?"
            query = f"{window} ORDER BY seq {direction} LIMIT ?"
            rows = tx.execute(query, (org_id, low, high, limit)).fetchall()
            rows.sort(key=lambda row: -int(row["seq"]))
            if not rows:
                return FileSlice([], None, None)
            newest, oldest = rows[0]["seq"], rows[-1]["seq"]
            older = tx.execute(
                "SELECT 1 FROM files WHERE current AND org_id = ? AND seq < ? LIMIT 1", (org_id, oldest)
            ).fetchone()
            newer = tx.execute(
                "SELECT 1 FROM files WHERE current AND org_id = ? AND seq > ? LIMIT 1", (org_id, newest)
            ).fetchone()
        return FileSlice(
            [_stored(row) for row in rows],
            str(oldest) if older else None,
            str(newest) if newer else None,
        )

    def totals(self, org_id: str) -> tuple[int, int, float]:
        """Number of files, their bytes, and when the newest came (seconds since 1970)."""
        with self._database.read() as tx:
            count, size, last = tx.execute(
                "SELECT COUNT(*), COALESCE(SUM(num_bytes), 0), MAX(created_at) FROM files WHERE current AND org_id = ?",
                (org_id,),
            ).fetchone()
        return count, size, datetime.fromisoformat(last).timestamp() if last else 0.0

    def sweep(self) -> None:
        """Remove contents without a record: what a killed process left behind."""
        for content_id in self._contents.stored(older_than=self._clock().timestamp() - _ORPHAN_AGE):
            with self._database.read() as tx:
                known = tx.execute(
                    "SELECT 1 FROM files WHERE file_uid = ?1 UNION ALL SELECT 1 FROM outputs WHERE id = ?1"
                    " UNION ALL SELECT 1 FROM checkpoints WHERE id = ?1",
                    (content_id,),
                ).fetchone()
            if not known:
                self._contents.remove(content_id)


def _current(tx: sqlite3.Connection, org_id: str, file_id: str) -> sqlite3.Row | None:
    query = "SELECT * FROM files WHERE current AND org_id = ? AND file_id = ?"
    row: sqlite3.Row | None = tx.execute(query, (org_id, file_id)).fetchone()
    return row


def _no_file(file_id: str) -> ApiError:
    return refuse(404, "file_not_found", f"there is no file {file_id!r}", "GET /files/metadata lists the files")
