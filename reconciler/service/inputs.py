"""The inputs of a job: files and checkpoints, pinned to their content when the job is made."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reconciler.service.contents import Contents
from reconciler.service.errors import Fault
from reconciler.service.ids import new_id
from reconciler.service.wire import CheckpointItem, CreateJob, FileItem


@dataclass(frozen=True, slots=True)
class PinnedInput:
    """An input with its content. `kind` is `file` or `checkpoint`; `status` is that of the input."""

    id: str
    port_name: str
    kind: str
    file_id: str
    filename: str
    path: Path
    num_bytes: int
    file_type: str
    metadata: dict[str, Any]
    status: str


Item = FileItem | CheckpointItem
Pins = dict[tuple[str, str], str]


def _name(item: Item) -> tuple[str, str]:
    return item.kind, item.file_id if isinstance(item, FileItem) else item.checkpoint_id


def _items(body: CreateJob) -> list[tuple[str, Item]]:
    return [(port, item) for port, items in (body.inputs or {}).items() for item in items]


def pin(tx: sqlite3.Connection, org_id: str, body: CreateJob) -> tuple[Pins, list[Fault]]:
    """The content that each named input has now, and a fault for each that is not there or cannot be read."""
    pins: Pins = {}
    faults = []
    for kind, name in dict.fromkeys(_name(item) for _, item in _items(body)):
        find = _find_file if kind == "file" else _find_checkpoint
        found = find(tx, org_id, name)
        if isinstance(found, Fault):
            faults.append(found)
        else:
            pins[kind, name] = found
    return pins, faults


def _find_file(tx: sqlite3.Connection, org_id: str, name: str) -> str | Fault:
    query = "SELECT file_uid, file_status FROM files WHERE current AND org_id = ? AND file_id = ?"
    row = tx.execute(query, (org_id, name)).fetchone()
    if row is None:
        return Fault("file_not_found", f"there is no file {name!r}", "upload it with POST /files first")
    if row["file_status"] == "CORRUPT":
        return Fault("file_corrupt", f"the upload of {name!r} did not arrive whole", "delete it, and upload it again")
    return str(row["file_uid"])


def _find_checkpoint(tx: sqlite3.Connection, org_id: str, name: str) -> str | Fault:
    query = (
        "SELECT checkpoints.id FROM checkpoints JOIN jobs ON jobs.id = job_id WHERE checkpoints.id = ? AND org_id = ?"
    )
    row = tx.execute(query, (name, org_id)).fetchone()
    if row is None:
        hint = "GET /batch/jobs/{id}/checkpoints lists those of a job"
        return Fault("checkpoint_not_found", f"there is no checkpoint {name!r}", hint)
    return str(row["id"])


def insert(
    tx: sqlite3.Connection, job_id: str, body: CreateJob, pins: Pins, tracked: Collection[str], created_at: str
) -> None:
    """Write the inputs of a new job, in the order of the request."""
    tx.executemany(
        "INSERT INTO inputs (id, job_id, port_name, file_id, file_uid, checkpoint_id, metadata, status, created_at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (
                new_id("inp"),
                job_id,
                port,
                _name(item)[1],
                pins[_name(item)] if isinstance(item, FileItem) else None,
                None if isinstance(item, FileItem) else item.checkpoint_id,
                json.dumps(item.metadata),
                "pending" if port in tracked else "reference",
                created_at,
            )
            for port, item in _items(body)
        ],
    )


def reset(tx: sqlite3.Connection, job_id: str, *, only: str | None = None, keep: str | None = None) -> None:
    """Tracked inputs are pending again: all, or those in the status `only`, but not those in the status `keep`."""
    tx.execute(
        "UPDATE inputs SET status = 'pending', error_message = NULL, completed_at = NULL"
        " WHERE job_id = ?1 AND status != 'reference' AND status = COALESCE(?2, status)"
        " AND status != COALESCE(?3, '')",
        (job_id, only, keep),
    )


def pinned(tx: sqlite3.Connection, contents: Contents, job_id: str) -> list[PinnedInput]:
    """The job's inputs in the order of the request."""
    rows = tx.execute(
        """SELECT inputs.id, port_name, inputs.file_id, inputs.metadata, inputs.status, file_uid, checkpoint_id,
            COALESCE(files.file_id, filename) AS filename,
            COALESCE(files.num_bytes, checkpoints.num_bytes) AS num_bytes,
            COALESCE(files.file_type, checkpoints.file_type) AS file_type
        FROM inputs LEFT JOIN files USING (file_uid) LEFT JOIN checkpoints ON checkpoints.id = checkpoint_id
        WHERE inputs.job_id = ? ORDER BY inputs.seq""",
        (job_id,),
    )
    return [
        PinnedInput(
            id=row["id"],
            port_name=row["port_name"],
            kind="checkpoint" if row["checkpoint_id"] else "file",
            file_id=row["file_id"],
            filename=row["filename"] or "gone",
            # a checkpoint whose job was deleted or retried has no name any more; the worker will not find the path
            path=contents.path(row["file_uid"] or row["checkpoint_id"], row["filename"] or "gone"),
            num_bytes=row["num_bytes"] or 0,
            file_type=row["file_type"] or "application/octet-stream",
            metadata=json.loads(row["metadata"]),
            status=row["status"],
        )
        for row in rows
    ]
