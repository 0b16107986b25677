"""The order of the queue: by priority, then in turn between the organisations, then first come first served.

Each job gets a turn when it joins: the turn after the organisation's last one, but not before the one that was
admitted last. So an organisation that queues a thousand jobs does not make the others wait for them all (start-time
fair queueing, Goyal, Vin and Cheng 1996), and with one organisation the queue is first in first out.
"""

from __future__ import annotations

import sqlite3

from reconciler.service.jobs import Job

# Turns that `queue_counts` and `queue_blocks` count together; the migrations have the same numbers.
_BUCKET = 64
_BLOCK = 4096
_ADMITTED = ""  # stands for an organisation in `turns`: the turn that was admitted last


def join(tx: sqlite3.Connection, pipeline_type: str, priority: int, org_id: str) -> tuple[int, int]:
    """The turn and the ticket of a job that joins the queue now."""
    (before,) = tx.execute(
        "SELECT COALESCE(MAX(turn), 0) FROM turns WHERE pipeline_type = ? AND priority = ? AND org_id IN (?, ?)",
        (pipeline_type, priority, org_id, _ADMITTED),
    ).fetchone()
    _note_turn(tx, pipeline_type, priority, org_id, before + 1)
    query = "UPDATE meta SET value = value + 1 WHERE name = 'next_ticket' RETURNING value"
    (ticket,) = tx.execute(query).fetchone()
    return before + 1, int(ticket)


def admitted(tx: sqlite3.Connection, job: Job) -> None:
    """The queue has come to this job's turn."""
    _note_turn(tx, job.pipeline_type, job.priority, _ADMITTED, job.turn)


def _note_turn(tx: sqlite3.Connection, pipeline_type: str, priority: int, org_id: str, turn: int) -> None:
    tx.execute(
        "INSERT INTO turns VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET turn = MAX(turn, excluded.turn)",
        (pipeline_type, priority, org_id, turn),
    )


def depth(tx: sqlite3.Connection, pipeline_type: str) -> int:
    """How many jobs of the type wait."""
    query = "SELECT COALESCE(SUM(n), 0) FROM queue_blocks WHERE pipeline_type = ?"
    return int(tx.execute(query, (pipeline_type,)).fetchone()[0])


def position(tx: sqlite3.Connection, job: Job) -> int:
    """The place of a waiting job among those of its type, from 1. What it costs does not grow with the queue."""
    kind, priority, block, bucket = job.pipeline_type, job.priority, job.turn // _BLOCK, job.turn // _BUCKET
    (blocks,) = tx.execute(
        "SELECT COALESCE(SUM(n), 0) FROM queue_blocks WHERE pipeline_type = ?"
        " AND (priority > ? OR priority = ? AND block < ?)",
        (kind, priority, priority, block),
    ).fetchone()
    (buckets,) = tx.execute(
        "SELECT COALESCE(SUM(n), 0) FROM queue_counts WHERE pipeline_type = ? AND priority = ?"
        " AND bucket >= ? AND bucket < ?",
        (kind, priority, block * (_BLOCK // _BUCKET), bucket),
    ).fetchone()
    (beside,) = tx.execute(
        "SELECT COUNT(*) FROM jobs WHERE status = 'PENDING' AND pipeline_type = ? AND priority = ?"
        " AND turn >= ? AND (turn, ticket) <= (?, ?)",
        (kind, priority, bucket * _BUCKET, job.turn, job.ticket),
    ).fetchone()
    return int(blocks) + int(buckets) + int(beside)
