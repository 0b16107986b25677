"""Where things are, and how patient to be: what every command is given."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from reconciler.address import Address, beside
from reconciler.client.patience import Timing
from reconciler.connect import connect
from reconciler.job import timestamp

if TYPE_CHECKING:
    from reconciler.backends import Store
    from reconciler.client import Client


@dataclass(frozen=True, slots=True)
class Settings:
    """Where things are, and how patient to be. Times in seconds."""

    root: Path
    state: Path
    """The state file; with an `address`, the beginning of the names of what is kept on this machine."""
    endpoint: str
    key: str | None = field(default=None, repr=False)
    parallelism: int = 16
    lock_timeout: float = 0.0
    settle_time: float = 5.0
    allow_endpoint_change: bool = False
    allow_http: bool = False
    specs: Path = Path("specs")
    """The specs of the working directory."""
    command: str = "reconciler"
    environment: str | None = None
    config_above: str | None = None
    """The folder above with a `reconciler.yaml`, where the working directory has none: it may be what is meant."""
    address: Address | None = None
    """Where the state lies that many machines share; None for the file."""
    lease: float = 60.0
    """How long a lock of a shared state lasts without a sign of life of its holder."""
    siblings: tuple[Path | Address, ...] = ()
    """States of the other environments: jobs that they record are not ours."""
    vars: Mapping[str, Any] = field(default_factory=dict)
    environ: Mapping[str, str] = field(default_factory=dict, repr=False)
    """The environment of the process: what `${{ env.NAME }}` in specs stands for."""
    policies: Mapping[str, Any] = field(default_factory=dict)
    """What `reconcile` in specs is laid over."""
    cache: Path | None = None
    """The folder with what specs said in earlier runs; None remembers nothing."""
    timing: Timing = Timing()
    tell: Callable[[str], None] = field(default=lambda text: None, compare=False, repr=False)
    """What people are told while a lock, or the platform, is waited for."""
    known: tuple[str, int] | None = None
    """Lineage and serial of the state as it was seen before: one of another history, or an older one, is refused."""

    def store(self) -> Store:
        """Where the record lies. Raises `UsageError` when it cannot be used here."""
        from reconciler.backends import open_store

        return open_store(self.address, self.state, self.root, self.environ, self.lease, self.timing.budget)

    @property
    def journal(self) -> Path:
        """The journal beside a state file."""
        return beside(self.state, ".journal")

    @property
    def pipelines(self) -> Path:
        """The folder with the snapshots of pipelines."""
        return self.root / "schemas" / "pipelines"

    def now(self) -> datetime:
        return self.timing.now()

    def timestamp(self) -> str:
        return timestamp(self.now())

    def connect(self, *, run_jobs: bool = False) -> contextlib.AbstractAsyncContextManager[Client]:
        return connect(
            self.endpoint,
            self.key,
            data=self.root / ".reconciler" / "local",
            parallelism=self.parallelism,
            timing=replace(self.timing, tell=self.tell),
            run_jobs=run_jobs,
            allow_http=self.allow_http,
        )
