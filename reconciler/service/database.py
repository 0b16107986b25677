"""SQLite: one file, opened by any number of processes, durable at each commit."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from reconciler.service.errors import ServiceError
from reconciler.service.ids import new_id

# One script a version; `PRAGMA user_version` says how many of them a file has seen. Never edit one that was released.
_MIGRATIONS = (
    """
    CREATE TABLE meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
    INSERT INTO meta VALUES ('next_ticket', '1');

    CREATE TABLE jobs (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        name TEXT NOT NULL,
        pipeline_type TEXT NOT NULL,
        pipeline_key TEXT NOT NULL,
        pipeline_version TEXT NOT NULL,
        status TEXT NOT NULL,
        parameters TEXT NOT NULL,
        ticket INTEGER NOT NULL,
        attempt INTEGER NOT NULL DEFAULT 0,
        retry_count INTEGER NOT NULL DEFAULT 0,
        preemption_count INTEGER NOT NULL DEFAULT 0,
        created_at TEXT NOT NULL,
        updated_at TEXT NOT NULL,
        started_at TEXT,
        completed_at TEXT,
        failed_at TEXT,
        cancelled_at TEXT,
        error TEXT,
        idempotency_key TEXT UNIQUE,
        body_digest TEXT
    );
    CREATE INDEX jobs_status ON jobs(status, ticket);

    CREATE TABLE files (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        file_uid TEXT NOT NULL UNIQUE,
        file_id TEXT NOT NULL,
        file_type TEXT NOT NULL,
        num_bytes INTEGER NOT NULL,
        attributes TEXT NOT NULL,
        created_at TEXT NOT NULL,
        current INTEGER NOT NULL DEFAULT 1
    );
    CREATE UNIQUE INDEX files_current ON files(file_id) WHERE current;

    CREATE TABLE inputs (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        job_id TEXT NOT NULL REFERENCES jobs(id),
        port_name TEXT NOT NULL,
        file_id TEXT NOT NULL,
        file_uid TEXT NOT NULL REFERENCES files(file_uid),
        metadata TEXT NOT NULL,
        status TEXT NOT NULL,
        error_message TEXT,
        created_at TEXT NOT NULL,
        completed_at TEXT
    );
    CREATE INDEX inputs_job ON inputs(job_id, status);
    CREATE INDEX inputs_file ON inputs(file_uid);

    CREATE TABLE outputs (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        job_id TEXT NOT NULL REFERENCES jobs(id),
        port_name TEXT NOT NULL,
        input_id TEXT,
        filename TEXT NOT NULL,
        file_type TEXT NOT NULL,
        num_bytes INTEGER NOT NULL,
        created_at TEXT NOT NULL
    );
    CREATE INDEX outputs_job ON outputs(job_id);

    CREATE TABLE events (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        job_id TEXT NOT NULL REFERENCES jobs(id),
        event_type TEXT NOT NULL,
        level TEXT NOT NULL,
        message TEXT,
        payload TEXT NOT NULL,
        input_id TEXT,
        idx INTEGER,
        created_at TEXT NOT NULL
    );
    CREATE INDEX events_job ON events(job_id);

    CREATE TABLE progress (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        job_id TEXT NOT NULL REFERENCES jobs(id),
        kind TEXT NOT NULL,
        step INTEGER NOT NULL,
        message TEXT,
        metrics TEXT NOT NULL,
        payload TEXT NOT NULL,
        input_id TEXT,
        idx INTEGER,
        created_at TEXT NOT NULL
    );
    CREATE INDEX progress_job ON progress(job_id);
    """,
)


class Database:
    """One connection, shared by the threads of this process. A write is one transaction, durable when it returns."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        try:
            self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=30)
        except sqlite3.Error as error:
            raise ServiceError(f"{path} cannot be opened: {error}", "check the data folder") from error
        try:
            self._prepare(path)
        except sqlite3.DatabaseError as error:
            self._connection.close()
            raise ServiceError(
                f"{path} is not a database of this service: {error}", "restore it, or use another data folder"
            ) from error
        except ServiceError:
            self._connection.close()
            raise

    def _prepare(self, path: Path) -> None:
        connection = self._connection
        connection.row_factory = sqlite3.Row
        connection.create_function("folded", 1, str.casefold, deterministic=True)
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version > len(_MIGRATIONS):
            raise ServiceError(
                f"{path} was written by a newer version of this program"
                f" (database version {version}, this program knows {len(_MIGRATIONS)})",
                "upgrade the program, or use another data folder",
            )
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
        for number in range(version, len(_MIGRATIONS)):
            # executescript commits what is open, so the transaction is part of the script
            step = f"BEGIN IMMEDIATE; {_MIGRATIONS[number]} PRAGMA user_version = {number + 1}; COMMIT;"
            connection.executescript(step)
        connection.execute("INSERT OR IGNORE INTO meta VALUES ('org_id', ?)", (new_id("org"),))

    def org_id(self) -> str:
        """The organisation of this data folder; there is one."""
        with self.read() as tx:
            return str(tx.execute("SELECT value FROM meta WHERE name = 'org_id'").fetchone()[0])

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """A transaction that writes; rolled back when the block raises."""
        with self._transaction("BEGIN IMMEDIATE") as tx:
            yield tx

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """A transaction that reads: all its statements see the same moment."""
        with self._transaction("BEGIN") as tx:
            yield tx

    @contextmanager
    def _transaction(self, begin: str) -> Iterator[sqlite3.Connection]:
        with self._lock:
            self._connection.execute(begin)
            try:
                yield self._connection
            except BaseException:
                self._connection.execute("ROLLBACK")
                raise
            self._connection.execute("COMMIT")

    def close(self) -> None:
        """Nothing may use the database afterwards."""
        with self._lock:
            self._connection.close()
