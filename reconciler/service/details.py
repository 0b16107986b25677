"""What belongs to a job, read page by page: its events, inputs and outputs."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from reconciler.service.database import Database
from reconciler.service.errors import refuse
from reconciler.service.links import Links
from reconciler.service.store import load_job

Filters = Mapping[str, str | None]
INPUTS = """(SELECT inputs.*, COALESCE(files.file_id, filename) AS filename, attributes,
        COALESCE(files.num_bytes, checkpoints.num_bytes, 0) AS num_bytes,
        COALESCE(files.file_type, checkpoints.file_type, '') AS file_type
    FROM inputs LEFT JOIN files USING (file_uid) LEFT JOIN checkpoints ON checkpoints.id = checkpoint_id)"""


class Details:
    """Reads. Filters map a column to the value that it must have; None means any."""

    def __init__(self, database: Database, links: Links) -> None:
        self._database = database
        self._links = links

    def events(self, org_id: str, job_id: str, filters: Filters, *, offset: int, limit: int) -> dict[str, Any]:
        """The answer of `…/events`, newest first."""
        total, rows = self.page("events", "id DESC", org_id, job_id, filters, offset, limit)
        events = [
            {
                "id": row["id"],
                "event_type": row["event_type"],
                "level": row["level"],
                "message": row["message"],
                "payload": json.loads(row["payload"]),
                "input_id": row["input_id"],
                "index": row["idx"],
                "created_at": row["created_at"],
            }
            for row in rows
        ]
        return {"job_id": job_id, "total": total, "offset": offset, "limit": limit, "events": events}

    def inputs(self, org_id: str, job_id: str, filters: Filters, *, offset: int, limit: int) -> dict[str, Any]:
        """The answer of `…/inputs`, in the order of the request."""
        total, rows = self.page(INPUTS, "seq", org_id, job_id, filters, offset, limit)
        inputs = [self.input(row) for row in rows]
        return {"job_id": job_id, "total": total, "offset": offset, "limit": limit, "inputs": inputs}

    def input(self, row: sqlite3.Row) -> dict[str, Any]:
        """One input, from a row of `INPUTS`."""
        return {
            "id": row["id"],
            "job_id": row["job_id"],
            "port_name": row["port_name"],
            "file_id": row["file_id"],
            "data": self._data(
                row["file_uid"] or row["checkpoint_id"],
                row["filename"] or "gone",  # a checkpoint may be deleted with its job
                row,
                metadata=json.loads(row["metadata"]),
                attributes=json.loads(row["attributes"] or "{}"),
            ),
            "status": row["status"],
            "error_message": row["error_message"],
            "created_at": row["created_at"],
            "completed_at": row["completed_at"],
        }

    def checkpoints(self, org_id: str, job_id: str, *, offset: int, limit: int) -> dict[str, Any]:
        """The answer of `…/checkpoints`, oldest first."""
        total, rows = self.page("checkpoints", "seq", org_id, job_id, {}, offset, limit)
        checkpoints = [
            {
                "id": row["id"],
                "job_id": job_id,
                "name": row["name"],
                "step": row["step"],
                "metrics": json.loads(row["metrics"]),
                "data": self._data(row["id"], row["filename"], row, metadata={}, attributes={}),
                "created_at": row["created_at"],
            }
            for row in rows
        ]
        return {"job_id": job_id, "total": total, "offset": offset, "limit": limit, "checkpoints": checkpoints}

    def outputs(self, org_id: str, job_id: str, filters: Filters, *, offset: int, limit: int) -> dict[str, Any]:
        """The answer of `…/outputs`, oldest first, with fresh links."""
        view = (
            "(SELECT outputs.*, inputs.file_id AS input_file_id"
            " FROM outputs LEFT JOIN inputs ON inputs.id = outputs.input_id)"
        )
        total, rows = self.page(view, "seq", org_id, job_id, filters, offset, limit)
        outputs = [
            {
                "id": row["id"],
                "job_id": job_id,
                "port_name": row["port_name"],
                "input_id": row["input_id"],
                "input_file_id": row["input_file_id"],
                "data": self._data(row["id"], row["filename"], row, metadata={}, attributes={}),
                "expires_at": self._links.make(row["id"]).expires_at,
                "created_at": row["created_at"],
            }
            for row in rows
        ]
        return {"job_id": job_id, "total": total, "offset": offset, "limit": limit, "outputs": outputs}

    def content(self, org_id: str, content_id: str) -> tuple[str, str]:
        """The file name and type of a stored content. Raises `ApiError` 404."""
        with self._database.read() as tx:
            row = tx.execute(
                "SELECT file_id AS filename, file_type FROM files WHERE file_uid = ?1 AND org_id = ?2"
                " UNION ALL SELECT filename, file_type FROM outputs JOIN jobs ON jobs.id = job_id"
                " WHERE outputs.id = ?1 AND org_id = ?2"
                " UNION ALL SELECT filename, file_type FROM checkpoints JOIN jobs ON jobs.id = job_id"
                " WHERE checkpoints.id = ?1 AND org_id = ?2",
                (content_id, org_id),
            ).fetchone()
        if row is None:
            raise refuse(404, "not_found", f"there is no content {content_id!r} any more", "list the outputs again")
        return row["filename"], row["file_type"]

    def page(
        self, table: str, order: str, org_id: str, job_id: str, filters: Filters, offset: int, limit: int
    ) -> tuple[int, list[sqlite3.Row]]:
        """How many rows of the job match, and a page of them. Raises `ApiError` 404."""
        wanted = {"job_id": job_id} | {name: value for name, value in filters.items() if value is not None}
        where = " AND ".join(f"{name} = :{name}" for name in wanted)
        with self._database.read() as tx:
            load_job(tx, org_id, job_id)
            (total,) = tx.execute(f"SELECT COUNT(*) FROM {table} WHERE {where}", wanted).fetchone()  # noqa: S608
            query = f"SELECT * FROM {table} WHERE {where} ORDER BY {order} LIMIT {limit} OFFSET {offset}"  # noqa: S608
            return total, tx.execute(query, wanted).fetchall()

    def _data(
        self,
        content_id: str,
        filename: str,
        row: sqlite3.Row,
        *,
        metadata: dict[str, Any],
        attributes: dict[str, Any],
    ) -> dict[str, Any]:
        return {
            "ref": self._links.make(content_id).ref,
            "filename": filename,
            "file_type": row["file_type"],
            "file_extension": PurePath(filename).suffix,
            "num_bytes": row["num_bytes"],
            "metadata": metadata,
            "file_attributes": attributes,
        }
