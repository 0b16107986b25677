"""A disk that is full, read-only or broken: what is answered, what is kept, and that it works again afterwards."""

from __future__ import annotations

import asyncio
import errno
import shutil
import sqlite3
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from service_client import Api, Served, entries, read_announcement, running, start

from reconciler.service.diskfaults import disk_fault

WAITING = {"name": "w", "pipeline_type": "batch", "pipeline_key": "waiter"}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def raised(*statements: str, path: str = ":memory:") -> sqlite3.Error:
    """The error that the last statement ends in."""
    with pytest.raises(sqlite3.Error) as caught, closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)
    return caught.value


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (OSError(errno.ENOSPC, ""), 507, "storage_full"),
        (OSError(errno.EDQUOT, ""), 507, "storage_full"),
        (OSError(errno.EFBIG, ""), 507, "storage_full"),
        (OSError(errno.EROFS, ""), 503, "storage_unavailable"),
        (PermissionError(errno.EACCES, ""), 503, "storage_unavailable"),
        (OSError(errno.EIO, ""), 503, "storage_unavailable"),
        (OSError(errno.EMFILE, ""), 503, "storage_unavailable"),
        (raised("CREATE TABLE t (x)", "PRAGMA max_page_count = 1", "CREATE TABLE u (x)"), 507, "storage_full"),
        (raised("CREATE TABLE t (x)", "PRAGMA query_only = 1", "DROP TABLE t"), 503, "storage_unavailable"),
        (raised("SELECT * FROM sqlite_master", path="/dev/null/x"), 503, "storage_unavailable"),
    ],
)
def test_errors_of_the_disk_have_an_answer(error: Exception, status: int, code: str) -> None:
    fault = disk_fault(error)
    assert fault is not None
    assert (fault.status, fault.faults[0].code) == (status, code)
    assert (fault.retry_after is not None) == (status == 503)


@pytest.mark.parametrize(
    "error",
    [
        ValueError("x"),
        ConnectionResetError(errno.ECONNRESET, ""),
        OSError("no number"),
        sqlite3.ProgrammingError("closed"),
        raised("SELECT * FROM nothing"),
    ],
)
def test_other_errors_are_not_called_errors_of_the_disk(error: Exception) -> None:
    assert disk_fault(error) is None


@pytest.mark.anyio
async def test_a_full_database_refuses_and_goes_on(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with running(tmp_path, run_jobs=False) as api:
        kept = await api.upload("kept", b"abc")
        app: Any = api.app
        writer = app.state.context.store._database._writer
        (most,) = writer.execute("PRAGMA max_page_count").fetchone()
        writer.execute("PRAGMA max_page_count = 1")  # none beyond those that there are
        acknowledged = []
        while (answer := await api.http.post("/batch/jobs", json=WAITING)).status_code == 201:
            acknowledged.append(answer.json()["id"])
        status, (fault,) = entries(answer)
        assert (status, fault["code"]) == (507, "storage_full")
        for number in range(100):
            answer = await api.http.post("/files", files={"f": (f"f{number}", b"x", "text/plain")})
            if answer.status_code != 200:
                break
        assert entries(answer)[0] == 507
        assert list((tmp_path / "incoming").iterdir()) == []
        assert len(list((tmp_path / "contents").iterdir())) == (await api.http.get("/files/info")).json()["num_files"]

        writer.execute(f"PRAGMA max_page_count = {most}")
        acknowledged.append((await api.submit("waiter"))["id"])
        jobs = (await api.http.get("/batch/jobs", params={"limit": 100})).json()["jobs"]
        assert [job["id"] for job in jobs] == acknowledged[::-1]
        assert (await api.http.get(f"/files/download/{kept['file_id']}")).content == b"abc"
    assert "SQLITE_FULL" in fault["message"]
    assert "POST /v0.5/batch/jobs failed: database or disk is full" in caplog.text


# From here on with a real file system of a service's own.

MOUNTABLE = (
    shutil.which("unshare")
    and not subprocess.run(
        ["unshare", "-m", "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True, check=False
    ).returncode
)
real = [
    pytest.mark.anyio,
    pytest.mark.network,
    pytest.mark.slow,
    pytest.mark.skipif(not MOUNTABLE, reason="mounting is not permitted here"),
]


@contextmanager
def on_its_own_disk(data: Path, size: str) -> Iterator[tuple[Served, Path]]:
    """A service whose data folder is a small tmpfs, and the folder as this process can reach it."""
    data.mkdir()
    mount = f'mount -t tmpfs -o size={size} none {data} && exec "$@"'
    with start(data, before=("unshare", "-m", "sh", "-c", mount, "sh")) as process:
        try:
            lines = read_announcement(process)
            inside = Path(f"/proc/{process.pid}/root{data}")
            key = (inside / "api-key").read_text().strip()
            yield Served(process, lines[1].partition("=")[2], key, lines), inside
        finally:
            process.kill()


def inside_mounts(service: Served, command: str) -> None:
    subprocess.run(["nsenter", "-t", str(service.process.pid), "-m", "sh", "-c", command], check=True)


@asynccontextmanager
async def filled(disk: Path) -> AsyncIterator[None]:
    """Not a byte more fits."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file, pytest.raises(OSError, match="No space"):
        while True:
            file.write(b"x" * 4096)
    try:
        yield
    finally:
        filler.unlink()


class TestRealDisk:
    pytestmark = real

    async def test_a_full_disk_loses_nothing_and_is_over_when_there_is_room(self, tmp_path: Path) -> None:
        with on_its_own_disk(tmp_path / "data", "4m") as (service, disk):
            async with service.client() as api:
                await api.upload("kept", b"abc" * 1000)
                acknowledged = [(await api.submit("waiter"))["id"]]
                async with filled(disk):
                    while (answer := await api.http.post("/batch/jobs", json=WAITING)).status_code == 201:
                        acknowledged.append(answer.json()["id"])
                    assert entries(answer)[1][0]["code"] == "storage_full"
                    assert answer.status_code == 507
                    upload = await api.http.post("/files", files={"f": ("big", b"x" * 50_000, "text/plain")})
                    assert (upload.status_code, entries(upload)[1][0]["code"]) == (507, "storage_full")
                    assert list((disk / "incoming").iterdir()) == []
                    assert (await api.http.get("/files/download/kept")).content == b"abc" * 1000
                    assert (await api.http.get("/files/metadata/big")).status_code == 404
                    ready = await api.http.get(service.url.replace("/v0.5", "/readyz"))
                    assert ready.status_code == 503
                    assert "the data folder cannot be written: storage_full" in ready.json()["reasons"]
                await works_again(api, acknowledged)
            assert service.process.poll() is None

    async def test_a_folder_that_became_read_only(self, tmp_path: Path) -> None:
        with on_its_own_disk(tmp_path / "data", "4m") as (service, disk):
            incoming = tmp_path / "data" / "incoming"
            async with service.client() as api:
                acknowledged = [(await api.submit("waiter"))["id"]]
                inside_mounts(service, f"mount --bind {incoming} {incoming} && mount -o remount,ro,bind {incoming}")
                upload = await api.http.post("/files", files={"f": ("kept", b"abc", "text/plain")})
                status, (fault,) = entries(upload)
                assert (status, fault["code"]) == (503, "storage_unavailable")
                assert "EROFS" in fault["message"]
                assert int(upload.headers["retry-after"]) >= 1
                inside_mounts(service, f"umount {incoming}")
                await api.upload("kept", b"abc" * 1000)
                await works_again(api, acknowledged)
                assert list((disk / "incoming").iterdir()) == []

    async def test_a_job_waits_for_a_disk_that_cannot_be_used_when_it_is_to_start(self, tmp_path: Path) -> None:
        with on_its_own_disk(tmp_path / "data", "4m") as (service, _):
            runs = tmp_path / "data" / "runs"
            async with service.client() as api:
                inside_mounts(service, f"mount --bind {runs} {runs} && mount -o remount,ro,bind {runs}")
                job = (await api.submit("babble"))["id"]
                await api.wait(job, "RUNNING")
                await asyncio.sleep(1)  # the time of a few tries: it must not fail in any of them
                assert (await api.job(job))["status"] == "RUNNING"
                inside_mounts(service, f"umount {runs}")
                assert (await api.wait(job))["status"] == "COMPLETED"


async def works_again(api: Api, acknowledged: list[str]) -> None:
    """Uploads and jobs are taken again, and nothing that was acknowledged is missing."""
    await api.upload("after", b"x" * 50_000)
    acknowledged.append((await api.submit("waiter"))["id"])
    jobs = (await api.http.get("/batch/jobs", params={"limit": 100})).json()["jobs"]
    assert [job["id"] for job in jobs] == acknowledged[::-1]
    assert (await api.http.get("/files/download/kept")).content == b"abc" * 1000
