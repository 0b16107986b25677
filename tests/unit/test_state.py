"""The state file is read whole or refused, and replaced whole or left alone."""

from __future__ import annotations

import json
import os
import resource
import signal
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from nouns import recorded, state

from reconciler.errors import StateError
from reconciler.job import PastJob, State
from reconciler.state import dumps, new_state, read_state, refuse_foreign, save

FULL = state(
    7,
    a=recorded("COMPLETED", observed={"id": "job_1", "name": "ä 😀", "parameters": {"w": {"x": 0.1, "n": 10**20}}}),
    b=recorded(
        job_id="job_2",
        history=(PastJob(job_id="job_0", fingerprint="sha256:" + "0" * 64, status="FAILED", reason="replaced"),),
    ),
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / ".reconciler" / "state.json"


@pytest.fixture
def full(path: Path) -> Path:
    """A state file as this tool writes it."""
    save(path, None, FULL)
    return path


def refused(path: Path, data: bytes) -> StateError:
    """How the state is refused; the file must stay as it is."""
    path.write_bytes(data)
    with pytest.raises(StateError) as caught:
        read_state(path)
    assert path.read_bytes() == data
    assert str(path) in caught.value.message
    assert caught.value.hint
    return caught.value


def raw(**changes: Any) -> bytes:
    return json.dumps({**json.loads(dumps(FULL)), **changes}).encode()


def test_what_was_saved_is_read_back(full: Path) -> None:
    assert read_state(full) == FULL


def test_no_file_is_no_state(path: Path) -> None:
    assert read_state(path) is None


def test_the_file_is_the_documented_format(full: Path) -> None:
    data = full.read_bytes()
    value = json.loads(data)
    assert data == json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False).encode() + b"\n"
    assert list(value) == ["endpoint", "generations", "jobs", "lineage", "searched", "serial", "version"]
    assert stat.S_IMODE(full.stat().st_mode) == 0o600


def test_every_new_state_has_a_lineage_of_its_own() -> None:
    one, two = new_state("local"), new_state("local")
    assert one.lineage != two.lineage
    assert (one.serial, one.jobs) == (0, {})


def test_every_truncation_is_refused(path: Path) -> None:
    small = state(7, a=recorded("COMPLETED"))
    save(path, None, small)
    data = path.read_bytes()
    for length in range(len(data) - 1):
        refused(path, data[:length])
    path.write_bytes(data[:-1])  # only the line end is missing: editors do that, and nothing is lost
    assert read_state(path) == small


def test_every_flipped_bit_is_refused_or_read_without_a_crash(full: Path) -> None:
    data = full.read_bytes()
    for index in range(0, len(data), 7):
        full.write_bytes(data[:index] + bytes([data[index] ^ (1 << index % 8)]) + data[index + 1 :])
        try:
            found = read_state(full)
        except StateError:
            continue
        assert found is not None
        dumps(found)


@pytest.mark.parametrize("data", [b"", b"\n", b" \r\n\t"])
def test_an_empty_file_is_not_an_empty_state(full: Path, data: bytes) -> None:
    assert "empty" in refused(full, data).message


@pytest.mark.parametrize("marker", [b"<<<<<<< HEAD", b"=======", b">>>>>>> theirs", b"||||||| base", b"<<<<<<< HEAD\r"])
def test_conflict_markers_are_named_with_their_line(full: Path, marker: bytes) -> None:
    lines = full.read_bytes().split(b"\n")
    error = refused(full, b"\n".join([*lines[:3], marker, *lines[3:]]))
    assert f"{full}:4" in error.message
    assert "conflict" in error.message


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"\xff\xfe{\x00}\x00", "UTF-8"),
        (dumps(FULL).replace("ä".encode(), b"\xe4"), "UTF-8 at byte"),
        (b"\xef\xbb\xbf" + dumps(FULL), "BOM"),
        (dumps(FULL) + b"{}", ":"),
        (b"null", "no version"),
        (b"[]", "no version"),
        (b'"state"', "no version"),
        (b"{}", "no version"),
        (raw(version=None), "no version"),
        (raw(version="1"), "no version"),
        (raw(version=True), "no version"),
        (raw(version=0), "no version"),
        (raw(version=2), "version 2"),
        (raw(lineage=""), "lineage"),
        (raw(lineage=5), "lineage"),
        (raw(serial=-1), "serial"),
        (raw(serial="x"), "serial"),
        (raw(endpoint=None), "endpoint"),
        (raw(jobs=[]), "jobs"),
        (raw(jobs={"a": {}}), "jobs"),
        (raw(jobs={"a": None}), "jobs"),
        (raw(generations={"a": "x"}), "generations"),
        (dumps(FULL).replace(b"job_2", b"../job"), "job_id"),
        (dumps(FULL).replace(b'"job_2"', b"2"), "job_id"),
        (dumps(FULL).replace(b"sha256:", b"md5:", 1), "fingerprint"),
        (b"[" * 100_000, "recursion"),
        (raw().replace(b'"serial": 7', b'"serial": ' + b"9" * 5000), "digits"),
        (dumps(FULL).replace(b"0.1", b"NaN"), "NaN"),
        (dumps(FULL).replace(b"0.1", b"-Infinity"), "Infinity"),
        (dumps(FULL).replace(b"0.1", b"1e999"), "1e999"),
        (dumps(FULL).replace("ä".encode(), rb"\ud800"), "Unicode"),
    ],
    ids=lambda value: repr(value)[:24],
)
def test_what_is_no_whole_state_is_refused_with_the_reason(full: Path, data: bytes, said: str) -> None:
    assert data != dumps(FULL)
    assert said in refused(full, data).message


def test_a_newer_version_says_to_upgrade(full: Path) -> None:
    assert "upgrade" in (refused(full, raw(version=2, jobs="of another shape")).hint or "")


def test_duplicate_keys_are_refused_wherever_they_are(full: Path) -> None:
    text = dumps(FULL).decode()
    assert "'serial'" in refused(full, text.replace('"serial": 7', '"serial": 7, "serial": 8').encode()).message
    job = json.dumps(json.loads(text)["jobs"]["a"])
    assert "'a'" in refused(full, text.replace('"jobs": {', '"jobs": {"a": ' + job + ",", 1).encode()).message


def test_what_a_newer_tool_added_is_kept(full: Path) -> None:
    value = json.loads(full.read_bytes())
    value["later"] = {"x": 1}
    value["jobs"]["a"]["later"] = [1]
    value["jobs"]["b"]["history"][0]["later"] = "y"
    full.write_text(json.dumps(value))
    found = read_state(full)
    assert found is not None
    kept = json.loads(dumps(found))
    assert kept == value


def test_line_ends_of_windows_are_read(full: Path) -> None:
    full.write_bytes(full.read_bytes().replace(b"\n", b"\r\n"))
    assert read_state(full) == FULL


def test_a_link_is_refused_and_says_what_to_do(full: Path, tmp_path: Path) -> None:
    for target in (full, tmp_path / "nowhere"):
        link = tmp_path / f"link-{target.name}"
        link.symlink_to(target)
        with pytest.raises(StateError) as caught:
            read_state(link)
        assert "--state" in (caught.value.hint or "")


def test_folders_pipes_and_devices_are_refused_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").touch()
    for path in (tmp_path, tmp_path / "pipe", Path("/dev/zero"), tmp_path / "file" / "state.json"):
        with pytest.raises(StateError, match="cannot be read"):
            read_state(path)


def test_saving_nothing_new_writes_nothing(full: Path) -> None:
    before = full.stat()
    again = state(99, a=FULL.jobs["a"], b=FULL.jobs["b"])
    assert save(full, FULL, again) == FULL
    after = full.stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_saving_news_raises_the_serial_by_one(full: Path) -> None:
    saved = save(full, FULL, state(1, a=FULL.jobs["a"]))
    assert saved.serial == 8
    assert read_state(full) == saved
    assert save(full, saved, state(8)).serial == 9


def test_saving_leaves_nothing_but_the_file(full: Path) -> None:
    assert [p.name for p in full.parent.iterdir()] == ["state.json"]


def test_a_mode_that_was_widened_is_narrowed_again(full: Path) -> None:
    full.chmod(0o644)
    save(full, FULL, state(7))
    assert stat.S_IMODE(full.stat().st_mode) == 0o600


def unwritable(full: Path, after: State) -> None:
    data, entries = full.read_bytes(), sorted(p.name for p in full.parent.iterdir())
    with pytest.raises(StateError) as caught:
        save(full, FULL, after)
    assert full.read_bytes() == data
    assert sorted(p.name for p in full.parent.iterdir()) == entries
    assert "journal" in (caught.value.hint or "")


CHANGED = state(7, a=recorded("FAILED"))


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, handler)


@pytest.mark.parametrize("size", [0, 100])
def test_a_disk_that_takes_no_more_leaves_the_old_file(full: Path, size: int) -> None:
    with file_size_limit(size):
        unwritable(full, CHANGED)


def test_no_descriptor_left_leaves_the_old_file(full: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        with pytest.raises(StateError, match="Too many open files"):
            save(full, FULL, CHANGED)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert read_state(full) == FULL


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StateError):
        save(tmp_path / "file" / "state.json", None, CHANGED)


def test_a_folder_in_place_of_the_file_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "state.json").mkdir()
    with pytest.raises(StateError):
        save(tmp_path / "state.json", None, CHANGED)
    assert [p.name for p in tmp_path.iterdir()] == ["state.json"]


def test_a_name_too_long_for_the_file_system_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StateError):
        save(tmp_path / ("x" * 250), None, CHANGED)


def test_a_failed_sync_leaves_the_old_file(full: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(descriptor: int) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "fsync", fails)
    unwritable(full, CHANGED)


def test_a_failed_rename_leaves_the_old_file(full: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*paths: Any) -> None:
        raise OSError(5, "Input/output error")

    replace: Callable[..., Any] = fails
    monkeypatch.setattr(Path, "replace", replace)
    unwritable(full, CHANGED)


def test_being_stopped_while_writing_leaves_the_old_file(full: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(descriptor: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", stopped)
    with pytest.raises(KeyboardInterrupt):
        save(full, FULL, CHANGED)
    assert read_state(full) == FULL
    assert [p.name for p in full.parent.iterdir()] == ["state.json"]


def test_a_file_that_everybody_may_change_is_refused(full: Path) -> None:
    full.chmod(0o666)
    with pytest.raises(StateError, match="everybody") as refused:
        refuse_foreign(full)
    assert refused.value.hint == f"chmod 600 {full}"
    full.chmod(0o644)  # as git checks it out
    refuse_foreign(full)


def test_a_file_of_another_user_is_refused_before_anything_is_done(full: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: full.stat().st_uid + 1)
    with pytest.raises(StateError, match="belongs to user") as refused:
        refuse_foreign(full)
    assert "chown" in (refused.value.hint or "")
    refuse_foreign(full.with_name("missing"))
