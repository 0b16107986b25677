"""Trials with a shared state on a real `reconciler serve`, in a process that is killed and started again.

Jobs wait for a gate until the runners are judged; then each has to come to its end once.
"""

from __future__ import annotations

import json
import os
import random
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import history
import httpx
import yaml
from shared import SharedTrial
from shared_places import Place
from trial import Control

from reconciler.client.patience import Timing
from reconciler.reconcile import Settings

KEY = "sk_invariants"
SETTLE = 1.0
WITHIN = 120.0  # seconds; it only bounds what fails
NAMES = "abcde"
ENDED = {"COMPLETED", "FAILED", "CANCELLED"}


class Service(Control):
    """The process, at the same address whenever it runs, and its truth: what its database has. `options`: of `serve`;
    `environ`: what it needs beside that.
    """

    def __init__(self, folder: Path, options: tuple[str, ...] = (), environ: Mapping[str, str] | None = None) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.port = listener.getsockname()[1]
        self.endpoint = f"http://127.0.0.1:{self.port}/v0.5"
        self.folder, self.data = folder, folder / "data"
        self.kills = 0
        self._options, self._environ = options, {**os.environ, **(environ or {}), "ATAI_API_KEY": KEY}
        self._process: subprocess.Popen[bytes] | None = None
        self._next = 0.0  # when it is killed, or started again

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_process": None}  # runners, which it is sent to, only need the address

    def prepare(self) -> None:
        """Start it, with a pipeline and the files that the specs name."""
        worker = str(Path(__file__).with_name("served_worker.py"))
        definition = {
            "pipeline_key": "k",
            "pipeline_version": "1.0.0",
            "pipeline_type": "batch",
            "name": "k",
            "components": {
                "worker": {"command": ["python", worker, str(self.folder / "notes"), str(self.folder / "gate")]}
            },
            "user_config_schema": {"type": "object"},
            "inputs": {"data": {"name": "Data"}},
            "outputs": {"out": {"name": "Out"}},
        }
        (self.folder / "pipelines" / "k").mkdir(parents=True)
        (self.folder / "pipelines" / "k" / "pipeline.yaml").write_text(yaml.safe_dump(definition))
        history.prepare(self.data)
        self.start()
        with self.client() as client:
            for name in NAMES:
                answer = client.post("/files", files={"file": (f"{name}.csv", b"1\n", "text/csv")})
                assert answer.status_code == 200, answer.text

    def client(self) -> httpx.Client:
        headers = {"Authorization": f"Bearer {KEY}"}
        return httpx.Client(base_url=self.endpoint, headers=headers, trust_env=False, timeout=30)

    def start(self) -> None:
        command = [sys.executable, "-m", "reconciler", "serve", "--port", str(self.port), "--data", str(self.data)]
        command += ["--pipelines", str(self.folder / "pipelines"), "--capacity", "3", *self._options]
        with (self.folder / "serve.log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, env=self._environ)
        self.wait_until(self._listens)

    def _listens(self) -> bool:
        assert self._process
        assert self._process.poll() is None, (self.folder / "serve.log").read_text()
        try:
            socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
        except OSError:
            return False
        return True

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        if self._process is not None:
            self._process.send_signal(how)
            code = self._process.wait(30)
            self._process = None
            assert code == (0 if how is signal.SIGTERM else -how), (self.folder / "serve.log").read_text()

    def disturb(self, dice: random.Random) -> None:
        """Kill it now and then, and start it again; call it all the time."""
        if self._process is None:
            self.start()
            self._next = time.monotonic() + dice.uniform(0.1, 2)
        elif not self._next:
            self._next = time.monotonic() + dice.uniform(0.1, 2)
        elif time.monotonic() > self._next:
            self.kills += 1
            self.stop(signal.SIGKILL)
            time.sleep(dice.uniform(0, 0.5))

    def revive(self) -> None:
        """Start it, if it does not run."""
        if self._process is None:
            self.start()

    def wait_until(self, happened: Callable[[], bool], what: Callable[[], object] = str) -> None:
        deadline = time.monotonic() + WITHIN
        while not happened():
            assert time.monotonic() < deadline, (what(), (self.folder / "serve.log").read_text()[-3000:])
            time.sleep(0.05)

    def call(self, verb: str, **body: Any) -> Any:
        """Time goes by as it does, and everything goes with the folder."""
        if verb == "control/advance":
            time.sleep(min(body["seconds"], SETTLE + 0.1))
        elif verb == "forget":
            self.stop(signal.SIGKILL)

    def truth(self) -> Any:
        with closing(history.connect(self.data)) as database:
            database.row_factory = sqlite3.Row
            jobs = {row["id"]: dict(row) for row in database.execute("SELECT * FROM jobs")}
        return {"jobs": jobs, "bodies": {i: {**j, "parameters": json.loads(j["parameters"])} for i, j in jobs.items()}}


@dataclass
class ServedTrial(SharedTrial):
    """A service, a place for the state, and clones of which each applies."""

    @property
    def service(self) -> Service:
        assert isinstance(self.control, Service)
        return self.control

    @property
    def settings(self) -> Settings:
        return replace(super().settings, settle_time=SETTLE, timing=Timing(budget=20.0))

    def bring_to_an_end(self, dice: random.Random) -> str | None:
        """Let all jobs work, with more kills of the service; what is broken then, if anything."""
        (self.folder / "gate").touch()
        until = time.monotonic() + 3
        while time.monotonic() < until:
            self.service.disturb(dice)
            time.sleep(0.05)
        self.service.revive()
        self.service.wait_until(
            lambda: {job["status"] for job in self.control.truth()["jobs"].values()} <= ENDED, self.control.truth
        )
        self.service.wait_until(lambda: not list((self.service.data / "runs").iterdir()))
        self.service.stop()
        wrong = history.faults(self.service.data)
        lines = [line.split() for line in (self.folder / "notes").read_text().splitlines()]
        ended = Counter(job for what, job, _ in lines if what == "ended")
        wrong += [f"{job} was run to completion {count} times" for job, count in ended.items() if count > 1]
        jobs = self.control.truth()["jobs"]
        done = {job["name"] for job in jobs.values() if job["status"] == "COMPLETED"}
        if done != set(self.specs):
            wrong.append(f"{sorted(done)} are COMPLETED, and the specs are {sorted(self.specs)}: {jobs}")
        with closing(history.connect(self.service.data)) as database:
            rows = database.execute("SELECT attempt, filename FROM outputs JOIN jobs ON jobs.id = job_id")
            wrong += [
                f"an orphan published {row[1]} beside attempt {row[0]}" for row in rows if row[1] != f"{row[0]}.txt"
            ]
        return "; ".join(wrong) or None


def new_served_trial(folder: Path, place: Place, clones: int, service: Service) -> ServedTrial:
    """A trial in the folder of the service, whose place is empty."""
    trial = ServedTrial(folder, service, place=place, clones=clones)
    trial.prepare()
    service.prepare()
    return trial
