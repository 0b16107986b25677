"""The files of jobs: several at a time, each once, and none after a signal."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from http_server import KEY, Answer, Clock, Request, answer, serve

from reconciler.cli.progress import Bytes
from reconciler.client import Client, Transport
from reconciler.errors import PlatformError
from reconciler.job import Upload
from reconciler.uploading import Uploading, upload_all

pytestmark = pytest.mark.network


@dataclass
class Platform:
    """Takes files, and notes how many come at a time."""

    refused: str = ""
    there: set[str] = field(default_factory=set)
    asked: list[str] = field(default_factory=list)
    most: int = 0
    _now: int = 0

    def __call__(self, request: Request) -> Answer:
        self.asked.append(f"{request.method} {request.target.removeprefix('/v0.5')}")
        if request.method == "GET":
            name = request.target.rpartition("/")[2]
            return answer(200, {"num_bytes": 2, "is_valid": True}) if name in self.there else answer(404)

        async def take(writer: asyncio.StreamWriter) -> None:
            self._now += 1
            self.most = max(self.most, self._now)
            await asyncio.sleep(0.01)
            self._now -= 1
            name = request.body.partition(b'filename="')[2].partition(b'"')[0].decode()
            writer.write(answer(413) if name == self.refused else answer(200, {"is_valid": True, "file_id": name}))

        return take


def files(folder: Path, count: int) -> list[Upload]:
    made = []
    for number in range(count):
        content = f"{number:02}".encode()
        (folder / f"{number}.csv").write_bytes(content)
        digest = "sha256:" + hashlib.sha256(content).hexdigest()
        made.append(Upload(f"{number}.csv", f"id-{number}.csv", digest, 2, "text/csv"))
    return made


def run(platform: Platform, folder: Path, *jobs: list[Upload], stopped: bool = False, told: Any = None) -> list[Any]:
    """What came of the uploads of each job; all of them run side by side, at most three files at a time."""

    async def carry_out() -> list[Any]:
        stop = asyncio.Event()
        if stopped:
            stop.set()
        shared = Uploading(asyncio.Semaphore(3), told or (lambda upload, num_bytes: None))
        async with serve(platform) as server, Transport(server.url, KEY, timing=Clock().timing(0)) as transport:
            client = Client(transport)
            work = (upload_all(uploads, client, folder, stop, shared) for uploads in jobs)
            return list(await asyncio.gather(*work, return_exceptions=True))

    return asyncio.run(carry_out())


def test_files_of_all_jobs_are_sent_side_by_side_and_each_once(tmp_path: Path) -> None:
    platform = Platform()
    uploads = files(tmp_path, 9)
    assert run(platform, tmp_path, uploads, uploads[3:], uploads[:1]) == [True, True, True]
    assert platform.asked.count("POST /files") == 9
    assert 2 <= platform.most <= 3


def test_what_is_there_is_not_sent_and_told_as_such(tmp_path: Path) -> None:
    told: list[tuple[str, int]] = []
    platform = Platform(there={"id-0.csv"})
    run(platform, tmp_path, files(tmp_path, 2), told=lambda upload, num_bytes: told.append((upload.path, num_bytes)))
    assert platform.asked.count("POST /files") == 1
    assert ("0.csv", 0) in told
    assert sum(num_bytes for path, num_bytes in told if path == "1.csv") == 2


def test_a_file_that_is_refused_fails_the_jobs_that_need_it_and_no_other(tmp_path: Path) -> None:
    uploads = files(tmp_path, 4)
    failed, done = run(Platform(refused="id-1.csv"), tmp_path, uploads[:2], uploads[2:])
    assert isinstance(failed, PlatformError)
    assert "1.csv" in failed.message
    assert done is True


def test_a_file_that_is_gone_is_an_os_error(tmp_path: Path) -> None:
    uploads = files(tmp_path, 1)
    (tmp_path / "0.csv").unlink()
    assert isinstance(run(Platform(), tmp_path, uploads)[0], FileNotFoundError)


def test_after_a_signal_no_file_is_begun(tmp_path: Path) -> None:
    platform = Platform()
    assert run(platform, tmp_path, files(tmp_path, 2), stopped=True) == [False]
    assert platform.asked == []


def test_a_file_is_a_line_and_a_long_one_a_line_for_each_tenth(capsys: pytest.CaptureFixture[str]) -> None:
    shown = Bytes("Uploading", 200_000_002, None, lines=True)
    shown.moved("a\x1b[31m.csv", 2, size=2)
    shown.moved("there.csv", 0, size=5)
    for _ in range(20):
        shown.moved("b.mp4", 10_000_000, size=200_000_000)
    lines = capsys.readouterr().err.splitlines()
    assert "\x1b" not in lines[0]
    assert lines[0].endswith(".csv: 2 B")
    assert lines[1:4] == [f"Uploading b.mp4: {tenth}0 % of 200.0 MB" for tenth in (1, 2, 3)]
    assert lines[-1] == "Uploading b.mp4: 200.0 MB"
    assert len(lines) == 11
