"""Trials with a shared state: several runners, each in a clone of its own, killed or stopped at a chosen point.

A runner is forked from a process that has everything imported and has used nothing of it: the threads of obstore do not
outlive a fork, and this process may have used it.
"""

from __future__ import annotations

import asyncio
import json
import multiprocessing
import os
import shutil
import signal
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import httpx
import psutil
from shared_places import Place, behind_http, bucket, in_bucket, in_git, server
from trial import SETTLE, Control, Killer, Trial, around_requests, exit_code, label

from reconciler.address import parse_address
from reconciler.backends import lease as leases
from reconciler.backends.git import GitRegister
from reconciler.backends.objects import ObjectRegister
from reconciler.errors import ReconcilerError
from reconciler.facts import PlanOptions
from reconciler.job import State
from reconciler.reconcile import Hooks, PlanRequest, Settings, apply
from reconciler.record import STRAY
from reconciler.signals import Stop
from reconciler.state import parse_state

KINDS = ("git", "bucket", "gitlab", "terraform", "deaf")
LEASE = 1.2
_RUNNERS = multiprocessing.get_context("forkserver")
_RUNNERS.set_forkserver_preload(
    [
        "jsonschema",
        "obstore.store",
        "reconciler.apply",
        "reconciler.backends.objects",
        "reconciler.backends.shared",
        "reconciler.backends.terraform",
        "reconciler.cli.output",
        "reconciler.client.transport",
        "reconciler.reconcile.applying",
        "reconciler.reconcile.withdrawing",
        "reconciler.settle",
        "tenacity",
    ]
)


class Striker(Killer):
    """Counts the points of a runner, and kills or stops it at number `at`.
    `blind`: it takes no last look at its lock, as if it were always struck between that and the request.
    """

    def __init__(self, at: int, signal_number: int = signal.SIGKILL, *, blind: bool = False) -> None:
        super().__init__(at)
        self.signal_number, self.blind = signal_number, blind

    def point(self, *, disk: bool = False) -> None:
        self.count += 1
        if self.count == self.at:
            os.kill(os.getpid(), self.signal_number)

    def install(self) -> None:
        """Points around every request, every call of git, and every look at a bucket."""
        for owner, name in (
            (httpx.HTTPTransport, "handle_request"),
            (GitRegister, "_run"),
            (ObjectRegister, "read"),
            (ObjectRegister, "swap"),
        ):
            setattr(owner, name, self._around(getattr(owner, name)))
        around_requests(self.point)
        if self.blind:
            leases.Holding.may_send = lambda self: None  # type: ignore[method-assign]


@dataclass
class Places:
    """Servers that run for a while, and new places at them."""

    folder: Path
    bucket_port: int
    terraform_port: int
    count: int = 0

    def new(self, kind: str) -> Place:
        self.count += 1
        name = f"{kind}-{self.count}"
        if kind == "git":
            return in_git(self.folder, name)
        if kind == "bucket":
            return in_bucket(self.bucket_port, name)
        return behind_http(self.terraform_port, name, gitlab=kind == "gitlab")


@contextmanager
def places(folder: Path) -> Iterator[Places]:
    """The servers, until the block ends."""
    with ExitStack() as stack:
        bucket_port = stack.enter_context(bucket(folder))
        yield Places(folder, bucket_port, stack.enter_context(server("terraform_server.py", folder)))


@dataclass
class SharedTrial(Trial):
    """A platform, a place for the state, and clones of which each applies."""

    place: Place = field(default_factory=lambda: Place(""))
    clones: int = 2
    lease: float = LEASE
    withdrawn: int = 0
    """Jobs that were one too many, and were cancelled."""
    runners: list[BaseProcess] = field(default_factory=list)

    def prepare(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        for n in range(self.clones):
            self.place.clone(self.clone(n))

    def clone(self, n: int) -> Path:
        return self.folder / f"clone{n}"

    def settings_of(self, n: int) -> Settings:
        return replace(
            self.settings,
            root=self.clone(n),
            state=self.clone(n) / ".reconciler" / "shared",
            address=parse_address(self.place.text, None),
            environ={**os.environ, **self.place.environ},
            lease=self.lease,
            lock_timeout=20 * self.lease,
        )

    def write(self, specs: Mapping[str, int]) -> None:
        super().write(specs)
        for n in range(self.clones):
            shutil.rmtree(self.clone(n) / "specs", ignore_errors=True)
            shutil.copytree(self.folder / "specs", self.clone(n) / "specs")

    def start(self, n: int, striker: Striker | None = None) -> BaseProcess:
        """Begin an apply in clone `n`."""
        alone = replace(self, runners=[])  # it is sent to the runner
        runner = _RUNNERS.Process(target=alone.runner, args=(n, striker or Striker(0)), daemon=True)
        runner.start()
        self.runners.append(runner)
        return runner

    def runner(self, n: int, striker: Striker) -> None:
        """Apply in clone `n`, and end this process with the exit code."""
        code, said = 70, ""
        try:
            os.environ.update(self.place.environ)
            striker.install()
            code = exit_code(asyncio.run(self._apply_in(n)))
            (self.clone(n) / "points").write_text(str(striker.count))
        except ReconcilerError as error:
            code, said = int(error.exit_code), f"{type(error).__name__}: {error.message}"
        except BaseException as error:  # noqa: BLE001 - it is told below, and the process ends
            said = repr(error)
        finally:
            (self.clone(n) / "said").write_text(said)
            os._exit(code)

    async def _apply_in(self, n: int) -> Any:
        request = PlanRequest((self.clone(n) / "specs",), PlanOptions(prune=True), allow_empty=True)
        return await apply(self.settings_of(n), request, Stop(), Hooks())

    def finish(self, runner: BaseProcess) -> int:
        """The exit code of a runner."""
        runner.join()
        code = runner.exitcode
        assert code in (0, 1, 5, 6, -signal.SIGKILL), f"exit code {code}: {self.said()}"
        return code

    def said(self) -> dict[str, str]:
        return {path.parent.name: path.read_text() for path in self.folder.glob("clone*/said")}

    def points_of(self, n: int) -> int:
        return int((self.clone(n) / "points").read_text())

    def run(self, *args: Any, **kwargs: Any) -> tuple[int, int]:
        """A plain apply in the first clone."""
        bodies = self.control.truth()["bodies"]
        self.pruned |= {job_id for job_id, body in bodies.items() if body["name"] not in self.specs}
        return self.finish(self.start(0)), 0

    def recorded(self) -> State | None:
        data = self.place.state()
        return None if data is None else parse_state(data, self.place.text)

    def judge(self) -> Any:
        """As for a file: what the place holds is put where the trial looks.

        A job that was one too many, made by a runner that was stopped within its very request, must be cancelled and in
        the history of the record: then it is none that was asked for.
        """
        data = self.place.state()
        (self.folder / "state.json").write_bytes(data or b"")
        truth, state = self.control.truth(), self.recorded()
        known = [past for record in (state.jobs if state else {}).values() for past in record.history]
        withdrawn = [p.job_id for p in known if p.reason == STRAY and truth["jobs"][p.job_id]["status"] == "CANCELLED"]
        self.withdrawn = len(withdrawn)
        before = self.wanted.copy()
        self.wanted.update(label(truth["bodies"][job_id]) for job_id in withdrawn)
        try:
            return super().judge()
        finally:
            self.wanted = before

    def close(self) -> None:
        for runner in self.runners:
            runner.kill()  # one that a failed test has left may stand still
            runner.join()
            runner.close()
        self.runners.clear()
        super().close()
        if self.place.origin is not None:
            shutil.rmtree(self.place.origin, ignore_errors=True)


def new_trial(folder: Path, number: str, port: int, place: Place, clones: int = 2, **platform: Any) -> SharedTrial:
    """A trial whose place is empty."""
    trial = SharedTrial(folder / f"trial-{number}", Control(port, number), place=place, clones=clones)
    trial.prepare()
    trial.control.setup(**platform)
    return trial


def verdict(trial: SharedTrial) -> str | None:
    """Run in peace, and say what is broken; None when the promise was kept."""
    code = trial.recover()
    judged = trial.judge()
    left = [str(path) for path in trial.folder.glob("clone0/.reconciler/*.journal")]
    if code == 0 and judged.kept and not left:
        return None
    return f"exit code {code}, {judged}, {left}, {json.dumps(trial.said())}"


def is_stopped(runner: BaseProcess) -> bool:
    """Whether it stands still by a signal."""
    try:
        return psutil.Process(runner.pid).status() == psutil.STATUS_STOPPED
    except psutil.NoSuchProcess:
        return False


def wait_until_stopped(runner: BaseProcess) -> bool:
    """Whether a runner has been stopped; False when it has ended before."""
    while runner.is_alive():
        if is_stopped(runner):
            return True
        time.sleep(0.01)
    return False


def wake(runner: BaseProcess) -> None:
    """Let a stopped runner go on."""
    assert runner.pid is not None
    os.kill(runner.pid, signal.SIGCONT)


__all__ = [
    "KINDS",
    "LEASE",
    "SETTLE",
    "Places",
    "SharedTrial",
    "Striker",
    "is_stopped",
    "new_trial",
    "places",
    "verdict",
    "wait_until_stopped",
    "wake",
]
