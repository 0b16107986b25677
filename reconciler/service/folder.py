"""The data folder: where everything of one service lies, and the locks on it."""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from reconciler.service.errors import ServiceError


@dataclass(frozen=True, slots=True)
class DataFolder:
    """The paths below `root`. What the machines that run jobs have to see is below `shared`, if that is given."""

    root: Path
    shared: Path | None = None

    @property
    def _seen(self) -> Path:
        return self.shared or self.root

    @property
    def database(self) -> Path:
        return self.root / "service.db"

    @property
    def contents(self) -> Path:
        """One folder for each stored file or output, named by its id, with the file in it."""
        return self._seen / "contents"

    @property
    def incoming(self) -> Path:
        """Contents that are still being written."""
        return self._seen / "incoming"

    @property
    def uploads(self) -> Path:
        """One folder for each upload in parts, with the parts that have come so far."""
        return self._seen / "uploads"

    @property
    def runs(self) -> Path:
        """Working folders of running jobs; nothing in it outlives the attempt."""
        return self._seen / "runs"

    def place(self, marker: str) -> Path:
        """The folder of the place, at an engine, with this marker."""
        return self.runs / marker

    def attempt(self, job_id: str, attempt: int) -> Path:
        """The working folder of one attempt at a job that runs on this machine."""
        return self.place(f"{job_id}-{attempt}")

    @property
    def api_key(self) -> Path:
        return self.root / "api-key"

    def prepare(self) -> None:
        """Make the folders. Raises `ServiceError` when the folder cannot be written."""
        try:
            for path in (self.root, self._seen, self.contents, self.incoming, self.uploads, self.runs):
                path.mkdir(parents=True, exist_ok=True, mode=0o700)
            probe = self.root / f".probe-{os.getpid()}"
            probe.touch()
            probe.unlink()
        except OSError as error:
            raise ServiceError(
                f"the data folder {error.filename or self.root} cannot be written: {error.strerror}",
                "choose a folder that you may write to",
            ) from error

    @contextmanager
    def setup(self) -> Iterator[None]:
        """Held by one process at a time while it makes what does not exist yet."""
        with (self.root / "setup.lock").open("a") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield

    def secret(self, name: str, prefix: str = "") -> str:
        """The secret in the file `name` (mode 0600), made on first use. Call it inside `setup`."""
        path = self.root / name
        if not path.exists():
            temporary = self.root / f".{name}.new"
            temporary.unlink(missing_ok=True)
            handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "w") as file:
                file.write(prefix + secrets.token_urlsafe(32) + "\n")
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(path)
        path.chmod(0o600)
        value = path.read_text().strip()
        if not value:
            raise ServiceError(f"{path} is empty", "delete the file; a new one is made at the next start")
        return value


class SchedulerLock:
    """At most one process runs the jobs of a data folder. The system frees the lock when the process dies."""

    def __init__(self, folder: DataFolder) -> None:
        self._path = folder.root / "scheduler.lock"
        self._handle: int | None = None

    def acquire(self) -> bool:
        """Whether this object holds the lock now."""
        if self._handle is not None:
            return True
        handle = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            return False
        os.ftruncate(handle, 0)
        os.write(handle, f"{os.getpid()}\n".encode())
        self._handle = handle
        return True

    @property
    def held(self) -> bool:
        """Whether this object holds the lock."""
        return self._handle is not None

    def release(self) -> None:
        """Let the next process have it."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def holder(self) -> str:
        """The process that holds the lock, for messages."""
        return self._path.read_text().strip() or "unknown"
