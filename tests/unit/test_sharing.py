"""Work shared by processes: the same results, whatever becomes of the copies."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path

import pytest

from reconciler import sharing
from reconciler.load import load
from reconciler.sharing import shared

MANY = list(range(1000))


@pytest.fixture(autouse=True)
def cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1, 2})
    others = set(threading.enumerate())  # which earlier tests have left
    monkeypatch.setattr(threading, "active_count", lambda: 1 + len(set(threading.enumerate()) - others))


def test_the_results_are_in_order_and_of_several_processes() -> None:
    done = shared(MANY, lambda number: (number, os.getpid()), tuple[int, int])
    assert [number for number, _ in done] == MANY
    assert len({process for _, process in done}) == 3
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, 0)  # nothing is left behind


def test_few_things_are_done_here() -> None:
    assert set(shared(MANY[: sharing.ENOUGH - 1], lambda number: os.getpid(), int)) == {os.getpid()}


def test_beside_another_thread_all_is_done_here() -> None:
    over = threading.Event()
    thread = threading.Thread(target=over.wait)
    thread.start()
    try:
        assert set(shared(MANY, lambda number: os.getpid(), int)) == {os.getpid()}
    finally:
        over.set()
        thread.join()


@pytest.mark.parametrize("end", ["killed", "raises", "exits"])
def test_the_share_of_a_copy_that_fails_is_done_here(end: str, capfd: pytest.CaptureFixture[str]) -> None:
    parent = os.getpid()

    def work(number: int) -> int:
        if os.getpid() != parent and number > 500:
            match end:
                case "killed":
                    os.kill(os.getpid(), signal.SIGKILL)
                case "raises":
                    raise RuntimeError("broken")
                case "exits":
                    os._exit(0)
        return number

    assert shared(MANY, work, int) == MANY
    assert capfd.readouterr().err == ""


def test_without_a_process_to_have_all_is_done_here(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused() -> int:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", refused)
    assert set(shared(MANY, lambda number: os.getpid(), int)) == {os.getpid()}


def test_what_fails_here_ends_the_copies_too() -> None:
    parent = os.getpid()

    def work(number: int) -> int:
        if os.getpid() == parent:
            raise KeyboardInterrupt
        time.sleep(60)
        return number

    with pytest.raises(KeyboardInterrupt):
        shared(MANY, work, int)
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


def test_many_specs_say_the_same_on_one_core_and_on_several(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "specs").mkdir()
    for number in range(sharing.ENOUGH + 50):
        odd = ("", "reconcile: {matrix: {x: [1, 2.5]}}\n", "on: 1\n", "parameters: {w: {config: {a: 1.0, b: yes}}}\n")
        name = f"n{number}-${{{{ matrix.x }}}}" if number % 4 == 1 else f"n{number % 240}"
        text = f"name: {name}\npipeline_type: batch\npipeline_key: k\n{odd[number % 4]}"
        (tmp_path / "specs" / f"{number:04}.yaml").write_text(text)
    several = load([tmp_path / "specs"], root=tmp_path)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0})
    assert load([tmp_path / "specs"], root=tmp_path) == several
    assert several.diagnostics
