"""One trial: specs, applies in forked processes that are killed for real at a chosen point, and the verdict.

A point is any moment at which a process can die and leave something behind: before and in the middle of a write;
before and after a sync, a rename, a removal; before a request leaves and after its answer has come. The process is
forked from one that has everything imported, so that ten thousand kills take minutes. It dies by SIGKILL: no handler,
no `finally`, no buffer is run.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import shutil
import signal
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import httpx

from reconciler.cli.output import worst
from reconciler.client.patience import Timing
from reconciler.errors import ReconcilerError, StateError
from reconciler.facts import PlanOptions
from reconciler.reconcile import Applied, Hooks, PlanRequest, Settings, apply
from reconciler.signals import Stop
from reconciler.state import read_state

SETTLE = 5.0

Command: TypeAlias = Callable[[], Coroutine[Any, Any, Applied]]


class Control:
    """The tenant's back door: its clock, its faults, its truth."""

    def __init__(self, port: int, trial: str) -> None:
        self.endpoint = f"http://127.0.0.1:{port}/t/{trial}/v0.5"
        self._port, self._base = port, f"/t/{trial}"

    def call(self, verb: str, **body: Any) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        try:
            connection.request("POST", f"{self._base}/{verb}", json.dumps(body))
            return json.loads(connection.getresponse().read())
        finally:
            connection.close()

    def setup(self, **settings: Any) -> None:
        self.call("control/setup", **settings)

    def truth(self) -> Any:
        return self.call("control/truth")


def around_requests(point: Callable[[], None]) -> None:
    """Call `point` before and after every request of this process."""
    send = httpx.AsyncHTTPTransport.handle_async_request

    async def watched(transport: httpx.AsyncHTTPTransport, request: httpx.Request) -> httpx.Response:
        point()
        response = await send(transport, request)
        point()
        return response

    httpx.AsyncHTTPTransport.handle_async_request = watched  # type: ignore[method-assign, assignment]


class Killer:
    """Counts the points of this process, and kills it at number `at` (0: never).

    With `error` it does not kill: from that point on, every call that writes to the disk fails with this error.
    """

    def __init__(self, at: int, error: int = 0) -> None:
        self.at, self.error, self.count = at, error, 0

    def point(self, *, disk: bool = False) -> None:
        self.count += 1
        if self.error:
            if disk and 0 < self.at <= self.count:
                raise OSError(self.error, os.strerror(self.error))
        elif self.count == self.at:
            os.kill(os.getpid(), signal.SIGKILL)

    def install(self) -> None:
        """Put points around everything that outlives the process: the system calls below our code, and HTTP."""
        os.write = self._torn(os.write)
        for name in ("fsync", "replace", "rename", "unlink", "ftruncate"):
            setattr(os, name, self._around(getattr(os, name)))
        around_requests(self.point)

    def _around(self, call: Callable[..., Any]) -> Callable[..., Any]:
        def watched(*args: Any, **kwargs: Any) -> Any:
            self.point(disk=True)
            result = call(*args, **kwargs)
            self.point()
            return result

        return watched

    def _torn(self, write: Callable[[int, Any], int]) -> Callable[[int, Any], int]:
        def watched(descriptor: int, data: Any) -> int:
            self.point(disk=True)
            half = len(data) // 2
            if half and self.count + 1 == self.at:
                write(descriptor, bytes(data)[:half])
            self.point(disk=True)
            return write(descriptor, data)

        return watched


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of a trial. Each list names jobs; all are empty when the promise was kept."""

    wanted: int
    created: int
    lost: tuple[str, ...] = ()
    duplicated: tuple[str, ...] = ()
    unreadable: str | None = None

    @property
    def kept(self) -> bool:
        return not self.lost and not self.duplicated and self.unreadable is None


@dataclass
class Trial:
    """A folder with specs and a state, and a tenant of the platform."""

    folder: Path
    control: Control
    specs: dict[str, int] = field(default_factory=dict)
    wanted: Counter[str] = field(default_factory=Counter)
    """How often each `name=value` may have been submitted: once each time that a spec came to say it."""
    file: str = ""
    """The input of every job; without it each has one of its own, and a rename is never a move."""
    chain: dict[str, str] = field(default_factory=dict)
    """The job whose output a job takes, by name."""
    moved: dict[str, str] = field(default_factory=dict)
    """The name that a job had before, by its new one."""
    pruned: set[str] = field(default_factory=set)
    """Jobs whose record an apply may have forgotten, since their spec was gone when it ran."""

    @property
    def settings(self) -> Settings:
        async def sleep(seconds: float) -> None:
            self.control.call("control/advance", seconds=seconds)

        return Settings(
            root=self.folder,
            state=self.folder / "state.json",
            endpoint=self.control.endpoint,
            key="sk_invariants",
            parallelism=4,
            settle_time=SETTLE,
            timing=Timing(budget=20.0, sleep=sleep),
        )

    def write(self, specs: Mapping[str, int]) -> None:
        """Make the specs folder say `specs`: a value by name."""
        self.control.call("control/advance", seconds=3)  # people do not edit within the second that clocks are told in
        self.wanted.update(f"{n}={v}" for n, v in specs.items() if self.specs.get(n) != v)
        self.specs = dict(specs)
        folder = self.folder / "specs"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for name, value in specs.items():
            body = {
                "name": name,
                "pipeline_type": "batch",
                "pipeline_key": "k",
                "inputs": {"data": [{"file_id": self.file or f"{name}.csv"}]},
                "parameters": {"worker": {"config": {"value": value}}},
                "reconcile": {"retry": {"attempts": 3}},
            }
            if name in self.chain:
                body["inputs"] = {"data": [{"from": {"job": self.chain[name], "port": "out"}}]}
            if name in self.moved:
                body["reconcile"] = {"moved_from": self.moved[name]}
            (folder / f"{name}.json").write_text(json.dumps(body))

    def run(self, kill_at: int = 0, error: int = 0, command: Command | None = None) -> tuple[int, int]:
        """Apply, or do `command`, in a process of its own. Its exit code (-9 when it was killed) and how many points it
        passed.

        With `error` the disk fails from point `kill_at` on, instead of the process being killed there.
        """
        bodies = self.control.truth()["bodies"]
        self.pruned |= {job_id for job_id, body in bodies.items() if body["name"] not in self.specs}
        points = self.folder / "points"
        child = os.fork()
        if child == 0:
            self._child(Killer(kill_at, error), points, command or self._apply)
        _, status = os.waitpid(child, 0)
        count = int(points.read_text()) if points.exists() else 0
        points.unlink(missing_ok=True)
        code = os.waitstatus_to_exitcode(status)
        assert code in (0, 1, 5, 6, -signal.SIGKILL), f"exit code {code}"
        return code, count

    def _child(self, killer: Killer, points: Path, command: Command) -> None:
        code = 70
        try:
            os.environ["PATH"] = "/nonexistent"  # no git: it would only slow things down
            killer.install()
            code = exit_code(asyncio.run(command()))
            points.write_text(str(killer.count))
        except ReconcilerError as error:
            code = int(error.exit_code)
            (self.folder / "error").write_text(f"{type(error).__name__}: {error.message}")
        finally:
            os._exit(code)

    async def _apply(self) -> Applied:
        request = PlanRequest((self.folder / "specs",), PlanOptions(prune=True), allow_empty=True)
        return await apply(self.settings, request, Stop(), Hooks())

    def recover(self, tries: int = 4) -> int:
        """Apply without kills until there is nothing left to do; the last exit code."""
        code = 1
        for _ in range(tries):
            self.control.call("control/advance", seconds=SETTLE)
            code, _ = self.run()
            if code == 0:
                break
        return code

    def judge(self) -> Verdict:
        """Compare the state with the truth."""
        truth = self.control.truth()
        created = Counter(label(body) for body in truth["bodies"].values())
        try:
            state = read_state(self.folder / "state.json")
        except StateError as error:
            return Verdict(self.wanted.total(), created.total(), unreadable=error.message)
        records = state.jobs if state else {}
        known = {r.job_id for r in records.values()} | {p.job_id for r in records.values() for p in r.history}
        lost = [f"{name}={value}" for name, value in self.specs.items() if not self._has(records, name, value, truth)]
        lost += [f"{label(truth['bodies'][i])} as {i}" for i in truth["jobs"].keys() - known - self.pruned]
        duplicated = [f"{n}: {count} times" for n, count in created.items() if count > self.wanted[n]]
        duplicated += [
            f"{i} ran {j['retry_count']} times again" for i, j in truth["jobs"].items() if j["retry_count"] > 2
        ]
        live = [j for j in truth["jobs"].values() if j["status"] not in ("COMPLETED", "FAILED", "CANCELLED")]
        alive = Counter(j["name"] for j in live)
        duplicated += [f"{name} runs {count} times at once" for name, count in alive.items() if count > 1]
        lost += [f"{name} runs, and no spec asks for it" for name in alive.keys() - self.specs.keys() - {""}]
        unreadable = "a journal was left behind" if (self.folder / "state.journal").exists() else None
        return Verdict(self.wanted.total(), created.total(), tuple(lost), tuple(duplicated), unreadable)

    @staticmethod
    def _has(records: Mapping[str, Any], name: str, value: int, truth: Any) -> bool:
        record = records.get(name)
        return record is not None and label(truth["bodies"].get(record.job_id, {})) == f"{name}={value}"

    def close(self) -> None:
        """Remove everything."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.control.call("forget")


def exit_code(applied: Applied) -> int:
    """What the command line would end with."""
    return int(worst([o.exit_code for o in applied.outcomes]))


def label(body: Mapping[str, Any]) -> str:
    """`name=value` of a submitted body."""
    return f"{body['name']}={body['parameters']['worker']['config']['value']}" if body else ""
