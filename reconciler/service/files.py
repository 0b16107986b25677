"""The files of the organisation: one flat space of names, where a name's content may be replaced.

`file_id` is the name, `file_uid` one content under it. A content that a job refers to is kept when its name is
deleted or gets other content, so that the job reads what it was made with.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from reconciler.service.attributes import attributes
from reconciler.service.clock import Clock, stamp
from reconciler.service.contents import Contents, Readable
from reconciler.service.database import Database
from reconciler.service.errors import ApiError, refuse
from reconciler.service.ids import new_id
from reconciler.service.names import LONGEST, is_name

ACCEPTED_TYPES = ("image/jpeg", "image/png", "video/mp4", "text/plain", "text/csv", "application/json")
REGISTERED = "REGISTERED"
CORRUPT = "CORRUPT"
_FAR = 1 << 62
_ORPHAN_AGE = 3600.0  # seconds; an upload that has taken longer than this has no process behind it


@dataclass(frozen=True, slots=True)
class StoredFile:
    """One content of one name. `attributes` is what `attributes.attributes` found in it. A content that is `CORRUPT`
    is not what was sent: there is nothing to read.
    """

    seq: int
    file_id: str
    file_uid: str
    file_type: str
    num_bytes: int
    status: str
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
        status=row["file_status"],
        attributes=json.loads(row["attributes"]),
        created_at=row["created_at"],
    )


def check_name(filename: str) -> None:
    """Raises `ApiError` 400 for names that could not be a file's name, or would be shown wrongly."""
    if not filename:
        raise refuse(400, "missing_parameter", "the file has no name", "send a filename with it")
    if not is_name(filename):
        raise refuse(
            400,
            "invalid_parameter",
            f"{filename[:200]!r} cannot be a file name",
            f"use a plain name of at most {LONGEST} characters, without slashes and invisible characters",
        )


def check_type(file_type: str, accepted: Sequence[str], hint: str = "") -> None:
    """Raises `ApiError` 400 for a type that is not one of `accepted`."""
    if file_type not in accepted:
        raise refuse(
            400,
            "invalid_file_type",
            f"files of type {file_type or 'unknown'!r} are not taken",
            f"declare the file as one of {', '.join(accepted)}{hint}",
        )


class Files:
    """Names and contents together."""

    def __init__(self, database: Database, contents: Contents, clock: Clock) -> None:
        self._database = database
        self._contents = contents
        self._clock = clock

    def put(self, org_id: str, filename: str, file_type: str, source: Readable) -> StoredFile:
        """Store `source` under `filename`; what was there before is replaced."""
        check_name(filename)
        check_type(file_type, ACCEPTED_TYPES, " (JSON lines go as text/plain)")
        uid = new_id("fil")
        try:
            path = self._contents.receive(uid, filename, source)
            found = attributes(path, file_type)
            num_bytes = path.stat().st_size
            self._contents.publish(uid)
            return self._register(org_id, uid, filename, file_type, num_bytes, found)
        except BaseException:
            self._contents.remove(uid)
            raise

    def _register(
        self, org_id: str, uid: str, filename: str, file_type: str, num_bytes: int, found: dict[str, Any]
    ) -> StoredFile:
        """Put a published content under its name; what was there before is replaced."""
        with self._database.write() as tx:
            stored, unused = self.insert(tx, org_id, uid, filename, file_type, num_bytes, found)
        if unused:
            self._contents.remove(unused)
        return stored

    def insert(
        self,
        tx: sqlite3.Connection,
        org_id: str,
        uid: str,
        filename: str,
        file_type: str,
        num_bytes: int,
        found: dict[str, Any],
        *,
        status: str = REGISTERED,
    ) -> tuple[StoredFile, str | None]:
        """Put a content under its name in the transaction `tx`. The content that nobody needs after the commit comes
        back too, to be removed.
        """
        unused = self._retire(tx, org_id, filename)
        tx.execute(
            "INSERT INTO files (org_id, file_uid, file_id, file_type, num_bytes, file_status, attributes, created_at)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            (org_id, uid, filename, file_type, num_bytes, status, json.dumps(found), stamp(self._clock())),
        )
        return _stored(tx.execute("SELECT * FROM files WHERE file_uid = ?", (uid,)).fetchone()), unused

    def _retire(self, tx: sqlite3.Connection, org_id: str, file_id: str) -> str | None:
        """Take the current content of a name out of use. The uid of a content that no job needs, to be removed."""
        row = current_file(tx, org_id, file_id)
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
            row = current_file(tx, org_id, file_id)
        if row is None:
            raise _no_file(file_id)
        return _stored(row)

    def delete(self, org_id: str, file_id: str) -> StoredFile:
        """Take the name out of use, and its content unless a job refers to it. Raises `ApiError` 404."""
        with self._database.write() as tx:
            row = current_file(tx, org_id, file_id)
            if row is None:
                raise _no_file(file_id)
            unused = self._retire(tx, org_id, file_id)
        if unused:
            self._contents.remove(unused)
        return _stored(row)

    def page(
        self, org_id: str, *, limit: int, after: str | None, before: str | None, file_type: str | None = None
    ) -> FileSlice:
        """Files newest first, of any type or of one: those behind the cursor `after`, before the cursor `before`, or
        between the two.
        """
        here = "SELECT * FROM files WHERE current AND org_id = :org AND file_type = COALESCE(:type, file_type)"
        named: dict[str, Any] = {"org": org_id, "type": file_type, "limit": limit}
        named |= {"low": -1 if before is None else int(before), "high": _FAR if after is None else int(after)}
        # Without `after`, the page is the one just before `before`, not the newest of all.
        direction = "ASC" if before is not None and after is None else "DESC"
        with self._database.read() as tx:
            query = f"{here} AND seq > :low AND seq < :high ORDER BY seq {direction} LIMIT :limit"
            rows = tx.execute(query, named).fetchall()
            rows.sort(key=lambda row: -int(row["seq"]))
            if not rows:
                return FileSlice([], None, None)
            newest, oldest = rows[0]["seq"], rows[-1]["seq"]
            older = tx.execute(f"{here} AND seq < :seq LIMIT 1", named | {"seq": oldest}).fetchone()
            newer = tx.execute(f"{here} AND seq > :seq LIMIT 1", named | {"seq": newest}).fetchone()
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
        """Remove contents without a record: what a killed process left behind. That of an upload in parts is the
        upload's own business, since putting it together may take longer than `_ORPHAN_AGE`.
        """
        for content_id in self._contents.stored(older_than=self._clock().timestamp() - _ORPHAN_AGE):
            with self._database.read() as tx:
                known = tx.execute(
                    "SELECT 1 FROM files WHERE file_uid = ?1 UNION ALL SELECT 1 FROM outputs WHERE id = ?1"
                    " UNION ALL SELECT 1 FROM checkpoints WHERE id = ?1"
                    " UNION ALL SELECT 1 FROM uploads WHERE file_uid = ?1 AND status = 'UPLOADING'",
                    (content_id,),
                ).fetchone()
            if not known:
                self._contents.remove(content_id)


def current_file(tx: sqlite3.Connection, org_id: str, file_id: str) -> sqlite3.Row | None:
    """The record of the content that a name has now."""
    query = "SELECT * FROM files WHERE current AND org_id = ? AND file_id = ?"
    row: sqlite3.Row | None = tx.execute(query, (org_id, file_id)).fetchone()
    return row


def _no_file(file_id: str) -> ApiError:
    return refuse(404, "file_not_found", f"there is no file {file_id!r}", "GET /files/metadata lists the files")
