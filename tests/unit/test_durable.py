"""Content is on the disk before its name is, and its name before we go on."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from reconciler.durable import (
    make_folder,
    read_file,
    remove_file,
    remove_leftovers,
    replace_file,
    reserve,
    sync_folder,
)


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The steps that matter to a crash, in their order; they are really done."""
    done: list[str] = []

    def noting(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def step(*args: Any, **kwargs: Any) -> Any:
            what = name
            if name == "fsync":
                what = "sync folder" if stat.S_ISDIR(os.fstat(args[0]).st_mode) else "sync file"
            result = real(*args, **kwargs)
            done.append(what)
            return result

        return step

    monkeypatch.setattr(os, "fsync", noting("fsync", os.fsync))
    monkeypatch.setattr(Path, "replace", noting("rename", Path.replace))
    monkeypatch.setattr(Path, "unlink", noting("unlink", Path.unlink))
    monkeypatch.setattr(Path, "mkdir", noting("mkdir", Path.mkdir))
    return done


def test_a_file_is_synced_then_renamed_then_its_folder_synced(tmp_path: Path, steps: list[str]) -> None:
    replace_file(tmp_path / "a", b"new")
    assert steps == ["sync file", "rename", "sync folder"]
    assert (tmp_path / "a").read_bytes() == b"new"


def test_a_removal_is_synced(tmp_path: Path, steps: list[str]) -> None:
    (tmp_path / "a").touch()
    remove_file(tmp_path / "a")
    remove_file(tmp_path / "a")
    assert steps == ["unlink", "sync folder"] * 2
    assert list(tmp_path.iterdir()) == []


def test_every_folder_that_is_made_is_synced_from_above(tmp_path: Path, steps: list[str]) -> None:
    make_folder(tmp_path / "a" / "b")
    assert steps == ["mkdir", "sync folder", "mkdir", "sync folder"]
    make_folder(tmp_path / "a" / "b")
    assert len(steps) == 4


def test_a_file_in_the_way_of_a_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for path in (tmp_path / "a", tmp_path / "a" / "b", tmp_path / "link"):
        with pytest.raises(OSError, match=r"a|link"):
            make_folder(path)


def test_the_old_content_stays_under_its_old_inode(tmp_path: Path) -> None:
    path = tmp_path / "a"
    replace_file(path, b"old")
    with path.open("rb") as reader:
        replace_file(path, b"new content")
        assert reader.read() == b"old"
    assert path.read_bytes() == b"new content"


@pytest.mark.parametrize("mode", [0o600, 0o644])
def test_the_mode_is_the_one_asked_for(tmp_path: Path, mode: int) -> None:
    replace_file(tmp_path / "a", b"", mode)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == mode


def test_a_planted_link_is_replaced_and_not_written_through(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_bytes(b"precious")
    (tmp_path / "a").symlink_to(victim)
    replace_file(tmp_path / "a", b"new")
    assert victim.read_bytes() == b"precious"
    assert not (tmp_path / "a").is_symlink()


@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC, errno.EDQUOT])
def test_a_folder_that_cannot_be_synced_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    def fails(descriptor: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(OSError, match=os.strerror(number)):
        sync_folder(tmp_path)


def test_a_file_system_that_has_no_sync_for_folders_is_fine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unsupported(descriptor: int) -> None:
        raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(os, "fsync", unsupported)
    sync_folder(tmp_path)


def test_reading(tmp_path: Path) -> None:
    path = tmp_path / "a"
    assert read_file(path) is None
    path.write_bytes(b"x\r\n\x00")
    assert read_file(path) == b"x\r\n\x00"


def test_only_regular_files_are_read_and_no_descriptor_is_left_open(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "a")
    os.mkfifo(tmp_path / "pipe")
    before = len(list(Path("/proc/self/fd").iterdir()))
    for path in (tmp_path, tmp_path / "link", tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(OSError, match=r"regular|symbolic|links"):
            read_file(path)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_what_a_killed_write_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    left = tmp_path / ".state.json.0123456789abcdef.tmp"
    others = [
        tmp_path / n for n in ("state.json", ".state.json.tmp", ".state.json.0123.tmp", ".b.json.0123456789abcdef.tmp")
    ]
    for file in (left, *others):
        file.write_text("x")
    remove_leftovers(tmp_path / "state.json")
    assert not left.exists()
    assert all(o.exists() for o in others)


def test_room_is_found_out_beforehand_and_given_back(tmp_path: Path) -> None:
    reserve(tmp_path, 1 << 20)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(OSError, match=r"No space left|File too large"):
        reserve(tmp_path, 1 << 62)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files to others")
def test_a_run_as_root_leaves_the_file_to_its_owner(tmp_path: Path) -> None:
    path = tmp_path / "state.json"
    path.write_text("old")
    os.chown(path, 12345, 12345)
    replace_file(path, b"new")
    assert (path.stat().st_uid, path.read_bytes()) == (12345, b"new")
