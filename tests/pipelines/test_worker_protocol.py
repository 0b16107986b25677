"""`reconciler.service.worker` from outside: small programs that use it, as processes."""

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
from worker_process import Ended, Given, finish, start, work_line

from reconciler.service.protocol import BadLine, ErrorLine, parse

KEY = "image-classifier"  # any pipeline will do: the programs here do not look at their inputs' content
PROGRAM = """
import os, sys, time
from reconciler.service.worker import WorkFailed, run

def work(work, report):
{body}

run(work)
"""


def program(folder: Path, body: str) -> Path:
    path = folder / "program.py"
    path.write_text(PROGRAM.format(body="\n".join(f"    {line}" for line in body.splitlines())))
    return path


def line_for(folder: Path, **changes: Any) -> dict[str, Any]:
    given = Given(Path(__file__), file_id="a.txt", metadata={"class": "ok"})
    return {**work_line(KEY, {"images": [given]}, {"threshold": 1}, folder), **changes}


def run_body(folder: Path, body: str, **changes: Any) -> Ended:
    return finish(start(program(folder, body), folder / "run"), line_for(folder / "run", **changes))


def test_every_kind_of_line(tmp_path: Path) -> None:
    body = """
report.event("WARN", "two\\nlines, größer", {"a": 1}, "inp_1")
report.progress("inference", 2, {"items_total": 4}, "inp_1")
report.input("inp_1", "failed", "why")
report.output("results", "a.csv", "text/csv")
report.checkpoint("epoch-1", 1, "a.bin", {"loss": 0.5})
report.input_failed("inp_2", WorkFailed("bad_file", "it is bad"))
"""
    ended = run_body(tmp_path, body)
    assert (ended.status, ended.stderr) == (0, "")
    assert not [line for line in ended.lines if isinstance(parse(json.dumps(line).encode()), BadLine)]
    assert ended.lines == [
        {
            "type": "event",
            "level": "WARN",
            "event_type": "info",
            "message": "two\nlines, größer",
            "payload": {"a": 1},
            "input_id": "inp_1",
        },
        {"type": "progress", "kind": "inference", "step": 2, "metrics": {"items_total": 4}, "input_id": "inp_1"},
        {"type": "input", "input_id": "inp_1", "status": "failed", "error_message": "why"},
        {"type": "output", "port": "results", "path": "a.csv", "file_type": "text/csv", "input_id": None},
        {"type": "checkpoint", "name": "epoch-1", "step": 1, "path": "a.bin", "metrics": {"loss": 0.5}},
        {
            "type": "event",
            "level": "ERROR",
            "event_type": "input_failed",
            "message": "it is bad",
            "payload": {"code": "bad_file", "message": "it is bad", "suggestion": None, "details": {}},
            "input_id": "inp_2",
        },
        {"type": "input", "input_id": "inp_2", "status": "failed", "error_message": "it is bad"},
        {"type": "done"},
    ]


def test_the_work_is_read(tmp_path: Path) -> None:
    body = """
(given,) = work.port("images")
said = [work.job_id, work.component, work.index, work.parallelism, work.config["threshold"], given.file_id,
        given.path.name, given.metadata["class"], len(work.port("other")), work.output_dir.is_dir(), os.listdir()]
report.event("INFO", "read", {"said": said})
"""
    ended = run_body(tmp_path, body, index=3, parallelism=5)
    said = ended.lines[0]["payload"]["said"]
    assert said == ["job_1", "classifier", 3, 5, 1, "a.txt", Path(__file__).name, "ok", 0, True, []]


def test_a_failure_of_the_work_is_an_error_line(tmp_path: Path) -> None:
    ended = run_body(tmp_path, 'raise WorkFailed("too_short", "it is too short", "use more", {"rows": 3})')
    assert ended.status == 1
    assert ended.error == {
        "code": "too_short",
        "message": "it is too short",
        "suggestion": "use more",
        "details": {"rows": 3},
    }
    assert ended.stderr == ""
    assert isinstance(parse(json.dumps(ended.lines[0]).encode()), ErrorLine)


def test_a_bug_is_a_clear_error_line_and_its_trace_goes_to_stderr(tmp_path: Path) -> None:
    ended = run_body(tmp_path, '{}["key"]')
    assert ended.status == 1
    assert ended.error["code"] == "internal_error"
    assert ended.error["message"] == "the worker has a bug: KeyError: 'key'"
    assert "Traceback" in ended.stderr


def test_what_a_library_prints_does_not_get_between_the_lines(tmp_path: Path) -> None:
    body = 'print("from python")\nos.system("echo from a child")\nreport.event("INFO", "mine")'
    ended = run_body(tmp_path, body)
    assert [line.get("message") for line in ended.lines] == ["mine", None]
    assert "from python" in ended.stderr
    assert "from a child" in ended.stderr


@pytest.mark.parametrize("changes", [{"protocol": 2}, {"job": None}, {"inputs": {"images": [{}]}}])
def test_a_line_of_work_that_cannot_be_read(tmp_path: Path, changes: dict[str, Any]) -> None:
    ended = run_body(tmp_path, "pass", **changes)
    assert (ended.status, ended.error["code"]) == (1, "bad_work_line")


@pytest.mark.parametrize("body", ["time.sleep(60)", "while True: pass"])
def test_the_worker_ends_when_stdin_closes(tmp_path: Path, body: str) -> None:
    process = start(program(tmp_path, f'report.event("INFO", "up")\n{body}'), tmp_path / "run")
    assert process.stdin
    assert process.stdout
    with process:
        process.stdin.write(json.dumps(line_for(tmp_path / "run")).encode() + b"\n")
        process.stdin.flush()
        assert json.loads(process.stdout.readline())["message"] == "up"
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=0.3)
        process.stdin.close()
        assert process.wait(timeout=5) == 3


def test_the_worker_ends_when_nobody_sent_work(tmp_path: Path) -> None:
    process = start(program(tmp_path, "pass"), tmp_path / "run")
    assert process.communicate(timeout=10)[0] == b""
    assert process.returncode == 3


def test_the_worker_ends_when_nobody_reads(tmp_path: Path) -> None:
    body = 'while True: report.event("INFO", "hello")'
    process = start(program(tmp_path, body), tmp_path / "run")
    assert process.stdin
    assert process.stdout
    with process:
        process.stdin.write(json.dumps(line_for(tmp_path / "run")).encode() + b"\n")
        process.stdin.flush()
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(timeout=5) == 3


def test_a_signal_ends_the_worker(tmp_path: Path) -> None:
    process = start(program(tmp_path, 'report.event("INFO", "up")\ntime.sleep(60)'), tmp_path / "run")
    assert process.stdin
    assert process.stdout
    with process:
        process.stdin.write(json.dumps(line_for(tmp_path / "run")).encode() + b"\n")
        process.stdin.flush()
        process.stdout.readline()
        os.kill(process.pid, signal.SIGTERM)
        assert process.wait(timeout=5) == -signal.SIGTERM


def test_a_worker_that_is_busy_says_that_it_is_alive(tmp_path: Path) -> None:
    ended = run_body(tmp_path, "import time; time.sleep(0.3)", heartbeat_seconds=0.4)
    kinds = [line["type"] for line in ended.lines]
    assert kinds[-1] == "done"
    assert set(kinds[:-1]) == {"heartbeat"}
