"""Signals, a closed stdout, a terminal that is gone: the state is consistent, and a plain re-run puts things right."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from running import environment, running_platform, until

pytestmark = [pytest.mark.network, pytest.mark.slow]
COUNT = 5


class Scene:
    """Specs, a platform whose third submission hangs, and commands under way."""

    def __init__(self, folder: Path, platform: Path) -> None:
        self.folder, self.platform = folder, platform
        (folder / "specs").mkdir()
        for i in range(COUNT):
            spec = {"name": f"job-{i}", "pipeline_type": "batch", "pipeline_key": "echo"}
            (folder / "specs" / f"{i}.json").write_text(json.dumps(spec))

    def start(self, *arguments: str, **how: Any) -> subprocess.Popen[str]:
        how = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **how}
        return subprocess.Popen(
            ["reconciler", *arguments], cwd=self.folder, env=environment(self.platform), text=True, **how
        )

    def run(self, *arguments: str) -> None:
        with self.start(*arguments) as process:
            _, stderr = process.communicate(timeout=60)
        assert process.returncode == 0, stderr

    def fault(self, rule: str) -> None:
        (self.platform / "faults").write_text(rule)

    def posts(self) -> int:
        log = self.platform / "requests.log"
        return log.read_text().count("POST /v0.5/batch/jobs\n") if log.exists() else 0

    def state(self) -> Any:
        return json.loads((self.folder / ".reconciler" / "state.json").read_text())

    def stuck_in_the_third(self, *arguments: str, **how: Any) -> subprocess.Popen[str]:
        self.fault("POST /batch/jobs 2 1 hang")
        process = self.start("apply", "--yes", "--parallelism", "1", *arguments, **how)
        until(lambda: self.posts() == 3)
        return process

    def put_right(self) -> None:
        """A plain re-run: one job for each spec, and then nothing to do."""
        self.fault("")
        self.run("apply", "--yes")
        assert len(self.state()["jobs"]) == COUNT
        self.run("plan", "--detailed-exitcode")
        made = {r["job_id"] for r in self.state()["jobs"].values()}
        assert len(made) == COUNT


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with running_platform(tmp_path / "platform", queue_only=True) as platform:
        work = tmp_path / "work"
        work.mkdir()
        yield Scene(work, platform)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 143)])
def test_the_first_signal_stops_in_good_order(scene: Scene, number: int, code: int) -> None:
    process = scene.stuck_in_the_third()
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=30)
    assert process.returncode == code
    assert "stopping in good order" in stderr
    assert "2 created, 2 skipped, 1 unknown" in stdout
    assert len(scene.state()["jobs"]) == 2
    assert scene.posts() == 3
    scene.put_right()


@pytest.mark.parametrize("signals", [1, 2])
def test_an_interrupted_apply_has_its_report(scene: Scene, signals: int) -> None:
    process = scene.stuck_in_the_third("--report", "out.html")
    for _ in range(signals):
        process.send_signal(signal.SIGINT)
        time.sleep(0.2)
    process.communicate(timeout=30)
    assert process.returncode == 130
    page = (scene.folder / "out.html").read_text()
    for words in ("2 done", "2 skipped", "1 unknown", "interrupted before it began", "job-4"):
        assert words in page
    scene.put_right()


def test_the_second_signal_stops_at_once(scene: Scene) -> None:
    process = scene.stuck_in_the_third()
    process.send_signal(signal.SIGINT)
    began = time.monotonic()
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode == 130
    assert time.monotonic() - began < 3, "it waited for the request in flight"
    assert len(scene.state()["jobs"]) == 2
    scene.put_right()


def test_a_signal_while_it_waits_ends_the_wait_and_keeps_what_was_seen(scene: Scene) -> None:
    process = scene.start("apply", "--yes", "--wait", "--verbose")
    until(lambda: scene.posts() == COUNT)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    stdout, _ = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "5 created" in stdout
    scene.put_right()


def test_a_signal_while_the_platform_does_not_answer_is_heard(scene: Scene) -> None:
    """Not after a minute of patience."""
    scene.fault("GET /batch/jobs 0 9 hang")
    process = scene.start("apply", "--yes")
    until(lambda: (scene.platform / "requests.log").exists())
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=5)
    assert process.returncode == 130
    assert scene.posts() == 0
    scene.put_right()


def test_a_reader_that_goes_away_ends_nothing_that_was_begun(scene: Scene) -> None:
    process = scene.start("apply", "--yes", "--wait", stderr=subprocess.DEVNULL)
    assert process.stdout is not None
    process.stdout.readline()
    process.stdout.close()
    until(lambda: scene.posts() == COUNT or process.poll() is not None)
    process.send_signal(signal.SIGTERM)
    process.wait(30)
    assert process.returncode != 0
    assert scene.posts() in (0, COUNT), "it was cut off in the middle"
    scene.put_right()


def test_a_terminal_that_is_gone(scene: Scene) -> None:
    main, side = pty.openpty()
    process = scene.stuck_in_the_third(stdin=side, stdout=side, stderr=side, start_new_session=True)
    os.close(side)
    os.close(main)
    process.send_signal(signal.SIGHUP)
    assert process.wait(30) != 0
    assert len(scene.state()["jobs"]) == 2
    scene.put_right()


def test_two_applies_at_once_and_a_status(scene: Scene) -> None:
    """The second apply is told who is at work; a status shows what it sees, and writes nothing."""
    first = scene.stuck_in_the_third()
    second = scene.start("apply", "--yes")
    _, stderr = second.communicate(timeout=30)
    assert second.returncode == 5
    assert f"pid {first.pid}" in stderr
    assert "--lock-timeout" in stderr
    before = (scene.folder / ".reconciler" / "state.json").read_bytes()
    seen = scene.start("status")
    stdout, stderr = seen.communicate(timeout=30)
    assert seen.returncode == 0
    assert "2 PENDING" in stdout
    assert "without writing it back" in stderr
    assert "1 submission may be under way, or cut off, and not known here: job-2" in stderr
    assert (scene.folder / ".reconciler" / "state.json").read_bytes() == before
    first.kill()
    first.communicate(timeout=30)
    scene.put_right()


def test_a_second_apply_waits_for_the_first_and_hears_ctrl_c_meanwhile(scene: Scene) -> None:
    first = scene.stuck_in_the_third()
    waiting = scene.start("apply", "--yes", "--lock-timeout", "1h")
    time.sleep(2)
    assert waiting.poll() is None
    waiting.send_signal(signal.SIGINT)
    waiting.communicate(timeout=10)
    assert waiting.returncode == 130
    first.kill()
    first.communicate(timeout=30)
    scene.put_right()


def test_ctrl_c_at_the_question_does_nothing(scene: Scene) -> None:
    main, side = pty.openpty()
    process = scene.start("apply", stdin=side, stdout=side, stderr=side, start_new_session=True)
    seen = b""
    while b"Only 'yes' is taken" not in seen:
        seen += os.read(main, 4096)
    time.sleep(0.5)  # Python is deaf for the instant between showing its prompt and reading; a person is not that fast
    process.send_signal(signal.SIGINT)
    os.close(side)
    assert process.wait(30) == 130
    os.close(main)
    assert scene.posts() == 0
    scene.put_right()
