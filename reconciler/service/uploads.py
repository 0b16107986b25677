"""Uploads in parts: from the first URL to the file, over any number of processes and restarts.

An upload is a row, its parts are rows and files (`parts`). The file appears in one transaction with the end of the
upload, after its bytes are whole on disk: a process killed before it leaves an upload that can go on, one killed after
it leaves a file that is complete.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

from reconciler.service.attributes import attributes
from reconciler.service.clock import Clock, stamp
from reconciler.service.contents import Contents
from reconciler.service.database import Database
from reconciler.service.errors import ApiError, refuse
from reconciler.service.files import (
    ACCEPTED_TYPES,
    CORRUPT,
    REGISTERED,
    Files,
    StoredFile,
    check_name,
    check_type,
    current_file,
)
from reconciler.service.ids import new_id
from reconciler.service.parts import PartFiles, PartWriter
from reconciler.service.settings import Settings
from reconciler.service.uploadrows import (
    ABORTED,
    COMPLETED,
    OPEN,
    Part,
    Upload,
    all_parts,
    begun,
    check_tokens,
    find_upload,
    open_upload,
    part_rows,
    some,
)

DIRECT_TYPES = (*ACCEPTED_TYPES, "application/x-ndjson")
KEPT = timedelta(days=7)  # an upload that nobody has touched for so long is given up
MOST_PARTS = 1000  # so that all URLs fit into one answer, and all tokens into one request
_ORPHAN_AGE = timedelta(hours=1)


class Uploads:
    """The uploads of one data folder. What another organisation has begun is not there: `ApiError` 404."""

    def __init__(
        self,
        *,
        database: Database,
        contents: Contents,
        files: Files,
        parts: PartFiles,
        settings: Settings,
        clock: Clock,
    ) -> None:
        self._database = database
        self._contents = contents
        self._files = files
        self._parts = parts
        self._settings = settings
        self._clock = clock

    def initiate(
        self, org_id: str, filename: str, file_type: str, num_bytes: int, *, resume: bool
    ) -> tuple[Upload, list[Part], bool]:
        """The upload, the parts that it still needs, and whether it was begun before. Raises `ApiError` 400 for names
        and types that are not taken, 413, and 409 when the name is in use.
        """
        check_name(filename)
        check_type(file_type, DIRECT_TYPES)
        if num_bytes > self._settings.direct_limit:
            limit = self._settings.direct_limit
            raise refuse(413, "invalid_file_size", f"num_bytes: files may have up to {limit:,} bytes")
        with self._database.write() as tx:
            _check_free(tx, org_id, filename)
            started = begun(tx, org_id, filename) if resume else []
            for upload in started:
                if (upload.file_type, upload.num_bytes) == (file_type, num_bytes):
                    self._touch(tx, upload.id)
                    done = {row["part_number"] for row in part_rows(tx, upload.id) if row["checkpointed"]}
                    return upload, [p for p in all_parts(upload) if p.number not in done], True
            if started:
                other = started[0]
                what = f"{other.num_bytes} bytes of {other.file_type}"
                raise refuse(
                    409,
                    "conflict",
                    f"the upload {other.id} of {filename!r} has begun, for {what}",
                    "abort it, or begin another with resume_if_started=false",
                )
            upload = self._insert(tx, org_id, filename, file_type, num_bytes)
        return upload, all_parts(upload), False

    def _insert(self, tx: sqlite3.Connection, org_id: str, filename: str, file_type: str, num_bytes: int) -> Upload:
        part_size = max(self._settings.part_size, -(-num_bytes // MOST_PARTS))
        upload = Upload(
            id=new_id("upl"),
            org_id=org_id,
            file_uid=new_id("fil"),
            filename=filename,
            file_type=file_type,
            num_bytes=num_bytes,
            part_size=part_size,
            status=OPEN,
        )
        now = stamp(self._clock())
        tx.execute(
            "INSERT INTO uploads (id, org_id, file_uid, filename, file_type, num_bytes, part_size, status, created_at,"
            " updated_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (upload.id, org_id, upload.file_uid, filename, file_type, num_bytes, part_size, OPEN, now, now),
        )
        return upload

    def parts(self, org_id: str, upload_id: str, numbers: Sequence[int]) -> list[Part]:
        """The parts with these numbers, of an upload that is not over."""
        with self._database.read() as tx:
            upload = open_upload(tx, upload_id, org_id)
        return [upload.part(number) for number in numbers]

    def expected(self, upload_id: str, number: int) -> Part:
        """What a PUT has to bring. Whose upload it is does not matter: the caller has checked a signature."""
        with self._database.read() as tx:
            return open_upload(tx, upload_id).part(number)

    def begin(self, upload_id: str) -> PartWriter:
        """Where the bytes of one PUT go until `keep`."""
        return self._parts.begin(upload_id)

    def keep(self, upload_id: str, number: int, written: PartWriter) -> str:
        """Make what was written the part, in place of what it was before. Returns its token."""
        try:
            token = written.seal()
            with self._locked(upload_id, shared=True):
                replaced = self._record(upload_id, number, token, written.place)
        except FileNotFoundError:
            self.expected(upload_id, number)  # aborted or complete meanwhile: that is what to say
            raise
        except BaseException:
            written.discard()
            raise
        if replaced is not None:
            self._parts.discard(upload_id, replaced)
        return token

    def _record(self, upload_id: str, number: int, token: str, place: str) -> str | None:
        with self._database.write() as tx:
            open_upload(tx, upload_id)
            old = tx.execute(
                "SELECT place FROM upload_parts WHERE upload_id = ? AND part_number = ?", (upload_id, number)
            ).fetchone()
            tx.execute(  # a checkpoint is of certain bytes
                "INSERT INTO upload_parts (upload_id, part_number, token, place) VALUES (?, ?, ?, ?)"
                " ON CONFLICT DO UPDATE SET token = excluded.token, place = excluded.place,"
                " checkpointed = checkpointed AND token = excluded.token",
                (upload_id, number, token, place),
            )
            self._touch(tx, upload_id)
        return str(old["place"]) if old else None

    def checkpoint(self, org_id: str, upload_id: str, tokens: Mapping[int, str]) -> None:
        """Remember that the client knows of these parts. All of them, or none: `ApiError` 400 names the wrong ones."""
        with self._database.write() as tx:
            upload = open_upload(tx, upload_id, org_id)
            check_tokens(upload, tokens, {row["part_number"]: row for row in part_rows(tx, upload_id)})
            tx.executemany(
                "UPDATE upload_parts SET checkpointed = 1 WHERE upload_id = ? AND part_number = ?",
                [(upload_id, number) for number in tokens],
            )
            self._touch(tx, upload_id)

    def complete(self, org_id: str, upload_id: str, tokens: Mapping[int, str], checksum: str | None) -> StoredFile:
        """Make the file. Raises `ApiError` 400 for parts that are missing or wrong, 409 when the name was taken.

        When `checksum` is not that of the bytes, the upload is over too: the file is recorded as corrupt, without its
        bytes, and `ApiError` 400 says so.
        """
        with self._alone(org_id, upload_id) as upload:
            places = self._places(upload, tokens)
            with self._database.read() as tx:
                _check_free(tx, org_id, upload.filename)  # said before the work rather than after it
            path, came = self._put_together(upload, places)
            corrupt = checksum is not None and checksum != came
            small = not corrupt and upload.num_bytes <= self._settings.upload_limit
            found = attributes(path, upload.file_type) if small else {}
            if corrupt:
                self._contents.remove(upload.file_uid)
            else:
                self._contents.publish(upload.file_uid)
            try:
                with self._database.write() as tx:
                    _check_free(tx, org_id, upload.filename)
                    stored, unused = self._files.insert(
                        tx,
                        org_id,
                        upload.file_uid,
                        upload.filename,
                        upload.file_type,
                        upload.num_bytes,
                        found,
                        status=CORRUPT if corrupt else REGISTERED,
                    )
                    self._end(tx, upload_id, COMPLETED)
            except ApiError:  # and no other: a commit that failed otherwise may have come through all the same
                self._contents.remove(upload.file_uid)
                raise
            if unused:
                self._contents.remove(unused)
            self._parts.remove(upload_id)
        if corrupt:
            raise refuse(
                400,
                "integrity_mismatch",
                f"the checksum of the {upload.num_bytes} bytes that came is {came}, not {checksum}",
                "the file is corrupt and its bytes are gone; begin a new upload under its name",
            )
        return stored

    def _put_together(self, upload: Upload, places: Sequence[str]) -> tuple[Path, str]:
        """The file that the parts make, not yet published, and its checksum."""
        self._contents.remove(upload.file_uid)  # what a killed process may have left of this same step
        joined = self._parts.joined(upload.id, places)
        try:
            path = self._contents.receive(upload.file_uid, upload.filename, joined)
        except BaseException:
            self._contents.remove(upload.file_uid)
            raise
        finally:
            joined.close()
        return path, joined.checksum

    def _places(self, upload: Upload, tokens: Mapping[int, str]) -> list[str]:
        with self._database.read() as tx:
            rows = {row["part_number"]: row for row in part_rows(tx, upload.id)}
        check_tokens(upload, tokens, rows)
        missing = [
            part.number
            for part in all_parts(upload)
            if part.number not in rows
            or not (rows[part.number]["checkpointed"] or part.number in tokens)
            or self._parts.size(upload.id, rows[part.number]["place"]) != part.length
        ]
        if missing:
            raise refuse(
                400,
                "missing_parameter",
                f"parts: {len(missing)} of {upload.num_parts} are missing: {some(missing)}",
                "PUT them, and name each part that has no checkpoint with its token",
            )
        return [rows[number]["place"] for number in sorted(rows)]

    def abort(self, org_id: str, upload_id: str) -> None:
        """Give up and free the bytes. Raises `ApiError` 409 when the upload is complete; twice is once."""
        with self._database.read() as tx:
            if find_upload(tx, upload_id, org_id).status == ABORTED:
                return
        with self._alone(org_id, upload_id) as upload:
            with self._database.write() as tx:
                self._end(tx, upload_id, ABORTED)
            self._parts.remove(upload_id)
            self._contents.remove(upload.file_uid)

    def sweep(self) -> None:
        """Forget uploads that nobody has touched for `KEPT`, and remove what killed processes left of ended ones."""
        horizon = stamp(self._clock() - KEPT)
        with self._database.read() as tx:
            old = tx.execute("SELECT id FROM uploads WHERE updated_at < ?", (horizon,)).fetchall()
        for row in old:
            with contextlib.suppress(ApiError):  # another process is at work on it, or has swept it
                self._forget(row["id"], horizon)
        for upload_id in self._parts.stored(older_than=(self._clock() - _ORPHAN_AGE).timestamp()):
            with self._database.read() as tx:
                query = "SELECT 1 FROM uploads WHERE id = ? AND status = ?"
                known = tx.execute(query, (upload_id, OPEN)).fetchone()
            if not known:
                self._parts.remove(upload_id)

    def _forget(self, upload_id: str, horizon: str) -> None:
        with self._locked(upload_id):
            with self._database.write() as tx:
                upload = find_upload(tx, upload_id)
                tx.execute("DELETE FROM upload_parts WHERE upload_id = ?", (upload_id,))
                gone = tx.execute("DELETE FROM uploads WHERE id = ? AND updated_at < ?", (upload_id, horizon)).rowcount
                if not gone:
                    raise refuse(409, "conflict", f"the upload {upload_id} goes on")
            self._parts.remove(upload_id)
            if upload.status == OPEN:
                self._contents.remove(upload.file_uid)

    @contextmanager
    def _alone(self, org_id: str, upload_id: str) -> Iterator[Upload]:
        """The open upload, for one request that ends it."""
        with self._database.read() as tx:
            open_upload(tx, upload_id, org_id)  # before the id becomes a path
        with self._locked(upload_id):
            with self._database.read() as tx:
                upload = open_upload(tx, upload_id, org_id)
            yield upload

    @contextmanager
    def _locked(self, upload_id: str, *, shared: bool = False) -> Iterator[None]:
        try:
            with self._parts.lock(upload_id, shared=shared):
                yield
        except BlockingIOError:
            what = f"another request is about to end or change the upload {upload_id}"
            raise refuse(409, "conflict", what, "wait for its answer") from None

    def _touch(self, tx: sqlite3.Connection, upload_id: str) -> None:
        tx.execute("UPDATE uploads SET updated_at = ? WHERE id = ?", (stamp(self._clock()), upload_id))

    def _end(self, tx: sqlite3.Connection, upload_id: str, status: str) -> None:
        tx.execute("DELETE FROM upload_parts WHERE upload_id = ?", (upload_id,))
        tx.execute("UPDATE uploads SET status = ? WHERE id = ?", (status, upload_id))
        self._touch(tx, upload_id)


def _check_free(tx: sqlite3.Connection, org_id: str, filename: str) -> None:
    row = current_file(tx, org_id, filename)
    if row is not None and row["file_status"] != CORRUPT:
        raise refuse(
            409,
            "conflict",
            f"there is a file {filename!r} already",
            "delete it first, choose another name, or replace it with POST /files",
        )
