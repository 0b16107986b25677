"""One writer at a time, and it is known who; nobody has to clean up after a crash."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from reconciler.errors import ExitCode, StateError, StateLocked
from reconciler.lock import Waiting, locked, locked_when_free, on_network

HOLDER = """
import sys
from pathlib import Path
from reconciler.lock import locked
with locked(Path(sys.argv[1]), sys.argv[2]):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / ".reconciler" / "state.lock"


@contextmanager
def holder(path: Path, name: str = "reconciler apply --prune") -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the lock until its input ends."""
    command = [sys.executable, "-c", HOLDER, str(path), name]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


def is_free(path: Path) -> bool:
    with path.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def test_a_second_process_is_told_who_holds_the_lock(path: Path) -> None:
    with holder(path) as process:
        with pytest.raises(StateLocked) as caught, locked(path, "reconciler plan"):
            pytest.fail("two hold the lock")
        message = caught.value.message
        assert caught.value.exit_code == ExitCode.TRY_LATER
        assert f"pid {process.pid}" in message
        assert socket.gethostname() in message
        assert "'reconciler apply --prune' of " in message
        assert re.search(r"since \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", message)
        note = json.loads(path.read_text())
        assert note["user"] in message
        assert process.poll() is None


@pytest.mark.parametrize(("command", "waits"), [("wait", True), ("apply --wait", True), ("apply", False)])
def test_who_only_waits_can_be_interrupted(path: Path, command: str, waits: bool) -> None:
    with holder(path, command), pytest.raises(StateLocked) as caught, locked(path, "cancel"):
        pytest.fail("two hold the lock")
    hint = caught.value.hint or ""
    assert hint.startswith("Ctrl-C there ends the waiting, and cancels no job; or wait for it") == waits
    assert "wait for it, or give --lock-timeout" in hint


def test_a_killed_holder_frees_the_lock(path: Path) -> None:
    with holder(path) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
        with locked(path, "reconciler apply"):
            assert json.loads(path.read_text())["pid"] == os.getpid()


def test_a_stopped_holder_keeps_the_lock(path: Path) -> None:
    with holder(path) as process:
        process.send_signal(signal.SIGSTOP)
        with pytest.raises(StateLocked), locked(path, "reconciler apply"):
            pytest.fail("the lock was stolen")


def test_waiting_takes_the_lock_when_it_is_freed(path: Path) -> None:
    with holder(path) as process:
        waits: list[float] = []

        async def sleep(seconds: float) -> None:
            waits.append(seconds)
            if len(waits) == 3:
                process.kill()
                process.wait()

        async def run() -> None:
            async with locked_when_free(path, "reconciler apply", 60, sleep):
                assert len(waits) == 3
                assert not is_free(path)

        asyncio.run(run())


def test_waiting_ends_with_the_timeout(path: Path) -> None:
    waits: list[float] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    async def run() -> None:
        async with locked_when_free(path, "two", 2, sleep):
            pytest.fail("two hold the lock")

    with locked(path, "one"):
        with pytest.raises(StateLocked, match="one"):
            asyncio.run(run())
        assert 1.9 <= sum(waits) <= 2.2
        assert not is_free(path)


def test_waiting_is_told_after_a_second_and_then_once_a_minute(path: Path) -> None:
    waits: list[float] = []
    told: list[tuple[int, str]] = []

    async def sleep(seconds: float) -> None:
        waits.append(seconds)

    async def run(timeout: float) -> None:
        waiting = Waiting("team.json", lambda text: told.append((round(sum(waits)), text)))
        async with locked_when_free(path, "two", timeout, sleep, waiting):
            pytest.fail("two hold the lock")

    with locked(path, "one"):
        with pytest.raises(StateLocked):
            asyncio.run(run(0.8))
        assert told == []
        waits.clear()
        with pytest.raises(StateLocked):
            asyncio.run(run(130))
    assert [seconds for seconds, _ in told] == [1, 61, 121]
    assert re.fullmatch(r"Waiting for the lock of team\.json, held by 'one' of .*, pid \d+, since \S+", told[0][1])


def test_the_lock_is_freed_whatever_happened_and_the_file_stays(path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), locked(path, "reconciler apply"):
        inode = path.stat().st_ino
        raise KeyboardInterrupt
    assert is_free(path)
    with locked(path, "reconciler apply"):
        assert path.stat().st_ino == inode  # a new file would let a second holder in
    assert path.stat().st_ino == inode
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_program_that_the_holder_starts_does_not_hold_the_lock(path: Path) -> None:
    with locked(path, "reconciler apply"):
        child = subprocess.Popen(["sleep", "30"], close_fds=False)
    try:
        assert is_free(path)
    finally:
        child.kill()
        child.wait()


def test_a_link_is_refused_and_its_target_left_alone(tmp_path: Path) -> None:
    target = tmp_path / "precious"
    target.write_text("precious")
    (tmp_path / "lock").symlink_to(target)
    with pytest.raises(StateError), locked(tmp_path / "lock", "reconciler apply"):
        pytest.fail("a link was followed")
    assert target.read_text() == "precious"


def test_a_lock_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    for path in (tmp_path / "file" / "lock", tmp_path / "folder"):
        with pytest.raises(StateError, match="cannot be opened"), locked(path, "reconciler apply"):
            pytest.fail("there is no lock")


def test_a_file_system_without_locks_is_an_error_that_says_so(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unsupported(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", unsupported)
    with pytest.raises(StateError, match="No locks available"), locked(path, "reconciler apply"):
        pytest.fail("there is no lock")


@pytest.mark.parametrize(
    "note", ["", "{", "[]", "null", "5", "{}", '{"pid": 1}', "[" * 100_000, '{"command": "\\u001b[2J", "user": "u"}']
)
def test_a_note_that_says_nothing_does_not_hide_that_it_is_locked(path: Path, note: str) -> None:
    with locked(path, "reconciler apply"):
        path.write_text(note)
        with pytest.raises(StateLocked, match="another process"), locked(path, "reconciler apply"):
            pytest.fail("two hold the lock")


def test_a_hostile_note_cannot_drive_a_terminal(path: Path) -> None:
    with locked(path, "reconciler apply \x1b[2J\n"), pytest.raises(StateLocked) as caught, locked(path, "x"):
        pytest.fail("two hold the lock")
    assert caught.value.message.isprintable()


def test_a_full_disk_keeps_nobody_from_the_lock(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with locked(path, "reconciler apply"):
        assert not is_free(path)


def test_a_free_lock_is_not_waited_for(path: Path) -> None:
    async def never(seconds: float) -> None:
        pytest.fail("it waited")

    async def run() -> None:
        async with locked_when_free(path, "reconciler apply", 60, never):
            assert not is_free(path)

    asyncio.run(run())


def test_a_holder_that_ended_well_leaves_no_note(path: Path) -> None:
    with locked(path, "apply"):
        assert json.loads(path.read_text())["command"] == "apply"
    assert path.read_text() == ""


@pytest.mark.parametrize(
    ("host", "network", "free"), [("elsewhere", True, False), ("elsewhere", False, True), (None, True, True)]
)
def test_a_note_of_another_host_counts_where_locks_may_not_reach(
    path: Path, host: str | None, network: bool, free: bool
) -> None:
    """Over a network file system a free lock proves nothing; on a disk of this machine it does."""
    path.parent.mkdir()
    note = {"pid": 7, "host": host or socket.gethostname(), "user": "u", "command": "apply", "since": "then"}
    path.write_text(json.dumps(note))
    if free:
        with locked(path, "status", shared=lambda folder: network):
            pass
        return
    match = "'apply' of u on elsewhere, pid 7"
    with pytest.raises(StateLocked, match=match) as refused, locked(path, "status", shared=lambda folder: network):
        pass
    assert refused.value.hint is not None
    assert f": > {path}" in refused.value.hint
    assert json.loads(path.read_text()) == note


def test_this_folder_is_not_on_a_network(path: Path) -> None:
    path.parent.mkdir()
    assert not on_network(path.parent)
