"""Results in a folder: whole or not at all, none twice, gone on with, and never the key to another host."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from http_server import KEY, Answer, Clock, Request, Server, answer, serve

from reconciler.client import Client, Transport
from reconciler.downloads import Downloaded, download_all
from reconciler.errors import PlatformError, PlatformUnavailable

pytestmark = pytest.mark.network
TEXT = b"0123456789"


def output(number: int = 1, ref: str = "/files/out", size: int | None = len(TEXT), **more: Any) -> dict[str, Any]:
    data = {"ref": ref, "filename": f"r{number}.txt", "num_bytes": size}
    return {"id": f"out_{number}", "data": data, "created_at": f"2026-03-01T10:00:0{number}.123456Z", **more}


class Platform:
    """Answers ranges and lists outputs, and can be told to behave otherwise."""

    def __init__(self) -> None:
        self.rows = [output(1)]
        self.contents: dict[str, bytes] = {"/v0.5/files/out": TEXT}
        self.said: list[Answer] = []
        self.ranges = True
        self.asked: list[Request] = []

    def __call__(self, request: Request) -> Answer:
        self.asked.append(request)
        path = request.target.partition("?")[0]
        if path.endswith("/outputs"):
            first = "offset=0" in request.target
            return answer(200, {"outputs": self.rows if first else [], "total": len(self.rows)})
        if self.said:
            return self.said.pop(0)
        content = self.contents.get(path)
        if content is None:
            return answer(404)
        wanted = request.headers.get("range")
        if wanted is None or not self.ranges:
            return answer(200, content)
        start = int(wanted.removeprefix("bytes=").rstrip("-"))
        if start >= len(content):
            return answer(416)
        return answer(206, content[start:], Content_Range=f"bytes {start}-{len(content) - 1}/{len(content)}")

    @property
    def downloads(self) -> list[Request]:
        return [request for request in self.asked if not request.target.partition("?")[0].endswith("/outputs")]


@pytest.fixture
def platform() -> Iterator[Platform]:
    yield Platform()


def fetch(platform: Platform, folder: Path, *, parallelism: int = 4, budget: float = 0.0) -> tuple[Downloaded, int]:
    """What became of the outputs, and the bytes that were told."""
    told = [0]

    def came(name: str, num_bytes: int, /, size: int) -> None:
        told.append(num_bytes)

    async def run() -> Downloaded:
        timing = Clock().timing(budget)
        async with serve(platform) as server, Transport(server.url, KEY, timing=timing) as transport:
            return await download_all(Client(transport), "job_1", platform.rows, folder, parallelism, came)

    result = asyncio.run(run())
    assert told.count(0) == 1 + len(result.kept)
    return result, sum(told)


def part(folder: Path) -> Path:
    (found,) = folder.glob(".*.part")
    return found


def cut_off(folder: Path, platform: Platform, size: int) -> Path:
    """A download that breaks off after `size` bytes."""
    head = f"HTTP/1.1 200 OK\r\ncontent-length: {len(TEXT)}\r\nconnection: close\r\n\r\n".encode()
    platform.said = [head + TEXT[:size]]
    result, _ = fetch(platform, folder)
    assert isinstance(result.failed["r1.txt"], PlatformUnavailable)
    assert [p.name for p in folder.iterdir()] == [part(folder).name]
    assert part(folder).read_bytes() == TEXT[:size]
    platform.asked.clear()
    return part(folder)


def test_a_second_run_downloads_nothing(platform: Platform, tmp_path: Path) -> None:
    platform.rows = [output(n) for n in range(1, 6)]
    result, told = fetch(platform, tmp_path)
    assert result.fetched == {f"r{n}.txt": 10 for n in range(1, 6)}
    assert told == 50
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == dict.fromkeys(result.fetched, TEXT)
    platform.asked.clear()
    result, _ = fetch(platform, tmp_path)
    assert (result.kept, result.fetched) == ({f"r{n}.txt": 10 for n in range(1, 6)}, {})
    assert platform.asked == []


@pytest.mark.parametrize("spoil", ["edited", "truncated", "touched", "another job's", "a link"])
def test_a_file_that_is_not_this_output_is_fetched_again(platform: Platform, tmp_path: Path, spoil: str) -> None:
    fetch(platform, tmp_path)
    path = tmp_path / "r1.txt"
    if spoil == "edited":
        path.write_bytes(b"abcdefghij")
    elif spoil == "truncated":
        status = path.stat()
        path.write_bytes(TEXT[:5])
        os.utime(path, ns=(status.st_mtime_ns, status.st_mtime_ns))
    elif spoil == "touched":
        path.touch()
    elif spoil == "a link":
        other = tmp_path.parent / "precious"
        other.write_bytes(b"abcdefghij")
        os.utime(other, ns=(path.stat().st_mtime_ns,) * 2)
        path.unlink()
        path.symlink_to(other)
    else:
        platform.rows = [output(1, id="out_9", created_at="2026-03-01T10:00:09Z")]
        platform.contents["/v0.5/files/out"] = b"9876543210"
    result, _ = fetch(platform, tmp_path)
    assert list(result.fetched) == ["r1.txt"]
    assert path.read_bytes() == platform.contents["/v0.5/files/out"]
    if spoil == "a link":
        assert other.read_bytes() == b"abcdefghij"


@pytest.mark.parametrize("size", [1, 9])
def test_what_was_cut_off_goes_on(platform: Platform, tmp_path: Path, size: int) -> None:
    cut_off(tmp_path, platform, size)
    result, told = fetch(platform, tmp_path)
    assert (result.fetched, told) == ({"r1.txt": 10}, 10)
    assert platform.downloads[0].headers["range"] == f"bytes={size}-"
    assert platform.downloads[0].headers["accept-encoding"] == "identity"
    assert (tmp_path / "r1.txt").read_bytes() == TEXT
    assert [p.name for p in tmp_path.iterdir()] == ["r1.txt"]


def test_a_download_that_breaks_off_goes_on_in_the_same_run(platform: Platform, tmp_path: Path) -> None:
    head = f"HTTP/1.1 200 OK\r\ncontent-length: {len(TEXT)}\r\nconnection: close\r\n\r\n".encode()
    platform.said = [head + TEXT[:3], answer(503)]
    result, told = fetch(platform, tmp_path, budget=60)
    assert (result.fetched, told) == ({"r1.txt": 10}, 10)
    assert [r.headers.get("range") for r in platform.downloads] == [None, "bytes=3-", "bytes=3-"]


@pytest.mark.parametrize(
    "said",
    [
        None,  # the whole file, with 200
        answer(206, b"89", Content_Range="bytes 8-9/10"),
        answer(206, b"56789"),
        answer(206, b"56789", Content_Range="bytes 5-9/10", Content_Encoding="gzip"),
        answer(416),
    ],
)
def test_without_ranges_that_are_honoured_it_starts_anew(
    platform: Platform, tmp_path: Path, said: Answer | None
) -> None:
    cut_off(tmp_path, platform, 5)
    platform.ranges = False
    platform.said = [said] if said is not None else []
    result, told = fetch(platform, tmp_path, budget=60)
    assert (result.fetched, told) == ({"r1.txt": 10}, 10)
    assert (tmp_path / "r1.txt").read_bytes() == TEXT


def test_a_part_of_another_output_is_not_gone_on_with(platform: Platform, tmp_path: Path) -> None:
    cut_off(tmp_path, platform, 5)
    platform.rows = [output(1, id="out_9")]
    platform.contents["/v0.5/files/out"] = b"abcdefghij"
    fetch(platform, tmp_path)
    assert "range" not in platform.downloads[0].headers
    assert (tmp_path / "r1.txt").read_bytes() == b"abcdefghij"


@pytest.mark.parametrize("rest", [TEXT[5:] + b"!", TEXT + b"more"])
def test_a_part_that_is_too_long_starts_anew(platform: Platform, tmp_path: Path, rest: bytes) -> None:
    with cut_off(tmp_path, platform, 5).open("ab") as file:
        file.write(rest)
    result, _ = fetch(platform, tmp_path)
    assert result.fetched == {"r1.txt": 10}
    assert (tmp_path / "r1.txt").read_bytes() == TEXT


def test_a_part_that_is_whole_needs_no_request(platform: Platform, tmp_path: Path) -> None:
    with cut_off(tmp_path, platform, 5).open("ab") as file:
        file.write(TEXT[5:])
    assert fetch(platform, tmp_path)[0].fetched == {"r1.txt": 10}
    assert platform.asked == []


@pytest.mark.parametrize("size", [9, 11, 0])
def test_another_size_than_was_told_is_no_success(platform: Platform, tmp_path: Path, size: int) -> None:
    platform.rows = [output(1, size=size)]
    result, _ = fetch(platform, tmp_path)
    assert isinstance(result.failed["r1.txt"], PlatformUnavailable)
    assert not (tmp_path / "r1.txt").exists()


def test_an_output_without_a_size_is_fetched_and_kept(platform: Platform, tmp_path: Path) -> None:
    platform.rows = [output(1, size=None)]
    assert fetch(platform, tmp_path)[0].fetched == {"r1.txt": 10}
    assert fetch(platform, tmp_path)[0].kept == {"r1.txt": 10}


@pytest.mark.parametrize("made", [None, "yesterday", "9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z", 5])
def test_an_output_whose_time_is_no_time_is_fetched_all_the_same(
    platform: Platform, tmp_path: Path, made: object
) -> None:
    platform.rows = [output(1, created_at=made)]
    assert fetch(platform, tmp_path)[0].fetched == {"r1.txt": 10}


@pytest.mark.parametrize("stale", [answer(403), answer(400, b"<Code>ExpiredToken</Code>"), answer(404), answer(410)])
def test_stale_references_are_listed_again_once_for_all(platform: Platform, tmp_path: Path, stale: Answer) -> None:
    platform.rows = [output(n, ref=f"/files/old{n}") for n in range(1, 6)]
    rows = [output(n) for n in range(1, 6)]

    def script(request: Request) -> Answer:
        if "/files/old" in request.target:
            platform.asked.append(request)
            return stale
        listing = platform.rows
        platform.rows = rows
        try:
            return Platform.__call__(platform, request)
        finally:
            platform.rows = listing

    async def run() -> Downloaded:
        async with serve(script) as server, Transport(server.url, KEY, timing=Clock().timing(0)) as transport:
            return await download_all(
                Client(transport), "job_1", platform.rows, tmp_path, 5, lambda name, num_bytes, /, size: None
            )

    result = asyncio.run(run())
    assert len(result.fetched) == 5
    listed = [r for r in platform.asked if "outputs?offset=0" in r.target]
    assert len(listed) == 1


def test_a_reference_that_stays_stale_fails_that_file_alone(platform: Platform, tmp_path: Path) -> None:
    platform.rows = [output(1, ref="/files/gone"), output(2), output(3, ref="file:///etc/passwd"), {"id": "out_4"}]
    result, _ = fetch(platform, tmp_path)
    assert list(result.fetched) == ["r2.txt"]
    assert all(isinstance(error, PlatformError) for error in result.failed.values())
    assert len(result.failed) == 3
    assert [p.name for p in tmp_path.iterdir()] == ["r2.txt"]


def test_the_key_goes_to_no_other_host(platform: Platform, tmp_path: Path) -> None:
    """Neither by an absolute reference nor by a redirect of one that is the platform's own."""

    async def run() -> tuple[Downloaded, Server]:
        async with serve([answer(200, TEXT)]) as storage, serve(platform) as server:
            elsewhere = storage.url + "/signed?right=1"
            moved = answer(302, Location=elsewhere)
            platform.rows = [output(1, ref=elsewhere), output(2, ref="/files/moved")]
            platform.said = [moved]
            async with Transport(server.url, KEY, timing=Clock().timing(0)) as transport:
                result = await download_all(
                    Client(transport), "job_1", platform.rows, tmp_path, 1, lambda name, num_bytes, /, size: None
                )
            return result, storage

    result, storage = asyncio.run(run())
    assert list(result.fetched) == ["r1.txt"]
    assert "redirected" in result.failed["r2.txt"].message
    (request,) = storage.requests
    assert "authorization" not in request.headers
    assert KEY not in str(request)
    assert platform.downloads[0].headers["authorization"] == f"Bearer {KEY}"


def test_a_reference_without_encryption_is_not_followed(platform: Platform, tmp_path: Path) -> None:
    platform.rows = [output(1, ref="http://storage.example/x")]
    result, _ = fetch(platform, tmp_path)
    assert "without encryption" in result.failed["r1.txt"].message


def test_a_full_disk_stops_all_and_keeps_what_came(
    platform: Platform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    platform.rows = [output(n) for n in range(1, 4)]
    replace = Path.replace
    left = [1]

    def full(self: Path, target: Path) -> Path:
        if not left:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        left.pop()
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(OSError, match="No space left"):
        fetch(platform, tmp_path, parallelism=1)
    assert (tmp_path / "r1.txt").read_bytes() == TEXT


def test_two_commands_do_not_add_to_one_file(platform: Platform, tmp_path: Path) -> None:
    import fcntl

    with cut_off(tmp_path, platform, 5).open("ab") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        result, _ = fetch(platform, tmp_path)
        assert "another command" in result.failed["r1.txt"].message
    assert fetch(platform, tmp_path)[0].fetched == {"r1.txt": 10}


def test_a_folder_in_the_place_of_a_file_fails_that_file_alone(platform: Platform, tmp_path: Path) -> None:
    platform.rows = [output(1), output(2), output(3)]
    (tmp_path / "r1.txt").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "r3.txt").symlink_to("elsewhere")
    result, _ = fetch(platform, tmp_path)
    assert sorted(result.fetched) == ["r2.txt", "r3.txt"]
    assert result.failed["r1.txt"].message == "a folder has the name of this file"
    assert not list(tmp_path.glob(".*")), "nothing is left half done"
