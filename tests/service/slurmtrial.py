"""`reconciler serve --engine slurm` in a process of its own, jobs whose workers note what they do, and the verdict."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import history
import httpx
import psutil
from cluster import Cluster, wait_until
from scripting import pipeline

from reconciler.service.engines import strays

KEY = "sk_slurm_0123456789"
ENDED = ("COMPLETED", "FAILED", "CANCELLED")
WITHIN = 120.0  # seconds; Slurm takes its time to give a machine up
FILES = ("a", "b", "c", "d")


@dataclass
class Trial:
    """One service on the cluster; it can be killed and started again."""

    folder: Path
    cluster: Cluster
    jobs: dict[str, str] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)  # by the service, on stderr
    process: subprocess.Popen[str] | None = None
    listener: threading.Thread | None = None
    http: httpx.Client = field(default_factory=httpx.Client)

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def start(self) -> None:
        command = [sys.executable, "-m", "reconciler", "serve", "--port", "0", "--data", str(self.data)]
        command += ["--pipelines", str(self.folder / "pipelines"), "--engine", "slurm", "--slurm-lease", "4"]
        command += ["--slurm-partition", "low", "--slurm-partition", "5=high", "--capacity", "4"]
        env = os.environ | self.cluster.environment | {"ATAI_API_KEY": KEY, "PYTHONWARNINGS": "error"}
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=env, start_new_session=True)
        assert self.process.stderr
        first = self.process.stderr.readline()
        self.said.append(first)
        assert first.startswith("The batch service listens on"), first + self.process.stderr.read()
        self.listener = threading.Thread(target=self._listen, args=(self.process,), daemon=True)
        self.listener.start()
        headers = {"Authorization": f"Bearer {KEY}"}
        self.http = httpx.Client(base_url=first.split()[-1], headers=headers, trust_env=False, timeout=30)

    def _listen(self, process: subprocess.Popen[str]) -> None:
        assert process.stderr
        with process.stderr:
            for line in process.stderr:
                self.said.append(line)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> None:
        if self.process is not None:
            self.http.close()
            self.process.send_signal(how)
            assert self.process.wait(30) == (0 if how is signal.SIGTERM else -how), self.said
            assert self.listener
            self.listener.join(30)
            self.process = None

    def upload(self) -> None:
        for name in FILES:
            answer = self.http.post("/files", files={"file": (name, name.encode(), "text/plain")})
            assert answer.status_code == 200, answer.text

    def submit(self, name: str, *steps: list[Any], key: str = "low", width: int = 1) -> None:
        """A job of `width` inputs and indexes. Its workers note that they began, say they are done, and note that."""
        done = [["each"], ["say", {"type": "done"}], ["note", str(self.folder / "ended")]]
        whole = [["note", str(self.folder / "begun")], *steps, *done]
        body = {
            "name": name,
            "pipeline_type": "batch",
            "pipeline_key": key,
            "inputs": {"data": [{"file_id": each} for each in FILES[:width]]},
            "parameters": {"worker": {"parallelism": width, "config": {"steps": whole}}},
        }
        answer = self.http.post("/batch/jobs", json=body, headers={"Idempotency-Key": name})
        assert answer.status_code == 201, answer.text
        self.jobs[name] = answer.json()["id"]

    def job(self, name: str) -> dict[str, Any]:
        return dict(self.http.get(f"/batch/jobs/{self.jobs[name]}").json())

    def cancel(self, name: str) -> None:
        assert self.http.post(f"/batch/jobs/{self.jobs[name]}/cancel").status_code == 200

    def wait(self, name: str, *statuses: str) -> dict[str, Any]:
        def there() -> bool:
            self.cluster.resume()
            return self.job(name)["status"] in (statuses or ENDED)

        wait_until(there, lambda: self.state(name), WITHIN)
        return self.job(name)

    def state(self, name: str) -> object:
        """What there is to say about a job that does not do what it should."""
        shown = self.cluster.ask("squeue", "--states=all", "--format=%i %T %r"), self.cluster.ask("sinfo", "-R")
        return self.job(name), self.events(name), self.slurm(), shown, self.said[-20:], self.cluster.log()

    def events(self, name: str, event_type: str = "") -> list[str]:
        rows = self.http.get(f"/batch/jobs/{self.jobs[name]}/events", params={"limit": 100}).json()["events"]
        return [str(row["message"]) for row in rows[::-1] if event_type in ("", row["event_type"])]

    def handed_over(self, name: str, times: int = 1) -> None:
        wait_until(lambda: len(self.events(name, "handed_over")) >= times, lambda: self.state(name), WITHIN)

    def slurm(self) -> list[list[str]]:
        """Slurm's jobs of this service: id, job of the service, state, node."""
        rows = [
            line.split("|") for line in self.cluster.ask("squeue", "-h", "-t", "all", "-o", "%i|%k|%T|%N").splitlines()
        ]
        owner = (self.data / "cluster-name").read_text()[:12]
        return [[row[0], row[1].split("/")[2], *row[2:]] for row in rows if row[1].split("/")[1:2] == [owner]]

    def on_record(self, name: str) -> list[str]:
        """What Slurm says of each attempt at the job, once all of them have ended."""

        def states() -> list[str]:
            rows = [row for row in self.slurm() if row[1].rpartition(".")[0] == self.jobs[name]]
            return [row[2] for row in sorted(rows, key=lambda row: int(row[0]))]

        wait_until(lambda: not {"PENDING", "RUNNING", "COMPLETING"} & set(states()), states)
        return states()

    def number(self, name: str) -> str:
        """Slurm's id of the newest attempt at the job."""
        rows = [row for row in self.slurm() if row[1].rpartition(".")[0] == self.jobs[name]]
        return max((row[0] for row in rows), key=int)

    def node(self, name: str) -> str:
        """Where the only index of the job works."""
        return next(row[3] for row in self.slurm() if row[1].startswith(self.jobs[name]) and row[2] == "RUNNING")

    def noted(self, what: str, name: str) -> list[tuple[int, int]]:
        """The attempts and indexes of the job that have `begun` or `ended`."""
        path = self.folder / what
        lines = [line.split() for line in path.read_text().splitlines()] if path.exists() else []
        return [(int(attempt), int(index)) for job, attempt, index in lines if job == name]

    def begun(self, name: str, attempts: int = 1, width: int = 1) -> None:
        """Wait until so many attempts have begun with all indexes."""

        def there() -> bool:
            if len(self.noted("begun", name)) >= attempts * width:
                return True
            assert self.job(name)["status"] not in ENDED, self.state(name)
            return False

        wait_until(there, lambda: self.state(name), WITHIN)

    def kill_controller(self, pause: float = 0.0) -> None:
        """Kill it, and start it again after `pause` seconds."""
        self.cluster.kill("slurmctld")
        time.sleep(pause)
        self.cluster.run("slurmctld")
        wait_until(self.cluster.up, self.cluster.log)

    def processes(self, of: str) -> list[psutil.Process]:
        """Those of this service's jobs: the `worker`s, or the `supervisor`s that started them."""
        return strays.marked(str(self.data / "runs")) if of == "worker" else supervisors(self.data)

    def judge(self) -> None:
        """All that was promised, once every job has ended: nothing lost, nothing twice, nothing left."""
        for name in self.jobs:
            self.wait(name)
        wait_until(lambda: not list((self.data / "runs").iterdir()), lambda: (self.slurm(), self.said), WITHIN)
        rows = {name: self.job(name) for name in self.jobs}
        self.stop()
        wrong = history.faults(self.data)
        for name in rows:
            ended = Counter(self.noted("ended", name))
            begun = Counter(self.noted("begun", name))
            if any(count > 1 for count in (begun + Counter()).values()):
                wrong.append(f"{name} began an attempt twice: {begun}")
            if len({attempt for attempt, _ in ended}) > 1 or any(count > 1 for count in ended.values()):
                wrong.append(f"{name} was run to completion twice: {ended}")
        assert not wrong, (wrong, rows)

    def counts(self, name: str) -> tuple[str, int, int]:
        job = self.job(name)
        return job["status"], job["retry_count"], job["preemption_count"]


def supervisors(data: Path) -> list[psutil.Process]:
    """Those of the service in this folder that have started a worker."""
    found = []
    for worker in strays.marked(str(data / "runs")):
        with suppress(psutil.Error):  # it has ended meanwhile
            found.append(worker.parent())
    return [each for each in found if each is not None]


@contextmanager
def trial(folder: Path, cluster: Cluster) -> Iterator[Trial]:
    """A service with the pipelines low, high (priority 5), retried (twice), brief (two seconds), limited (in all that
    there is) and large (more memory than there is).
    """
    small = {"memory_mb": 512}
    pipelines = folder / "pipelines"
    pipeline(pipelines, "low", resources=small)
    pipeline(pipelines, "high", priority=5, resources=small)
    pipeline(pipelines, "retried", retry_policy={"max_retries": 2}, resources=small)
    pipeline(pipelines, "brief", timeout_seconds=2, resources=small)
    limits = {"memory_mb": 600, "cpu_seconds": 1, "file_mb": 1}
    pipeline(pipelines, "limited", priority=5, timeout_seconds=90, resources=limits)
    pipeline(pipelines, "large", resources={"memory_mb": 5_000_000})
    made = Trial(folder, cluster)
    history.prepare(made.data)
    made.start()
    try:
        made.upload()
        yield made
    finally:
        if made.process is not None:
            made.stop(signal.SIGKILL)
        for row in made.slurm():
            cluster.ask("scancel", row[0])
