"""A service in a process of its own that kills itself at the Nth of its points, or is killed from outside.

A point is the moment before or after one of the steps that make things durable or change what others see: commits,
syncs, renames, removals, what the scheduler writes, and the start of a worker; on a cluster also each command of Slurm,
while it works too, and each file for a supervisor. The server process that forks the services has everything imported
already, so that a start takes a tenth of a second.
"""

from __future__ import annotations

import asyncio
import functools
import json
import logging
import multiprocessing
import os
import signal
import socket
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import FrameType
from typing import Any

import httpx
import uvicorn

from reconciler.service import runs
from reconciler.service.attempts import Attempts
from reconciler.service.contents import Contents
from reconciler.service.database import Database
from reconciler.service.engines import local, places, slurmcommands
from reconciler.service.engines.slurm import SlurmOptions
from reconciler.service.handovers import Handovers
from reconciler.service.service import Service, open_service
from reconciler.service.settings import Settings

DEADLINE = 30.0  # seconds; it only bounds a test that fails
_FORKS = multiprocessing.get_context("forkserver")
_FORKS.set_forkserver_preload(
    ["httpx", "uvicorn", "reconciler.service.service"]
)  # not this module: its folder is not on the path


@dataclass(frozen=True)
class Serving:
    """What to serve. `kill_at`: the point at which it kills itself, by its number from 1, or by its name and how often
    that was passed, `before sbatch 2`; its name is left in `died`. `kills`: the process that it kills instead.
    `slurm`: what the commands need to find a cluster; without it jobs run here.
    """

    data: Path
    pipelines: Path
    capacity: int = 2
    keys_file: Path | None = None
    kill_at: int | str | None = None
    kills: int | None = None
    slurm: Mapping[str, str] | None = None

    @property
    def port(self) -> Path:
        return self.data / "port"

    @property
    def died(self) -> Path:
        return self.data / "died"

    @property
    def passed(self) -> Path:
        """The names of all points that were passed, if the last service ended well."""
        return self.data / "passed"

    @property
    def log(self) -> Path:
        return self.data / "log"


class _Points:
    """Counts the points that the process passes, in whatever thread."""

    def __init__(self, serving: Serving) -> None:
        self._serving = serving
        self._lock = threading.Lock()
        self._passed: Counter[str] = Counter()

    def pass_by(self, name: str) -> None:
        with self._lock:
            self._passed[name] += 1
            number, named = self._passed.total(), f"{name} {self._passed[name]}"
            if self._serving.kill_at in (number, named):
                self._serving.died.write_text(f"{number} {name}")
                os.kill(self._serving.kills or os.getpid(), signal.SIGKILL)

    def tell(self) -> None:
        self._serving.passed.write_text(json.dumps(self._passed))

    def around(self, owner: Any, name: str) -> None:
        """Points before and after each call of the function."""
        original = getattr(owner, name)
        label = f"{getattr(owner, '__name__', owner)}.{name}"

        @functools.wraps(original)
        def wrapped(*args: Any, **named: Any) -> Any:
            self.pass_by(f"before {label}")
            result = original(*args, **named)
            self.pass_by(f"after {label}")
            return result

        setattr(owner, name, wrapped)

    def around_commits(self) -> None:
        original = Database.write

        @contextmanager
        def write(database: Database) -> Iterator[sqlite3.Connection]:
            with original(database) as tx:
                yield tx
                self.pass_by("before a commit")
            self.pass_by("after a commit")

        setattr(Database, "write", write)  # noqa: B010 - mypy does not let a method be replaced otherwise

    def around_commands(self) -> None:
        """Points before, while and after each command of Slurm's works."""
        run, start = slurmcommands.run, asyncio.create_subprocess_exec

        async def watched(*command: str, stdin: str = "") -> str:
            self.pass_by(f"before {_name(command)}")
            answer = await run(*command, stdin=stdin)
            self.pass_by(f"after {_name(command)}")
            return answer

        async def started(*command: str, **options: Any) -> Any:
            process = await start(*command, **options)
            communicate = process.communicate

            async def talk(said: bytes) -> Any:
                talking = asyncio.ensure_future(communicate(said))
                await asyncio.sleep(0.004)  # about half of its time
                self.pass_by(f"while {_name(command)} works")
                return await talking

            process.communicate = talk  # type: ignore[method-assign, assignment]
            return process

        slurmcommands.run = watched
        slurmcommands.asyncio.create_subprocess_exec = started  # type: ignore[attr-defined]


def _name(command: Sequence[str]) -> str:
    return " ".join(command[:2]) if command[0] == "scontrol" else command[0]


def _arm(serving: Serving) -> _Points:
    points = _Points(serving)
    points.around_commits()
    for name in ("rename", "fsync"):
        points.around(os, name)
    for name in ("receive", "publish", "take_over", "remove"):
        points.around(Contents, name)
    for name in ("admit", "begin", "record", "end", "preempt", "preempt_active"):
        points.around(Attempts, name)
    if serving.slurm is None:
        points.around(Attempts, "requeue")
        points.around(local, "_tell")
        points.around(local, "_kill_group")
    else:
        points.around_commands()
        points.around(places, "write")
        points.around(runs, "prepare")
        for name in ("add", "remove"):
            points.around(Handovers, name)
    return points


def _serve(serving: Serving) -> None:
    """What the process does, until it is killed or told to stop."""
    logging.basicConfig(filename=serving.log)
    os.environ.update(serving.slurm or {})
    points = _arm(serving)
    opened = open_service(
        serving.data,
        key=None,
        keys_file=serving.keys_file,
        capacity=serving.capacity,
        pipelines=serving.pipelines,
        settings=Settings(),
        slurm=None if serving.slurm is None else SlurmOptions(((0, "low"), (5, "high")), lease=4),
    )
    with opened as service, socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        assert service.lock.acquire()
        temporary = serving.port.with_suffix(".new")
        temporary.write_text(str(listener.getsockname()[1]))
        temporary.replace(serving.port)
        asyncio.run(_run(service, listener))
        points.tell()


class _Server(uvicorn.Server):
    """Stops when it is asked; uvicorn's own would then end the process before the scheduler has stopped."""

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self.should_exit = True


async def _run(service: Service, listener: socket.socket) -> None:
    """As `serve` does, without what it says to people."""
    config = uvicorn.Config(service.app, log_config=None, access_log=False, lifespan="off")
    running = asyncio.create_task(service.scheduler.run())
    server = _Server(config)
    running.add_done_callback(lambda _: setattr(server, "should_exit", True))  # when it breaks
    await server.serve(sockets=[listener])
    service.scheduler.stop()
    await running


@dataclass
class Victim:
    """The process, and where it listens."""

    process: BaseProcess
    url: str

    def client(self, key: str = "") -> httpx.Client:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        return httpx.Client(base_url=self.url, headers=headers, trust_env=False, timeout=DEADLINE)

    def stop(self, how: signal.Signals = signal.SIGKILL) -> None:
        """Send the signal, unless it is dead already, and wait until it is."""
        assert self.process.pid is not None
        with suppress(ProcessLookupError):
            if self.process.is_alive():
                os.kill(self.process.pid, how)
        self.process.join(DEADLINE)
        assert not self.process.is_alive()


def launch(serving: Serving) -> Victim | None:
    """Start it; None when it reached its point before it listened."""
    serving.data.mkdir(exist_ok=True)
    serving.port.unlink(missing_ok=True)
    process = _FORKS.Process(target=_serve, args=(serving,), daemon=True)
    process.start()
    deadline = time.monotonic() + DEADLINE
    while not serving.port.exists():
        if process.exitcode is not None:
            assert process.exitcode == -signal.SIGKILL, process.exitcode
            return None
        assert time.monotonic() < deadline
        time.sleep(0.005)
    return Victim(process, f"http://127.0.0.1:{serving.port.read_text()}/v0.5")


class Sender:
    """Sends requests to a service that may die at any time. It is started again, and what got no answer is repeated,
    as a client with an idempotency key does.
    """

    def __init__(self, serving: Serving) -> None:
        self._serving = serving
        self._kill_at = serving.kill_at  # counts for the next start only
        self.deaths = 0
        self._victim: Victim | None = None
        self._client: httpx.Client | None = None

    def send(self, method: str, path: str, **request: Any) -> httpx.Response:
        """The answer to the request, however often it had to be sent. `files` are to be given as bytes."""
        while True:
            try:
                answer = self._connected().request(method, path, **request)
            except httpx.TransportError:
                self._bury()
                continue
            assert answer.status_code < 500, answer.text
            return answer

    def _connected(self) -> httpx.Client:
        while self._client is None:
            self._victim = launch(replace(self._serving, kill_at=self._kill_at))
            self._kill_at = None
            if self._victim is None:
                self.deaths += 1
            else:
                self._client = self._victim.client()
        return self._client

    def _bury(self) -> None:
        self.deaths += 1
        if self._client and self._victim:
            self._client.close()
            self._victim.process.join(DEADLINE)
            assert self._victim.process.exitcode == -signal.SIGKILL, self._serving.log.read_text()
        self._client = None

    def poke(self, what: signal.Signals) -> None:
        """Send the process the signal."""
        assert self._victim
        assert self._victim.process.pid
        os.kill(self._victim.process.pid, what)

    def crash(self, then_kill_at: int | str | None = None) -> None:
        """Kill it; the next one kills itself at that point."""
        self.stop(signal.SIGKILL)
        self._kill_at = then_kill_at

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        """End it; the next request starts another."""
        if self._client and self._victim:
            self._client.close()
            self._victim.stop(how)
        self._client = None


def wait_until(happened: Callable[[], bool], what: Callable[[], object] = str) -> None:
    """Wait for it; `what` says what there is instead when it takes too long."""
    deadline = time.monotonic() + DEADLINE
    while not happened():
        assert time.monotonic() < deadline, what()
        time.sleep(0.01)
