"""`kill -9` of the service at points around the commands of Slurm, the files for supervisors, and what is published,
and of the controller at the same points. Jobs go on meanwhile: none is lost, done twice, or published by an orphan.

`POINTS=` says how many points are tried, `SEED=` which; each failure names its own.
"""

from __future__ import annotations

import json
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import history
import psutil
import pytest
from cluster import Cluster, started, wait_until
from killing import Sender, Serving
from scripting import pipeline
from slurmtrial import supervisors

pytestmark = [pytest.mark.slurm, pytest.mark.network]

SEED = int(os.environ.get("SEED", "1"))
POINTS = int(os.environ.get("POINTS", "60"))
AT_ONCE = 6  # trials; most of their time is waiting for Slurm
WITHIN = 150.0  # seconds
ENDED = {"COMPLETED", "FAILED", "CANCELLED"}
DONE: list[Any] = ["say", {"type": "done"}]


@dataclass
class Trial:
    """A service that is killed, its jobs on the cluster, and what their workers noted."""

    folder: Path
    cluster: Cluster
    sender: Sender
    serving: Serving
    jobs: dict[str, str] = field(default_factory=dict)
    widths: dict[str, int] = field(default_factory=dict)

    def upload(self) -> None:
        for name in "abc":
            answer = self.sender.send("POST", "/files", files={"file": (name, name.encode(), "text/plain")})
            assert answer.status_code == 200, answer.text

    def submit(self, name: str, *steps: list[Any], key: str = "low", width: int = 1) -> None:
        """Submit until it is acknowledged. The workers note that they began and that they were done."""
        whole = [["note", str(self.folder / "begun")], *steps, ["each"], DONE, ["note", str(self.folder / "ended")]]
        body = {
            "name": name,
            "pipeline_type": "batch",
            "pipeline_key": key,
            "inputs": {"data": [{"file_id": each} for each in "abc"[:width]]},
            "parameters": {"worker": {"parallelism": width, "config": {"steps": whole}}},
        }
        answer = self.sender.send("POST", "/batch/jobs", json=body, headers={"Idempotency-Key": name})
        assert answer.status_code == 201, answer.text
        self.jobs[name], self.widths[name] = answer.json()["id"], width

    def job(self, name: str) -> dict[str, Any]:
        answer = self.sender.send("GET", f"/batch/jobs/{self.jobs[name]}")
        assert answer.status_code == 200, f"{name} was acknowledged and is lost: {answer.text}"
        return dict(answer.json())

    def wait(self, name: str, *statuses: str) -> None:
        def there() -> bool:
            time.sleep(0.1)
            return self.job(name)["status"] in (statuses or ENDED)

        wait_until(there, lambda: (self.job(name), self.slurm(), self.serving.log.read_text()[-3000:]), WITHIN)

    def cancel(self, name: str) -> None:
        answer = self.sender.send("POST", f"/batch/jobs/{self.jobs[name]}/cancel")
        assert answer.status_code in (200, 409), answer.text  # the second: it was done, and the answer was lost

    def noted(self, what: str, name: str) -> list[tuple[int, int]]:
        """The attempts and indexes of the job that have `begun` or `ended`."""
        path = self.folder / what
        lines = [line.split() for line in path.read_text().splitlines()] if path.exists() else []
        return [(int(attempt), int(index)) for job, attempt, index in lines if job == name]

    def slurm(self) -> list[tuple[str, str]]:
        """The jobs of this service at Slurm: which job of the service, and the state."""
        owner = (self.serving.data / "cluster-name").read_text()[:12]
        rows = [line.split("|") for line in self.cluster.ask("squeue", "-h", "-t", "all", "-o", "%k|%T").splitlines()]
        ours = [(row[0].split("/"), row[1]) for row in rows if row[0].split("/")[1:2] == [owner]]
        return [(parts[2].rpartition(".")[0], state) for parts, state in ours]

    def preempted(self, name: str) -> int:
        with closing(history.connect(self.serving.data)) as database:
            return int(database.execute("SELECT preemption_count FROM jobs WHERE name = ?", (name,)).fetchone()[0])

    def left(self) -> list[tuple[str, str]]:
        """The jobs at Slurm that have not ended."""
        return [row for row in self.slurm() if row[1] in ("PENDING", "RUNNING", "COMPLETING")]

    def finish(self) -> bool:
        """Wait until all is at rest and stop the service, also when it is killed as it stops. Whether it was killed."""
        for name in self.jobs:
            self.wait(name)
        while not self.serving.passed.exists():
            wait_until(self._at_rest, lambda: (list((self.serving.data / "runs").iterdir()), self.slurm()))
            self.sender.stop()
        return self.serving.died.exists()

    def _at_rest(self) -> bool:
        """Whether nothing works any more; the service is started again, if need be."""
        time.sleep(0.2)
        self.job(next(iter(self.jobs)))
        return not self.left() and not list((self.serving.data / "runs").iterdir())

    def faults(self, ends: dict[str, str], *, undisturbed: bool) -> list[str]:
        """What is not as promised. `undisturbed`: nothing but the service was killed, so there is one attempt each."""
        wrong = history.faults(self.serving.data)
        with closing(history.connect(self.serving.data)) as database:
            rows = {row["name"]: row for row in database.execute("SELECT * FROM jobs")}
            query = "SELECT name, attempt, filename FROM outputs JOIN jobs ON jobs.id = job_id"
            outputs = [tuple(row) for row in database.execute(query)]
        if {name: row["status"] for name, row in rows.items()} != ends:
            wrong.append(f"they are {[(tuple(row), self.slurm()) for row in rows.values()]}")
        wrong += [
            f"{name} has the output {file} of an orphan"
            for name, attempt, file in outputs
            if f".{attempt}." not in file
        ]
        states = Counter(self.slurm())
        for name, job_id in self.jobs.items():
            begun, ended = Counter(self.noted("begun", name)), Counter(self.noted("ended", name))
            last, width = rows[name]["attempt"], self.widths[name]
            whole = {attempt for attempt, n in Counter(attempt for attempt, _ in ended).items() if n == width}
            if whole != ({last} if ends[name] == "COMPLETED" else set()):
                wrong.append(f"{name} was run to completion as {whole}, and the last attempt was {last}")
            if max((*begun.values(), *ended.values(), 0)) > 1:
                wrong.append(f"{name} began an index twice: {begun}, {ended}")
            if undisturbed and last > 1:
                wrong.append(f"{name} was run again: {tuple(rows[name])}")
            if undisturbed and ends[name] == "COMPLETED" and states[job_id, "COMPLETED"] != 1:
                wrong.append(f"Slurm has {states} for {name}, {job_id}")
        return wrong


@contextmanager
def trial(folder: Path, cluster: Cluster, *, kill_at: str | None = None, kills: int | None = None) -> Iterator[Trial]:
    folder.mkdir()
    for key, priority in (("low", 0), ("high", 5)):
        pipeline(folder / "pipelines", key, priority=priority, resources={"memory_mb": 512})
    serving = Serving(
        folder / "data",
        folder / "pipelines",
        capacity=4,
        kill_at=kill_at,
        kills=kills,
        slurm=cluster.environment,
    )
    history.prepare(serving.data)
    made = Trial(folder, cluster, Sender(serving), serving)
    try:
        yield made
    finally:
        made.sender.stop(signal.SIGKILL)


def play(trial: Trial) -> dict[str, str]:
    """A job of several indexes, one that is cancelled at work, one that is cancelled while it waits, one that fails."""
    trial.upload()
    trial.submit("wide", ["sleep", 0.3], width=3)
    trial.submit("cancelled", ["sleep", 600])
    trial.submit("fails", ["exit", 3])
    trial.wait("cancelled", "RUNNING")
    trial.cancel("cancelled")
    trial.submit("withdrawn", ["sleep", 600])
    trial.cancel("withdrawn")
    trial.wait("wide")
    return {"wide": "COMPLETED", "cancelled": "CANCELLED", "fails": "FAILED", "withdrawn": "CANCELLED"}


def play_preempted(trial: Trial) -> dict[str, str]:
    """On a cluster of four processors: a job of low priority has them all, and one of high priority comes."""
    trial.upload()
    gate = trial.folder / "gate"
    trial.submit("low", ["wait", str(gate)], width=3)
    trial.wait("low", "RUNNING")
    wait_until(lambda: len(trial.noted("begun", "low")) == 3, trial.slurm)
    trial.submit("high", width=3, key="high")
    trial.wait("high")
    gate.touch()
    trial.wait("low")
    return {"low": "COMPLETED", "high": "COMPLETED"}


Play = Callable[[Trial], dict[str, str]]


def sample(passed: Counter[str], many: int) -> list[str]:
    """So many of the points, by the seed; first one of each name."""
    dice = random.Random(SEED)
    first = [f"{name} {dice.randint(1, count)}" for name, count in sorted(passed.items())]
    dice.shuffle(first)
    rest = sorted({f"{name} {n}" for name, count in passed.items() for n in range(1, count + 1)} - set(first))
    dice.shuffle(rest)
    return [*first, *rest][:many]


def passed_by(folder: Path, cluster: Cluster, playing: Play) -> Counter[str]:
    """The points of a service that is not killed."""
    with trial(folder, cluster) as calm:
        ends = playing(calm)
        assert not calm.finish()
        assert not (wrong := calm.faults(ends, undisturbed=playing is play)), wrong
        return Counter(json.loads(calm.serving.passed.read_text()))


def struck(trial: Trial, playing: Play, *, undisturbed: bool = False) -> tuple[bool, list[str]]:
    """Whether it was killed, and what is wrong."""
    ends = playing(trial)
    killed = trial.finish()
    return killed, trial.faults(ends, undisturbed=undisturbed)


def verdict(points: Sequence[str], results: Sequence[tuple[bool, list[str]]]) -> None:
    wrong = [(point, faults) for point, (_, faults) in zip(points, results, strict=True) if faults]
    assert not wrong, f"seed {SEED}: {wrong}"
    calm = [point for point, (killed, _) in zip(points, results, strict=True) if not killed]
    print(f"seed {SEED}: {len(points) - len(calm)} kills at {len(points)} points")
    assert len(calm) < 0.3 * len(points), calm  # how often some are passed is a matter of time


def test_the_service_is_killed_at_points_around_slurm(tmp_path: Path) -> None:
    """It is started again, and each job has one attempt. In every fifth trial a supervisor is killed, too."""

    def one(number: int, point: str) -> tuple[bool, list[str]]:
        with trial(tmp_path / str(number), cluster, kill_at=point) as tried:
            alone = number % 5 > 0
            with nullcontext() if alone else supervisor_killed(tried, random.Random(f"{SEED} {number}")):
                return struck(tried, play, undisturbed=alone)

    with started(tmp_path / "cluster", cpus=4 * AT_ONCE) as cluster:
        points = sample(passed_by(tmp_path / "calm", cluster, play), POINTS)
        with ThreadPoolExecutor(AT_ONCE) as pool:
            verdict(points, list(pool.map(one, range(len(points)), points)))


@contextmanager
def supervisor_killed(trial: Trial, dice: random.Random) -> Iterator[None]:
    """One of them, at a random moment while the block runs."""

    def kill(over: threading.Event) -> None:
        over.wait(dice.uniform(0, 3))
        while not over.wait(0.02):
            for process in supervisors(trial.serving.data)[:1]:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
                return

    with beside(kill):
        yield


@contextmanager
def beside(work: Callable[[threading.Event], None]) -> Iterator[None]:
    """`work` in a thread of its own, which ends when the event is set: at the end of the block."""
    over = threading.Event()
    worker = threading.Thread(target=work, args=(over,))
    worker.start()
    try:
        yield
    finally:
        over.set()
        worker.join()


def test_the_service_is_killed_around_a_preemption(tmp_path: Path) -> None:
    """Each trial on a cluster of its own, which the jobs fill."""

    def one(number: int, point: str) -> tuple[bool, list[str]]:
        folder = tmp_path / str(number)
        with started(folder, cpus=2) as cluster, trial(folder / "trial", cluster, kill_at=point) as tried:
            killed, faults = struck(tried, play_preempted)
            counts = [tried.preempted("low"), tried.preempted("high")]
            return killed, faults if counts == [1, 0] else [*faults, f"they were preempted {counts} times"]

    with started(tmp_path / "cluster", cpus=2) as cluster:
        passed = passed_by(tmp_path / "calm", cluster, play_preempted)
    last = {name: count for name, count in passed.items() if count > 1}  # the later half: when it is preempted
    points = [
        f"{name} {random.Random(f'{SEED} {name}').randint(count // 2 + 1, count)}" for name, count in last.items()
    ]
    random.Random(SEED).shuffle(points)
    points = points[: POINTS // 8]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        verdict(points, list(pool.map(one, range(len(points)), points)))


def test_the_controller_is_killed_at_points_around_slurm(tmp_path: Path) -> None:
    """Before, while and after it is asked for something. It may forget what it acknowledged, and start jobs twice."""

    def one(number: int, point: str) -> tuple[bool, list[str]]:
        folder = tmp_path / str(number)
        with started(folder, cpus=4) as cluster, kept_up(cluster):
            controller = cluster.daemons["slurmctld"].pid
            with trial(folder / "trial", cluster, kill_at=point, kills=controller) as tried:
                return struck(tried, play)

    points = [f"{when} {n}" for command in ("sbatch", "scontrol release", "scancel") for when, n in around(command)]
    with ThreadPoolExecutor(len(points)) as pool:
        verdict(points, list(pool.map(one, range(len(points)), points)))


def around(command: str) -> list[tuple[str, int]]:
    dice = random.Random(f"{SEED} {command}")
    return [(when, dice.randint(1, 2)) for when in (f"before {command}", f"while {command} works", f"after {command}")]


@contextmanager
def kept_up(cluster: Cluster) -> Iterator[None]:
    """What a supervisor of daemons and an operator do: start the controller again, and resume machines."""

    def watch(over: threading.Event) -> None:
        while not over.wait(0.5):
            if cluster.daemons["slurmctld"].poll() is not None:
                cluster.run("slurmctld")
            cluster.resume()

    with beside(watch):
        yield
