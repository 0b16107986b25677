"""What the journal has acknowledged is there after any crash, and damage is never passed over."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from nouns import ENDPOINT, request, state

from reconciler.entries import Entry, Intent, Observed, Submitted, token
from reconciler.errors import StateError
from reconciler.journal import Journal, finish, journal_bytes, parse_late, read_journal

STATE = state(7)
AT = "2026-04-14T10:00:00Z"


def intent(name: str, generation: int = 1) -> Intent:
    return Intent(
        name=name,
        at=AT,
        action="create",
        fingerprint="sha256:" + "0" * 64,
        generation=generation,
        token=token("L", name, generation),
        request=request(),
        spec_path=f"specs/{name}.yaml",
    )


def submitted(name: str) -> Submitted:
    job = {"id": f"job_{name}", "name": name, "status": "PENDING", "x": "ä\u2028😀", "n": 10**20, "f": 0.1}
    return Submitted(name=name, at=AT, token=token("L", name, 1), job_id=f"job_{name}", job=job)


ENTRIES: list[Entry] = [intent("a"), submitted("a"), intent("b")]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state.journal"


def write(path: Path, entries: list[Entry]) -> bytes:
    """A journal with `entries`, as a run that was cut off leaves it."""

    async def run() -> None:
        journal = Journal.start(path, STATE)
        for entry in entries:
            await journal.append(entry)
        journal.close()

    asyncio.run(run())
    return path.read_bytes()


def read(path: Path) -> tuple[Entry, ...]:
    leftover = read_journal(path, STATE)
    assert leftover is not None
    return leftover.entries


def test_no_journal_is_none(path: Path) -> None:
    assert read_journal(path, STATE) is None
    assert read_journal(path, None) is None


def test_what_was_appended_is_read_back(path: Path) -> None:
    write(path, ENTRIES)
    assert read(path) == tuple(ENTRIES)
    leftover = read_journal(path, STATE)
    assert leftover is not None
    assert (leftover.header.lineage, leftover.header.serial, leftover.header.endpoint) == ("L", 7, ENDPOINT)


def test_every_line_is_json_for_people_and_programs(path: Path) -> None:
    lines = write(path, ENTRIES).splitlines()
    assert [json.loads(line)["entry"].get("kind") for line in lines] == [None, "intent", "submitted", "intent"]
    assert path.stat().st_mode & 0o777 == 0o600


def test_an_entry_is_on_the_disk_when_the_append_returns(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[bytes] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        real(descriptor)
        if path.exists():
            synced.append(path.read_bytes())

    monkeypatch.setattr(os, "fsync", fsync)

    async def run() -> None:
        journal = Journal.start(path, STATE)
        for entry in ENTRIES:
            await journal.append(entry)
            assert synced[-1] == path.read_bytes()
        journal.close()

    asyncio.run(run())
    assert read(path) == tuple(ENTRIES)


def test_a_torn_last_line_is_dropped_at_every_byte(path: Path) -> None:
    data = write(path, ENTRIES)
    ends = [i + 1 for i, byte in enumerate(data) if byte == 10]
    for length in range(ends[0], len(data)):
        path.write_bytes(data[:length])
        whole = sum(end <= length + 1 for end in ends[1:])  # a line is whole when only its line end is missing
        assert read(path) == tuple(ENTRIES[:whole]), length


def test_a_torn_first_line_is_no_journal(path: Path) -> None:
    data = write(path, [])
    for length in range(len(data) - 1):
        path.write_bytes(data[:length])
        assert read_journal(path, STATE) is None


def test_damage_before_the_last_line_is_refused_with_its_line(path: Path) -> None:
    lines = write(path, ENTRIES).splitlines(keepends=True)
    broken = [b"\n", b"{}\n", b"null\n", b"garbage\n", b"[" * 5000 + b"\n", b"\x00" * 100 + b"\n", b"\xff\n"]
    broken += [lines[2].replace(b"job_a", b"job_z"), lines[2].replace(b'"crc":"', b'"crc":"0'), lines[2][:-9] + b"\n"]
    for damage in broken:
        path.write_bytes(b"".join([*lines[:2], damage, *lines[3:]]))
        with pytest.raises(StateError, match=f"{path.name}:3: the journal is damaged"):
            read_journal(path, STATE)


def test_every_flipped_bit_is_noticed(path: Path) -> None:
    data = write(path, ENTRIES)
    for index in range(0, len(data) - 1, 3):
        path.write_bytes(data[:index] + bytes([data[index] ^ (1 << index % 8)]) + data[index + 1 :])
        try:
            assert read(path) == tuple(ENTRIES)
        except StateError:
            continue


def test_a_lost_line_end_in_the_middle_is_refused(path: Path) -> None:
    lines = write(path, ENTRIES).splitlines(keepends=True)
    path.write_bytes(lines[0] + lines[1][:-1] + lines[2] + lines[3])
    with pytest.raises(StateError):
        read_journal(path, STATE)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"lineage": "other"}, "another state"),
        ({"serial": 6}, "ahead of the state"),
        ({"endpoint": "https://elsewhere.example/v0.5"}, ENDPOINT),
    ],
)
def test_a_journal_of_another_state_is_refused(path: Path, change: dict[str, object], said: str) -> None:
    data = write(path, ENTRIES)
    with pytest.raises(StateError) as caught:
        read_journal(path, STATE.model_copy(update=change))
    assert said in caught.value.message
    assert caught.value.hint
    assert path.read_bytes() == data


def test_a_journal_without_its_state_is_refused(path: Path) -> None:
    write(path, ENTRIES)
    with pytest.raises(StateError, match="no state"):
        read_journal(path, None)


def test_a_journal_that_outlived_its_state_is_read(path: Path) -> None:
    write(path, ENTRIES)
    assert read_journal(path, STATE.model_copy(update={"serial": 8})) is not None


def test_an_entry_of_a_newer_tool_is_refused_and_not_skipped(path: Path) -> None:
    class Later(Observed):
        kind: str = "later"  # type: ignore[assignment]

    write(path, [intent("a"), Later(name="a", at=AT, job_id="job_1", job=None)])
    with pytest.raises(StateError) as caught:
        read_journal(path, STATE)
    assert "newer" in (caught.value.hint or "")


def test_links_and_pipes_are_refused_at_once(path: Path, tmp_path: Path) -> None:
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StateError):
        read_journal(path, STATE)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(StateError):
        read_journal(path, STATE)


def test_appends_that_wait_together_share_a_sync(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    syncs = 0
    real = os.fsync

    def fsync(descriptor: int) -> None:
        nonlocal syncs
        syncs += 1
        real(descriptor)

    async def run() -> None:
        journal = Journal.start(path, STATE)
        monkeypatch.setattr(os, "fsync", fsync)
        await asyncio.gather(*(journal.append(intent(f"n{i}")) for i in range(500)))
        journal.close()

    asyncio.run(run())
    assert 1 <= syncs <= 5
    assert [e.name for e in read(path)] == [f"n{i}" for i in range(500)]


def test_appends_during_a_sync_share_the_next_one(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    began, go_on = threading.Event(), threading.Event()
    syncs = 0
    real = os.fsync

    def fsync(descriptor: int) -> None:
        nonlocal syncs
        syncs += 1
        began.set()
        assert go_on.wait(10)
        real(descriptor)

    async def run() -> None:
        journal = Journal.start(path, STATE)
        monkeypatch.setattr(os, "fsync", fsync)
        first = asyncio.create_task(journal.append(intent("first")))
        await asyncio.to_thread(began.wait, 10)
        others = [asyncio.create_task(journal.append(intent(f"n{i}"))) for i in range(50)]
        await asyncio.sleep(0)
        assert not any(t.done() for t in (first, *others))  # none may say more than the disk holds
        go_on.set()
        await asyncio.gather(first, *others)
        journal.close()

    asyncio.run(run())
    assert syncs == 2
    assert len(read(path)) == 51


def test_after_a_failed_sync_nothing_is_synced_or_accepted_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    syncs = 0

    def fsync(descriptor: int) -> None:
        nonlocal syncs
        syncs += 1
        raise OSError(5, "Input/output error")

    async def run() -> None:
        journal = Journal.start(path, STATE)
        monkeypatch.setattr(os, "fsync", fsync)
        results = await asyncio.gather(*(journal.append(intent(f"n{i}")) for i in range(20)), return_exceptions=True)
        assert all(isinstance(r, StateError) for r in results)
        monkeypatch.undo()
        with pytest.raises(StateError, match="Input/output error"):
            await journal.append(intent("later"))
        journal.close()

    asyncio.run(run())
    assert syncs == 1
    assert b"later" not in path.read_bytes()


@pytest.fixture
def file_size_limit() -> Iterator[Callable[[int], None]]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    signal.signal(signal.SIGXFSZ, handler)


def test_a_disk_that_fills_up_refuses_the_entry_and_keeps_what_was_acknowledged(
    path: Path, file_size_limit: Callable[[int], None]
) -> None:
    async def run() -> None:
        journal = Journal.start(path, STATE)
        await journal.append(intent("a"))
        file_size_limit(path.stat().st_size + 50)  # room for a part of the next line
        with pytest.raises(StateError) as caught:
            await journal.append(intent("b"))
        assert "room" in (caught.value.hint or "")
        journal.close()

    asyncio.run(run())
    assert read(path) == (intent("a"),)


def test_a_journal_that_cannot_begin_says_that_nothing_was_submitted(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "state.journal").mkdir()
    for path in (tmp_path / "file" / "state.journal", tmp_path / "state.journal", tmp_path / "none" / "state.journal"):
        with pytest.raises(StateError) as caught:
            Journal.start(path, STATE)
        assert "nothing was submitted" in (caught.value.hint or "")


def test_an_append_that_is_given_up_does_not_hold_up_the_others(path: Path) -> None:
    async def run() -> None:
        journal = Journal.start(path, STATE)
        given_up = asyncio.create_task(journal.append(intent("a")))
        await asyncio.sleep(0)
        given_up.cancel()
        await journal.append(intent("b"))
        journal.close()

    asyncio.run(run())
    assert [e.name for e in read(path)][-1] == "b"


def test_a_write_after_the_close_touches_no_other_file(path: Path, tmp_path: Path) -> None:
    async def run() -> None:
        journal = Journal.start(path, STATE)
        journal.close()
        other = (tmp_path / "other").open("wb")  # gets the number that the journal had
        with other, pytest.raises(StateError):
            await journal.append(intent("a"))
        journal.close()

    asyncio.run(run())
    assert (tmp_path / "other").read_bytes() == b""
    assert read(path) == ()


def test_a_new_journal_carries_over_what_is_unresolved(path: Path) -> None:
    write(path, ENTRIES)
    journal = Journal.start(path, STATE, [intent("b")])
    assert journal.entries == [intent("b")]
    journal.close()
    assert read(path) == (intent("b"),)


def test_finishing_removes_the_journal_or_keeps_what_is_unresolved(path: Path) -> None:
    write(path, ENTRIES)
    finish(path, STATE, [intent("b")])
    assert read(path) == (intent("b"),)
    finish(path, STATE, [])
    assert not path.exists()
    finish(path, STATE, [])
    assert list(path.parent.iterdir()) == []


def test_a_journal_that_cannot_be_removed_is_an_error(path: Path) -> None:
    path.mkdir()
    with pytest.raises(StateError, match="removed"):
        finish(path, STATE, [])


def test_journals_one_behind_the_other_are_read_in_their_order() -> None:
    data = journal_bytes(STATE, ENTRIES[:2]) + journal_bytes(state(5), ENTRIES[2:])
    assert parse_late(data, "beside", STATE) == tuple(ENTRIES)
    assert parse_late(b"", "beside", STATE) == ()


def test_journals_of_another_state_or_damaged_ones_are_refused() -> None:
    other = STATE.model_copy(update={"lineage": "other"})
    with pytest.raises(StateError, match="belongs to another state"):
        parse_late(journal_bytes(STATE, ENTRIES) + journal_bytes(other, ENTRIES), "beside", STATE)
    with pytest.raises(StateError, match="damaged"):
        parse_late(journal_bytes(STATE, ENTRIES).replace(b"job_a", b"job_b"), "beside", STATE)


def test_what_has_happened_is_known_also_when_it_cannot_be_written_any_more(path: Path) -> None:
    """An outcome belongs into the state; an intent that is not written announces nothing."""

    async def run() -> Journal:
        journal = Journal.start(path, STATE)
        await journal.append(intent("a"))
        journal.close()
        for entry in (intent("b"), submitted("a"), intent("c")):
            with pytest.raises(StateError):
                await journal.append(entry)
        return journal

    assert asyncio.run(run()).entries == [intent("a"), submitted("a")]
