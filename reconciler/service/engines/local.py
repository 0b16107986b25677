"""Work on this machine: each index is a process in a process group of its own."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from asyncio.subprocess import Process, SubprocessStreamProtocol
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reconciler.service.protocol import ErrorLine, Line, LineSplitter, printable

_CHUNK = 1 << 16
_STDERR_TAIL = 8192  # bytes
_DRAIN = 2.0  # seconds; a process that escaped the group may hold the pipes open, we do not wait for it


@dataclass(frozen=True, slots=True)
class Task:
    """One index of a job: what to run, where, and what to tell it. `folder` is the index's own, with `work` and
    `outputs` in it; `greeting` is the line of JSON on stdin.
    """

    command: tuple[str, ...]
    folder: Path
    greeting: dict[str, Any]

    @property
    def index(self) -> int:
        return int(self.greeting["index"])


Sink = Callable[[Task, Sequence[Line]], Awaitable[None]]


class WorkerFailed(Exception):
    """An index did not end well; `error` is what the job shows: `{code, message, suggestion?, details?}`."""

    def __init__(self, task: Task, error: dict[str, Any]) -> None:
        super().__init__(error["message"])
        self.task = task
        self.error = error


class _Protocol(SubprocessStreamProtocol):
    """Says when the process has ended, whoever may still hold its pipes."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(limit=_CHUNK, loop=loop)
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
    home = str(task.folder / "work")
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": home,
        "TMPDIR": str(task.folder / "tmp"),
        "LANG": "C.UTF-8",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }


async def run_worker(task: Task, sink: Sink) -> None:
    """Run one index to its end and give what it says to `sink`. Raises `WorkerFailed`; kills when cancelled."""
    for name in ("work", "outputs", "tmp"):
        (task.folder / name).mkdir(parents=True)
    loop = asyncio.get_running_loop()
    try:
        transport, protocol = await loop.subprocess_exec(
            lambda: _Protocol(loop),
            *task.command,
            cwd=task.folder / "work",
            env=_environment(task),
            start_new_session=True,
        )
    except OSError as error:
        raise WorkerFailed(task, _not_started(task, error)) from error
    try:
        await _supervise(task, Process(transport, protocol, loop), protocol, sink)
    finally:
        _kill_group(transport.get_pid())
        transport.close()
        await asyncio.shield(_buried(protocol))


async def _buried(protocol: _Protocol) -> None:
    """Wait until the system has let go of the process, so that no signal of ours can hit a later one."""
    await protocol.ended.wait()
    await protocol.gone.wait()


def _kill_group(pid: int) -> None:
    try:
        os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):  # the group is empty; macOS says it the second way
        return


async def _supervise(task: Task, process: Process, protocol: _Protocol, sink: Sink) -> None:
    failure: list[dict[str, Any]] = []
    reading = [
        asyncio.create_task(_read_lines(task, process, sink, failure)),
        asyncio.create_task(_read_tail(process)),
    ]
    ended = asyncio.create_task(protocol.ended.wait())
    telling = asyncio.create_task(_tell(process, task.greeting))
    everything = [*reading, ended, telling]
    try:
        # A sink that raises ends the wait: what the worker said could not be kept, so it must not go on.
        done, _ = await asyncio.wait([ended, reading[0]], return_when=asyncio.FIRST_COMPLETED)
        if reading[0] in done:
            reading[0].result()
            await ended
        _kill_group(process.pid)
        await asyncio.wait(reading, timeout=_DRAIN)
        if reading[0].done():
            reading[0].result()
        tail = str(reading[1].result()) if reading[1].done() else ""
    finally:
        for each in everything:
            each.cancel()
        await asyncio.gather(*everything, return_exceptions=True)
    status = process.returncode
    if failure:
        raise WorkerFailed(task, failure[0])
    if status != 0:
        raise WorkerFailed(task, _died(task, status, tail))


async def _tell(process: Process, greeting: dict[str, Any]) -> None:
    assert process.stdin is not None
    try:
        process.stdin.write(json.dumps(greeting).encode() + b"\n")
        await process.stdin.drain()
    except (BrokenPipeError, ConnectionResetError):
        return  # its exit status tells more


async def _read_lines(task: Task, process: Process, sink: Sink, failure: list[dict[str, Any]]) -> None:
    assert process.stdout is not None
    splitter = LineSplitter()
    while chunk := await process.stdout.read(_CHUNK):
        await _deliver(task, splitter.feed(chunk), sink, failure)
    await _deliver(task, splitter.end(), sink, failure)


async def _deliver(task: Task, lines: list[Line], sink: Sink, failure: list[dict[str, Any]]) -> None:
    failure += [line.error.model_dump(exclude_none=True) for line in lines if isinstance(line, ErrorLine)]
    if lines:
        await sink(task, lines)


async def _read_tail(process: Process) -> str:
    assert process.stderr is not None
    tail = b""
    while chunk := await process.stderr.read(_CHUNK):
        tail = (tail + chunk)[-_STDERR_TAIL:]
    return printable(tail.decode("utf-8", "replace")).strip()


def _not_started(task: Task, error: OSError) -> dict[str, Any]:
    return {
        "code": "worker_not_started",
        "message": f"the command {task.command[0]!r} of the pipeline cannot be started: {error.strerror}",
        "suggestion": "check the command in the pipeline's pipeline.yaml",
        "details": {"index": task.index},
    }


def _died(task: Task, status: int | None, tail: str) -> dict[str, Any]:
    how = f"ended with exit status {status}"
    if status is not None and status < 0:
        how = f"was killed by signal {-status} ({signal.strsignal(-status)})"
    last = tail.splitlines()[-1] if tail else "it wrote nothing on stderr"
    return {
        "code": "worker_died",
        "message": f"index {task.index} {how}: {last}",
        "details": {"index": task.index, "exit_status": status, "stderr": tail},
    }
