"""When and where `--report` writes. What it writes is in the transcripts and in the tests of the page."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from nouns import recorded

from reconciler.cli.options import Options
from reconciler.cli.reporting import Draft, draft
from reconciler.errors import ExitCode, PlanRefused, UsageError
from reconciler.reconcile import Settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(root=tmp_path, state=tmp_path / "state.json", endpoint="local", command="status")


def make(settings: Settings, path: Path) -> Draft:
    return draft(Options(quiet=True), settings, str(path))


def test_it_is_written_whole_for_whoever_may_read_files_here(settings: Settings, tmp_path: Path) -> None:
    path = tmp_path / "out.html"
    path.write_text("<!DOCTYPE HTML>an older one")
    drafted = make(settings, path)
    drafted.records = {"alpha": recorded("COMPLETED")}
    assert drafted.finish(ExitCode.JOBS_FAILED) == ExitCode.JOBS_FAILED
    assert "alpha" in path.read_text()
    assert "older" not in path.read_text()
    mask = os.umask(0)
    os.umask(mask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o666 & ~mask
    assert [p.name for p in tmp_path.iterdir()] == ["out.html"]


@pytest.mark.parametrize("content", ["name: a spec\n", '{"version": 1}', "<html>", "\x00"])
def test_what_is_no_report_is_not_replaced(settings: Settings, tmp_path: Path, content: str) -> None:
    path = tmp_path / "spec.yaml"
    path.write_text(content)
    with pytest.raises(UsageError, match="would replace"):
        make(settings, path)
    assert path.read_text() == content


def test_places_that_cannot_hold_it_are_found_out_at_once(settings: Settings, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name in ("missing/out.html", "folder", "pipe", "x" * 300, "/dev/null", "/proc/out.html"):
        with pytest.raises(UsageError):
            make(settings, tmp_path / name)


def test_a_report_that_cannot_be_written_in_the_end_is_a_failure_but_not_the_worst(
    settings: Settings, tmp_path: Path
) -> None:
    folder = tmp_path / "gone"
    folder.mkdir()
    drafted = make(settings, folder / "out.html")
    folder.rmdir()
    assert drafted.finish(ExitCode.OK) == ExitCode.FAILED
    assert drafted.finish(ExitCode.CHANGES) == ExitCode.FAILED
    assert drafted.finish(ExitCode.JOBS_FAILED) == ExitCode.FAILED
    assert drafted.finish(ExitCode.UNKNOWN) == ExitCode.UNKNOWN


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (PlanRefused("the plan is stale", "make a new one"), ["the plan is stale", "make a new one"]),
        (KeyboardInterrupt(), ["Interrupted."]),
        (BrokenPipeError(), ["Whoever read what the command printed went away."]),
        (ZeroDivisionError("secret"), ["This is a bug in reconciler: ZeroDivisionError"]),
    ],
)
def test_whatever_ends_a_command_is_in_the_report_and_goes_on(
    settings: Settings, tmp_path: Path, error: BaseException, words: list[str]
) -> None:
    drafted = make(settings, tmp_path / "out.html")
    with pytest.raises(type(error)), drafted.even_if_it_fails():
        raise error
    page = (tmp_path / "out.html").read_text()
    assert all(word in page for word in words)
    assert "secret" not in page


def test_without_the_option_nothing_is_written(settings: Settings, tmp_path: Path) -> None:
    drafted = draft(Options(), settings, None)
    assert drafted.finish(ExitCode.CHANGES) == ExitCode.CHANGES
    assert list(tmp_path.iterdir()) == []
