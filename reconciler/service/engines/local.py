"""Work on this machine: each index is a process in a process group of its own.

What a worker writes goes into files and is read from there. So it is still there when the service dies, and a worker
is never stopped by a service that is slow to read.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import SubprocessStreamProtocol
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reconciler.service.definition import Resources
from reconciler.service.engines import strays
from reconciler.service.protocol import DoneLine, ErrorLine, Line, LineSplitter, printable

_LAUNCHER = Path(__file__).with_name("launcher.py")
_CHUNK = 1 << 20
_STDERR_TAIL = 8192  # bytes
_MIB = 1 << 20
LOOK = 0.05  # seconds between looks at what a worker has written
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


Sink = Callable[[Task, Sequence[Line], int, int], Awaitable[None]]
"""Takes lines that were written, and the positions in the output up to which it had been given and now has been."""


class WorkerFailed(Exception):
    """An index did not end well; `error` is what the job shows: `{code, message, suggestion?, details?}`."""

    def __init__(self, task: Task, error: dict[str, Any]) -> None:
        super().__init__(error["message"])
        self.task = task
        self.error = error


class _Protocol(SubprocessStreamProtocol):
    """Says when the process has ended, whoever may still hold its pipe."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(limit=1 << 16, loop=loop)
        self.ended = asyncio.Event()
        self.gone = asyncio.Event()

    def process_exited(self) -> None:
        super().process_exited()
        self.ended.set()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self.gone.set()


def _environment(task: Task) -> dict[str, str]:
    """Small and without any key. One thread for each index: the indexes are the parallelism."""
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(task.folder / "work"),
        "TMPDIR": str(task.folder / "tmp"),
        "LANG": "C.UTF-8",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        strays.MARK: str(task.folder),
    }


def _command(task: Task) -> tuple[str, ...]:
    most = task.resources
    limits = {
        "memory": most.memory_mb and most.memory_mb * _MIB,
        "cpu": most.cpu_seconds,
        "file": most.file_mb and most.file_mb * _MIB,
        "open_files": most.open_files,
        "core": 0,
    }
    given = json.dumps({name: value for name, value in limits.items() if value is not None})
    return (sys.executable, "-I", "-S", str(_LAUNCHER), str(os.getpid()), given, *task.command)


def prepare(task: Task) -> None:
    """Make the folder of an index, with all that it needs to start. May be repeated when it raised `OSError`."""
    for name in ("work", "outputs", "tmp"):
        (task.folder / name).mkdir(parents=True, exist_ok=True)
    (task.folder / "task.json").write_text(json.dumps(task.greeting))  # for who finds the folder after a crash
    task.stdout.touch()
    task.stderr.touch()


async def run_worker(task: Task, sink: Sink) -> None:
    """Run one index, which has been prepared, to its end and give what it says to `sink`.

    Raises `WorkerFailed`; kills when cancelled.
    """
    loop = asyncio.get_running_loop()
    with task.stdout.open("r+b") as stdout, task.stderr.open("r+b") as stderr:
        transport, protocol = await loop.subprocess_exec(
            lambda: _Protocol(loop),
            *_command(task),
            stdout=stdout,
            stderr=stderr,
            cwd=task.folder / "work",
            env=_environment(task),
            start_new_session=True,
        )
    reading = _Reading(task, sink)
    try:
        _tell(transport, task.greeting)
        await _follow(reading, protocol)
    finally:
        # No await before the kill: whoever cancels must not be able to keep us from it.
        _kill_group(transport.get_pid())
        await asyncio.shield(_buried(transport, protocol, task))
    await reading.rest()
    _judge(task, reading, transport.get_returncode())


async def _buried(transport: asyncio.SubprocessTransport, protocol: _Protocol, task: Task) -> None:
    """Wait until the system has let go of the process, so that no signal of ours can hit a later one, and end what
    it started and put out of its group.
    """
    await protocol.ended.wait()
    transport.close()  # not before: it would take the exit status away from who waits for it
    await protocol.gone.wait()
    await asyncio.to_thread(strays.kill, str(task.folder))


def _kill_group(pid: int) -> None:
    with suppress(ProcessLookupError, PermissionError):  # the group is empty; macOS says it the second way
        os.killpg(pid, signal.SIGKILL)


def _tell(transport: asyncio.SubprocessTransport, greeting: dict[str, Any]) -> None:
    pipe = transport.get_pipe_transport(0)
    assert isinstance(pipe, asyncio.WriteTransport)
    pipe.write(json.dumps(greeting).encode() + b"\n")


class _Reading:
    """What a worker has written so far, on its way to the sink."""

    def __init__(self, task: Task, sink: Sink) -> None:
        self.task = task
        self._sink = sink
        self._splitter = LineSplitter()
        self._position = 0
        self._delivered = 0
        self.failure: dict[str, Any] | None = None
        self.done = False

    async def look(self) -> bool:
        """Deliver what is new; whether there was anything."""
        with self.task.stdout.open("rb") as file:
            file.seek(self._position)
            chunk = file.read(_CHUNK)
        self._position += len(chunk)
        if chunk:
            await self._deliver(self._splitter.feed(chunk))
        return bool(chunk)

    async def rest(self) -> None:
        """Deliver all that is left of a worker that has ended."""
        while await self.look():
            pass
        await self._deliver(self._splitter.end())

    async def _deliver(self, lines: list[Line]) -> None:
        if self.done:
            return  # nothing after it counts
        for number, line in enumerate(lines):
            if isinstance(line, ErrorLine) and self.failure is None:
                self.failure = line.error.model_dump(exclude_none=True)
            if isinstance(line, DoneLine):
                self.done = True
                del lines[number + 1 :]
                break
        if lines:
            await self._sink(self.task, lines, self._delivered, self._splitter.consumed)
            self._delivered = self._splitter.consumed


async def _follow(reading: _Reading, protocol: _Protocol) -> None:
    """Read until the process ends or says that it is done. Raises `WorkerFailed` when it is silent for too long."""
    loop = asyncio.get_running_loop()
    task = reading.task
    heard = loop.time()
    while not protocol.ended.is_set() and not reading.done:
        if await reading.look():
            heard = loop.time()
        elif task.silence is not None and loop.time() - heard > task.silence:
            raise WorkerFailed(task, _silent(task))
        else:
            with suppress(TimeoutError):
                await asyncio.wait_for(protocol.ended.wait(), LOOK)


def _judge(task: Task, reading: _Reading, status: int | None) -> None:
    if reading.failure is not None:
        raise WorkerFailed(task, reading.failure)
    if status != 0 and not reading.done:
        raise WorkerFailed(task, _died(task, status, _tail(task.stderr)))


def _tail(path: Path) -> str:
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - _STDERR_TAIL))
        return printable(file.read(_STDERR_TAIL).decode("utf-8", "replace")).strip()


def _silent(task: Task) -> dict[str, Any]:
    return {
        "code": "worker_silent",
        "message": f"index {task.index} wrote nothing for {task.silence:g} seconds and was taken for dead",
        "details": {"index": task.index, "stderr": _tail(task.stderr)},
    }


def _died(task: Task, status: int | None, tail: str) -> dict[str, Any]:
    code, how = "worker_died", f"ended with exit status {status}"
    if status is not None and status < 0:
        how = f"was killed by signal {-status} ({signal.strsignal(-status)})"
        code, how = _LIMITS.get(signal.Signals(-status), (code, how))
    last = tail.splitlines()[-1] if tail else "it wrote nothing on stderr"
    return {
        "code": code,
        "message": f"index {task.index} {how}: {last}",
        "details": {"index": task.index, "exit_status": status, "stderr": tail},
    }
