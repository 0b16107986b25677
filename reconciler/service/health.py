"""Whether the service can do its work now. What it says is for anybody: no paths, no names, no numbers of jobs."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
from collections.abc import Callable

from reconciler.service.database import Database
from reconciler.service.diskfaults import disk_fault
from reconciler.service.folder import DataFolder
from reconciler.service.scheduler import Scheduler

_FRESH = 1.0  # seconds that an answer is good for: who asks often must not keep the disk busy
_PATIENCE = 10.0  # seconds that the disk may take


class _NotKept(Exception):
    """Rolls the probe's write back."""


class Readiness:
    """Looks at the parts, at most once a second and never twice at a time."""

    def __init__(
        self,
        *,
        folder: DataFolder,
        database: Database,
        scheduler: Scheduler,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder = folder
        self._database = database
        self._scheduler = scheduler
        self._clock = clock
        self._looking = threading.Lock()
        self._began = float("-inf")
        self._found: list[str] = ["it has just been started"]

    def reasons(self) -> list[str]:
        """Why it is not ready; empty when it is. Does not wait behind somebody else's look."""
        if self._looking.acquire(blocking=False):
            try:
                if self._clock() - self._began >= _FRESH:
                    self._began = self._clock()
                    self._found = self._look()
            finally:
                self._looking.release()
        elif self._clock() - self._began > _PATIENCE:
            return ["the disk does not answer"]
        return self._found

    def _look(self) -> list[str]:
        checks = {"the database": self._write_row, "the data folder": self._write_file}
        found = []
        for what, check in checks.items():
            try:
                check()
            except (OSError, sqlite3.Error) as error:
                fault = disk_fault(error)
                found.append(f"{what} cannot be written: {fault.faults[0].code if fault else type(error).__name__}")
        if not self._scheduler.at_work:
            found.append("this process does not run jobs now")
        return found

    def _write_row(self) -> None:
        with contextlib.suppress(_NotKept), self._database.write() as tx:
            tx.execute("UPDATE meta SET value = value")
            raise _NotKept

    def _write_file(self) -> None:
        probe = self._folder.incoming / f".ready-{os.getpid()}"
        try:
            probe.write_bytes(b"x")
        finally:
            probe.unlink(missing_ok=True)
