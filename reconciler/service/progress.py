"""How far a job is: what its workers said, input by input, and the sums over time."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from reconciler.service.clock import stamp
from reconciler.service.database import Database
from reconciler.service.details import INPUTS, Details, Filters
from reconciler.service.store import load_job

_STATUSES = ("pending", "processing", "completed", "failed")


class Progress:
    """Reads. Ports whose inputs are not tracked do not appear."""

    def __init__(self, database: Database, details: Details) -> None:
        self._database = database
        self._details = details

    def entries(self, org_id: str, job_id: str, filters: Filters, *, offset: int, limit: int) -> dict[str, Any]:
        """The answer of `…/progress`, newest first."""
        total, rows = self._details.page("progress", "id DESC", org_id, job_id, filters, offset, limit)
        entries = [_entry(row) for row in rows]
        return {"job_id": job_id, "total": total, "offset": offset, "limit": limit, "entries": entries}

    def inputs(
        self,
        org_id: str,
        job_id: str,
        *,
        port_name: str | None,
        statuses: Sequence[str],
        descending: bool,
        offset: int,
        limit: int,
    ) -> dict[str, Any]:
        """The answer of `…/inputs/progress`: each tracked input with what was said last about it."""
        where, values = ["job_id = ?", "status != 'reference'"], [job_id]
        if port_name is not None:
            where.append("port_name = ?")
            values.append(port_name)
        if statuses:
            where.append(f"status IN ({', '.join('?' * len(statuses))})")
            values += statuses
        clause = " AND ".join(where)
        direction = "DESC" if descending else "ASC"
        with self._database.read() as tx:
            load_job(tx, org_id, job_id)
            (total,) = tx.execute(f"SELECT COUNT(*) FROM inputs WHERE {clause}", values).fetchone()  # noqa: S608
            query = f"SELECT * FROM {INPUTS} WHERE {clause} ORDER BY seq {direction} LIMIT ? OFFSET ?"  # noqa: S608
            rows = tx.execute(query, [*values, limit, offset]).fetchall()
            latest = [_latest(tx, job_id, row["id"]) for row in rows]
        items = [
            {
                "input": self._details.input(row),
                "latest_progress": _entry(last) if last else None,
                "step": last["step"] if last else None,
            }
            for row, last in zip(rows, latest, strict=True)
        ]
        return {"job_id": job_id, "total": total, "offset": offset, "limit": limit, "items": items}

    def counts(self, org_id: str, job_id: str, port_name: str | None) -> dict[str, Any]:
        """The answer of `…/inputs/progress/counts`."""
        query = "SELECT status, COUNT(*) FROM inputs WHERE job_id = ? AND port_name = COALESCE(?, port_name) GROUP BY 1"
        with self._database.read() as tx:
            load_job(tx, org_id, job_id)
            found = dict(tx.execute(query, (job_id, port_name)).fetchall())
        return {"job_id": job_id} | {status: found.get(status, 0) for status in _STATUSES}

    def traces(self, org_id: str, job_id: str, buckets: int) -> tuple[str, dict[str, Any]]:
        """The entity tag and the answer of `…/inputs/progress/traces`."""
        with self._database.read() as tx:
            job = load_job(tx, org_id, job_id)
            ended = tx.execute(
                "SELECT completed_at, status FROM inputs WHERE job_id = ? AND completed_at IS NOT NULL"
                " AND status IN ('completed', 'failed') ORDER BY completed_at",
                (job_id,),
            ).fetchall()
            said = tx.execute(
                "SELECT created_at, kind, step, metrics, input_id, idx FROM progress WHERE job_id = ? ORDER BY id",
                (job_id,),
            ).fetchall()
        times = [row["completed_at"] for row in ended] + [row["created_at"] for row in said]
        latest = max(times, default=None)
        answer: dict[str, Any] = {"job_id": job_id, "bucket_seconds": 0.0, "latest_event_at": latest, "points": []}
        if latest is not None:
            # The attempt that counts began at `started_at`; what inputs kept from an earlier one came before it.
            begin = min([*times, job.started_at or latest])
            answer |= _points(begin, latest, ended, said, buckets)
        tag = hashlib.sha256(json.dumps(answer, sort_keys=True).encode()).hexdigest()[:32]
        return f'"{tag}"', answer


def _points(begin: str, latest: str, ended: list[sqlite3.Row], said: list[sqlite3.Row], buckets: int) -> dict[str, Any]:
    """Sums at the end of each bucket of time, from the first to the last event; all only grow."""
    first = datetime.fromisoformat(begin)
    span = (datetime.fromisoformat(latest) - first).total_seconds()
    width = max(span / buckets, 0.001)
    count = min(buckets, int(span / width) + 1)
    files = {"completed": 0, "failed": 0}
    items: dict[str, dict[str, int]] = defaultdict(lambda: {"success": 0, "failed": 0})
    speakers: dict[tuple[str, str | None, int | None], tuple[int, int]] = {}
    step = 0
    points = []
    at_file = at_said = 0
    for number in range(1, count + 1):
        until = stamp(first + timedelta(seconds=width * number)) if number < count else latest
        while at_file < len(ended) and ended[at_file]["completed_at"] <= until:
            files[ended[at_file]["status"]] += 1
            at_file += 1
        while at_said < len(said) and said[at_said]["created_at"] <= until:
            row = said[at_said]
            at_said += 1
            step = max(step, row["step"])
            key = (row["kind"], row["input_id"], row["idx"])
            before = speakers.get(key, (0, 0))
            done, failed = _items(row)
            speakers[key] = max(done, before[0]), max(failed, before[1])
            items[row["kind"]]["success"] += speakers[key][0] - before[0]
            items[row["kind"]]["failed"] += speakers[key][1] - before[1]
        points.append({"t": until, "step": step, "files": dict(files), "items": {k: dict(v) for k, v in items.items()}})
    return {"bucket_seconds": width, "points": points}


def _items(row: sqlite3.Row) -> tuple[int, int]:
    """How many items the worker said it has done well, and how many not."""
    metrics = json.loads(row["metrics"])
    done, failed = (metrics.get(name) for name in ("items_processed", "items_failed"))
    failed = failed if isinstance(failed, int) else 0
    return (max(done - failed, 0) if isinstance(done, int) else 0), max(failed, 0)


def _latest(tx: sqlite3.Connection, job_id: str, input_id: str) -> sqlite3.Row | None:
    query = "SELECT * FROM progress WHERE job_id = ? AND input_id = ? ORDER BY id DESC LIMIT 1"
    row: sqlite3.Row | None = tx.execute(query, (job_id, input_id)).fetchone()
    return row


def _entry(row: sqlite3.Row) -> dict[str, Any]:
    return {
        "id": row["id"],
        "kind": row["kind"],
        "step": row["step"],
        "message": row["message"],
        "metrics": json.loads(row["metrics"]),
        "payload": json.loads(row["payload"]),
        "input_id": row["input_id"],
        "index": row["idx"],
        "created_at": row["created_at"],
    }
