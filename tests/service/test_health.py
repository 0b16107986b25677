"""`/healthz` and `/readyz`: who asks needs no key, and is told no secrets."""

from __future__ import annotations

import asyncio
import errno
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from service_client import running, served

from reconciler.service.database import Database
from reconciler.service.folder import DataFolder
from reconciler.service.health import Readiness
from reconciler.service.scheduler import Scheduler

HEALTH, READY = "http://service/healthz", "http://service/readyz"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.anyio
@pytest.mark.network
async def test_a_service_that_runs_says_so_without_a_key(tmp_path: Path) -> None:
    with served(tmp_path) as service:
        base = service.url.removesuffix("/v0.5")
        async with httpx.AsyncClient(base_url=base, trust_env=False) as http:
            assert (await http.get("/healthz")).json() == {"status": "ok"}
            answer = await http.get("/readyz")
            assert (answer.status_code, answer.json()) == (200, {"status": "ready", "reasons": []})
            for path in ("/healthz", "/readyz", "/"):
                head = await http.head(path)
                assert (head.status_code, head.content) == (200, b"")
            for path in ("/healthz/", "/readyz/x", "/metrics", "/v0.5/healthz"):
                assert (await http.get(path)).status_code == 401
            answer = await http.get("/metrics", headers={"Authorization": service.key})
            assert answer.json()["errors"][0]["message"] == "the key has no 'Bearer ' before it"


@pytest.mark.anyio
async def test_a_service_that_runs_no_jobs_is_not_ready(tmp_path: Path) -> None:
    async with running(tmp_path, run_jobs=False) as api:
        answer = await api.http.get(READY)
        assert answer.status_code == 503
        assert answer.json() == {"status": "unready", "reasons": ["this process does not run jobs now"]}
        assert (await api.http.get(HEALTH)).status_code == 200
    async with running(tmp_path) as first, running(tmp_path) as second:
        while (await first.http.get(READY)).status_code != 200:
            await asyncio.sleep(0.05)
        assert (await second.http.get(READY)).status_code == 503  # the other one has the lock


class Parts:
    """What readiness looks at, and what goes wrong with it."""

    def __init__(self, root: Path) -> None:
        self.folder = DataFolder(root)
        self.folder.prepare()
        self.database = Database(self.folder.database)
        self.at_work = True
        self.now = 0.0
        scheduler = cast(Scheduler, self)
        self.readiness = Readiness(
            folder=self.folder, database=self.database, scheduler=scheduler, clock=lambda: self.now
        )

    def reasons(self) -> list[str]:
        self.now += 1
        return self.readiness.reasons()


def test_what_is_wrong_is_said_and_forgotten_when_it_is_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    parts = Parts(tmp_path)
    assert parts.reasons() == []
    assert list(parts.folder.incoming.iterdir()) == []

    with monkeypatch.context() as patch:
        parts.database._writer.execute("PRAGMA query_only = 1")
        patch.setattr(Path, "write_bytes", _no_space)
        assert parts.reasons() == [
            "the database cannot be written: storage_unavailable",
            "the data folder cannot be written: storage_full",
        ]
    parts.database._writer.execute("PRAGMA query_only = 0")
    assert parts.reasons() == []

    parts.at_work = False
    assert parts.reasons() == ["this process does not run jobs now"]
    parts.database.close()
    assert parts.reasons() == ["the database cannot be written: ProgrammingError", "this process does not run jobs now"]


def _no_space(*_: Any) -> int:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_looks_are_a_second_apart_and_one_at_a_time(tmp_path: Path) -> None:
    parts = Parts(tmp_path)
    assert parts.reasons() == []
    parts.at_work = False
    assert parts.readiness.reasons() == []  # within the second
    with parts.readiness._looking:  # somebody looks, and it takes long
        parts.now += 5
        assert parts.readiness.reasons() == []
        parts.now += 6
        assert parts.readiness.reasons() == ["the disk does not answer"]
    assert parts.reasons() == ["this process does not run jobs now"]
    parts.database.close()
