"""One index of a job: its folder, what it is started with, and what its end means."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from reconciler.service.definition import Resources
from reconciler.service.engines import strays
from reconciler.service.protocol import printable

LAUNCHER = Path(__file__).with_name("launcher.py")
_STDERR_TAIL = 8192  # bytes
_MIB = 1 << 20
_LIMITS = {
    signal.SIGXCPU: ("cpu_limit_exceeded", "used more processor time than the pipeline allows"),
    signal.SIGXFSZ: ("file_limit_exceeded", "wrote a larger file than the pipeline allows"),
}


@dataclass(frozen=True, slots=True)
class Task:
    """One index of a job: what to run, where, and what to tell it. `folder` is the index's own, with `work` and
    `outputs` in it; `greeting` is the line of JSON on stdin. `silence`: seconds after which a worker that writes
    nothing is taken for dead.
    """

    command: tuple[str, ...]
    folder: Path
    greeting: dict[str, Any]
    resources: Resources
    silence: float | None = None

    @property
    def index(self) -> int:
        return int(self.greeting["index"])

    @property
    def stdout(self) -> Path:
        return self.folder / "stdout"

    @property
    def stderr(self) -> Path:
        return self.folder / "stderr"

    @property
    def work(self) -> Path:
        return self.folder / "work"


class WorkerFailed(Exception):
    """An index did not end well; `error` is what the job shows: `{code, message, suggestion?, details?}`."""

    def __init__(self, task: Task, error: dict[str, Any]) -> None:
        super().__init__(error["message"])
        self.task = task
        self.error = error


def prepare(task: Task) -> Task:
    """Make the folder of an index, with all that it needs to start. May be repeated, after an `OSError` too; the
    greeting is the first that was written, since somebody may have been told it.
    """
    for name in ("work", "outputs", "tmp"):
        (task.folder / name).mkdir(parents=True, exist_ok=True)
    told = task.folder / "task.json"  # for who finds the folder after a crash
    if told.exists():
        task = replace(task, greeting=json.loads(told.read_text()))
    else:
        temporary = told.with_suffix(".new")
        temporary.write_text(json.dumps(task.greeting))
        temporary.replace(told)
    task.stdout.touch()
    task.stderr.touch()
    return task


def environment(task: Task) -> dict[str, str]:
    """Small and without any key. One thread for each index: the indexes are the parallelism."""
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(task.work),
        "TMPDIR": str(task.folder / "tmp"),
        "LANG": "C.UTF-8",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        strays.MARK: str(task.folder),
    }


def limits(task: Task) -> str:
    """The pipeline's limits, as the launcher reads them."""
    most = task.resources
    values = {
        "memory": most.memory_mb and most.memory_mb * _MIB,
        "cpu": most.cpu_seconds,
        "file": most.file_mb and most.file_mb * _MIB,
        "open_files": most.open_files,
        "core": 0,
    }
    return json.dumps({name: value for name, value in values.items() if value is not None})


def silent(task: Task) -> dict[str, Any]:
    """The error of a worker that wrote nothing for too long."""
    return {
        "code": "worker_silent",
        "message": f"index {task.index} wrote nothing for {task.silence:g} seconds and was taken for dead",
        "details": {"index": task.index, "stderr": _tail(task.stderr)},
    }


def died(task: Task, status: int) -> dict[str, Any]:
    """The error of a worker that ended with this status, without saying why."""
    tail = _tail(task.stderr)
    code, how = "worker_died", f"ended with exit status {status}"
    if status < 0:
        how = f"was killed by signal {-status} ({signal.strsignal(-status)})"
        code, how = _LIMITS.get(signal.Signals(-status), (code, how))
    last = tail.splitlines()[-1] if tail else "it wrote nothing on stderr"
    return {
        "code": code,
        "message": f"index {task.index} {how}: {last}",
        "details": {"index": task.index, "exit_status": status, "stderr": tail},
    }


def _tail(path: Path) -> str:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _STDERR_TAIL))
        return printable(file.read(_STDERR_TAIL).decode("utf-8", "replace")).strip()
