"""Patterns in `path`: which files, in which order, and what is said when there is none."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler import localfiles, patterns
from reconciler.load import Loaded, load
from reconciler.resolve import resolve

SPEC = "name: a\npipeline_type: batch\npipeline_key: demo\ninputs:\n  data:\n"


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working directory with some files; a spec can be put into its `specs`."""
    for name in (
        "specs/data/b.csv",
        "specs/data/a.csv",
        "specs/data/a.txt",
        "specs/data/B.CSV",
        "specs/data/.hidden.csv",
        "specs/data/.git/c.csv",
        "specs/data/day-1/c.csv",
        "specs/data/day-1/deep/d.csv",
        "specs/data/day-2/c.csv",
        "specs/data/[1].csv",
        "specs/data/folder.csv/x.txt",
        "other/e.csv",
    ):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    monkeypatch.chdir(tmp_path)
    yield tmp_path


def found(tree: Path, *paths: str) -> Loaded:
    lines = "".join(f"    - path: {path!r}\n      metadata: {{class: c{i}}}\n" for i, path in enumerate(paths))
    (tree / "specs" / "a.yaml").write_text(SPEC + lines)
    return load([Path("specs")], root=tree)


def sent(loaded: Loaded) -> list[str]:
    """The files of the job in the order of its inputs, below `specs/data`."""
    assert [d for d in loaded.diagnostics if d.severity == "error"] == []
    jobs, _ = resolve(loaded.specs)
    by_id = {upload.file_id: upload.path for upload in jobs["a"].uploads}
    return [by_id[item["file_id"]].removeprefix("specs/data/") for item in jobs["a"].request["inputs"]["data"]]


@pytest.mark.parametrize(
    ("pattern", "files"),
    [
        ("data/*.csv", ["[1].csv", "a.csv", "b.csv"]),
        ("data/?.csv", ["a.csv", "b.csv"]),
        ("data/[!a].csv", ["b.csv"]),
        ("data/[ab].*", ["a.csv", "a.txt", "b.csv"]),
        ("data/*/c.csv", ["day-1/c.csv", "day-2/c.csv"]),
        ("data/day-[2-9]/*", ["day-2/c.csv"]),
        ("data/**/c.csv", ["day-1/c.csv", "day-2/c.csv"]),
        ("data/day-1/**", ["day-1/c.csv", "day-1/deep/d.csv"]),
        ("data/**/*.csv", ["[1].csv", "a.csv", "b.csv", "day-1/c.csv", "day-1/deep/d.csv", "day-2/c.csv"]),
        ("data/**/**/d.csv", ["day-1/deep/d.csv"]),
        ("./data//a.*", ["a.csv", "a.txt"]),
        ("../other/*.csv", ["other/e.csv"]),
        ("data/[1].csv", ["[1].csv"]),
    ],
)
def test_a_pattern_is_one_input_for_each_file_sorted_by_path(tree: Path, pattern: str, files: list[str]) -> None:
    assert sent(found(tree, pattern)) == files


def test_each_file_gets_the_metadata_of_its_pattern(tree: Path) -> None:
    jobs, _ = resolve(found(tree, "data/day-1/*.csv", "data/?.csv").specs)
    items = jobs["a"].request["inputs"]["data"]
    assert [item["metadata"]["class"] for item in items] == ["c0", "c1", "c1"]
    assert not any("path" in item for item in items)


def test_a_pattern_and_its_files_one_by_one_are_the_same_job(tree: Path) -> None:
    def fingerprint(text: str) -> str:
        (tree / "specs" / "a.yaml").write_text(SPEC + text)
        return resolve(load([Path("specs")], root=tree).specs)[0]["a"].fingerprint

    pattern = fingerprint("    - path: data/?.csv\n")
    assert pattern == fingerprint("    - path: data/a.csv\n    - path: data/b.csv\n")
    (tree / "specs" / "data" / "c.csv").write_text("more")
    assert pattern != fingerprint("    - path: data/?.csv\n")


@pytest.mark.parametrize(
    ("pattern", "hint"),
    [
        ("data/*.parquet", "'data' has, for example"),
        ("data/a.cs?", None),
        ("data/aa.cs?x", "did you mean 'a.csv'"),
        ("dta/*.csv", "did you mean 'data'"),
        ("nothing/like/it/*.csv", "there is no folder 'nothing' in 'specs'"),
        ("data/folder.cs[v]", "did you mean"),
    ],
)
def test_no_match_is_an_error_with_the_nearest_name(tree: Path, pattern: str, hint: str | None) -> None:
    loaded = found(tree, pattern)
    if hint is None:
        assert loaded.diagnostics == ()
        return
    (fault,) = loaded.diagnostics
    assert (fault.code, str(fault.location)) == ("no-such-file", "specs/a.yaml:6:13")
    assert pattern in fault.summary
    assert hint in (fault.hint or "")
    assert loaded.specs == ()


@pytest.mark.parametrize(
    ("pattern", "code"),
    [
        ("data/.*", "hidden-file"),
        ("data/.git/*", "hidden-file"),
        ("../../*/outside.csv", "file-outside"),
        ("data/link*", "file-outside"),
        ("data/gone*", "no-such-file"),
        ("data/pipe*", "no-such-file"),
        ("data/\udcff*", "no-such-file"),
    ],
)
def test_what_must_not_be_sent_is_refused_in_a_pattern_too(tree: Path, pattern: str, code: str) -> None:
    outside = tree.parent / "elsewhere" / "outside.csv"
    outside.parent.mkdir(exist_ok=True)
    outside.write_text("x")
    data = tree / "specs" / "data"
    (data / "link.csv").symlink_to(outside)
    (data / "gone.csv").symlink_to("nowhere")
    os.mkfifo(data / "pipe.csv")
    (data / "\udcff.csv").write_text("x")
    if "\udcff" in pattern:
        pattern = "data/[!a-z]*v"
        (data / "[1].csv").unlink()
        (data / "B.CSV").unlink()
    (fault,) = found(tree, pattern).diagnostics
    assert fault.code == code, fault
    assert fault.summary.isprintable()


def test_a_link_beside_its_target_is_no_second_file(tree: Path) -> None:
    data = tree / "specs" / "data"
    (data / "z.csv").symlink_to("a.csv")
    (data / "A.csv").symlink_to("b.csv")
    assert sent(found(tree, "data/*.csv")) == ["b.csv", "[1].csv", "a.csv"]
    assert sent(found(tree, "data/a.csv", "data/z.csv")) == ["a.csv", "a.csv"], "what was written twice is meant"


def test_a_file_outside_is_named_by_its_whole_path(tree: Path) -> None:
    (fault,) = found(tree, "../../../../../../../../../etc/hostnam?").diagnostics
    assert fault.summary.startswith("'/etc/hostname', which '../..")


def test_links_that_go_round_in_circles_end(tree: Path) -> None:
    for name in ("one", "two"):
        (tree / "specs" / "data" / "day-1" / name).symlink_to(tree / "specs")
    assert sent(found(tree, "data/**/c.csv")) == ["day-1/c.csv", "day-2/c.csv"]


def test_a_folder_that_cannot_be_listed_hides_no_files(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scandir = os.scandir

    def refused(folder: Path | str) -> object:
        if isinstance(folder, Path) and folder.name == "day-2":  # the specs folder is walked by its name
            raise PermissionError(13, "Permission denied", str(folder))
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", refused)
    (fault,) = found(tree, "data/**/c.csv").diagnostics
    assert "Permission denied" in fault.summary


def test_many_inputs_are_a_warning_and_too_many_a_fault(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(localfiles, "_SAFE_INPUTS", 4)
    loaded = found(tree, "data/?.csv", "data/a.txt", "data/*/c.csv")
    assert [(d.code, d.severity, str(d.location)) for d in loaded.diagnostics] == [
        ("many-files", "warning", "specs/a.yaml:5:3")
    ]
    assert len(sent(loaded)) == 5
    monkeypatch.setattr(localfiles, "LIMIT", 5)
    assert [d.code for d in found(tree, "data/?.csv", "data/a.txt", "data/*/c.csv").diagnostics] == ["too-many-files"]
    monkeypatch.setattr(patterns, "LIMIT", 1)
    assert [d.code for d in found(tree, "data/?.csv").diagnostics] == ["too-many-files"]


def test_a_search_through_everything_is_given_up(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patterns, "_VISITED", 5)
    assert [d.code for d in found(tree, "../**/*.csv").diagnostics] == ["too-many-files"]


def test_files_are_read_once_and_large_ones_side_by_side(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[tuple[str, str]] = []
    digested = localfiles.LocalFiles._digested

    def counted(self: localfiles.LocalFiles, target: Path) -> object:
        read.append((target.name, threading.current_thread().name))
        return digested(self, target)

    monkeypatch.setattr(localfiles.LocalFiles, "_digested", counted)
    sent(found(tree, "data/?.csv", "data/[ab].csv", "data/a.csv"))
    assert sorted(name for name, _ in read) == ["a.csv", "b.csv"]
    read.clear()
    monkeypatch.setattr(localfiles, "_WORTH_THREADS", 1)
    assert sent(found(tree, "data/?.csv")) == ["a.csv", "b.csv"]
    assert sorted(name for name, _ in read) == ["a.csv", "b.csv"]
    assert {thread for _, thread in read} != {"MainThread"}
