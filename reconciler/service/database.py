"""SQLite: one file, opened by any number of processes, durable at each commit."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from reconciler.service.errors import ServiceError
from reconciler.service.ids import new_id
from reconciler.service.migrations import MIGRATIONS

DEFAULT_ORGANISATION = "default"


class Database:
    """One connection that writes, and one for each thread that reads.

    A write is one transaction, durable when it returns. Reads never wait for it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._local = threading.local()
        self._readers: list[sqlite3.Connection] = []
        try:
            self._writer = self._connect()
        except sqlite3.Error as error:
            raise ServiceError(f"{path} cannot be opened: {error}", "check the data folder") from error
        try:
            self._prepare()
        except sqlite3.DatabaseError as error:
            self._writer.close()
            raise ServiceError(
                f"{path} is not a database of this service: {error}", "restore it, or use another data folder"
            ) from error
        except ServiceError:
            self._writer.close()
            raise

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False, timeout=30)
        connection.row_factory = sqlite3.Row
        connection.create_function("folded", 1, str.casefold, deterministic=True)
        return connection

    def _prepare(self) -> None:
        (version,) = self._writer.execute("PRAGMA user_version").fetchone()
        if version > len(MIGRATIONS):
            raise ServiceError(
                f"{self._path} was written by a newer version of this program"
                f" (database version {version}, this program knows {len(MIGRATIONS)})",
                "upgrade the program, or use another data folder",
            )
        self._writer.execute("PRAGMA journal_mode = WAL")
        self._writer.execute("PRAGMA synchronous = FULL")
        for number in range(version, len(MIGRATIONS)):
            # executescript commits what is open, so the transaction is part of the script
            step = f"BEGIN IMMEDIATE; {MIGRATIONS[number]} PRAGMA user_version = {number + 1}; COMMIT;"
            self._writer.executescript(step)
        self._writer.execute("PRAGMA foreign_keys = ON")  # after the migrations: they make tables anew
        self.organisation(DEFAULT_ORGANISATION)

    def organisation(self, name: str) -> str:
        """The id of the organisation of that name, which is made on first use."""
        with self.write() as tx:
            tx.execute("INSERT OR IGNORE INTO organisations VALUES (?, ?)", (new_id("org"), name))
            return str(tx.execute("SELECT id FROM organisations WHERE name = ?", (name,)).fetchone()[0])

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """A transaction that writes; rolled back when the block raises."""
        with self._lock, _transaction(self._writer, "BEGIN IMMEDIATE"):
            yield self._writer

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """A transaction that reads: all its statements see the same moment."""
        reader = getattr(self._local, "reader", None)
        if reader is None:
            reader = self._connect()
            reader.execute("PRAGMA query_only = ON")
            self._local.reader = reader
            self._readers.append(reader)  # atomic; the lock may be held by a write that takes its time
        with _transaction(reader, "BEGIN"):
            yield reader

    def close(self) -> None:
        """Nothing may use the database afterwards."""
        with self._lock:
            for connection in (*self._readers, self._writer):
                connection.close()


@contextmanager
def _transaction(connection: sqlite3.Connection, begin: str) -> Iterator[None]:
    connection.execute(begin)
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # a full disk has rolled it back already
            connection.execute("ROLLBACK")
        raise
