"""`kill -9` of the service, of its workers, and of both, at every moment: nothing is lost, twice, half or left over."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import history
import httpx
import pytest
from killing import Sender, Serving, launch, wait_until
from scripting import pipeline

from reconciler.service.engines import strays
from reconciler.service.folder import DataFolder

pytestmark = [pytest.mark.slow, pytest.mark.network]

FILES = {name: f"content of {name}\n" * 2000 for name in ("a", "b", "c")}
ENDED = {"COMPLETED", "FAILED", "CANCELLED"}
SHARES = 8  # the sweep is cut into so many tests, for whoever has many cores
DONE: list[Any] = ["say", {"type": "done"}]


@dataclass
class Trial:
    """A service, the jobs that it acknowledged, and what their workers noted."""

    folder: Path
    sender: Sender
    serving: Serving
    jobs: dict[str, str]
    deleted: set[str]

    @property
    def notes(self) -> list[tuple[str, int, int]]:
        return self._noted("begun")

    @property
    def endings(self) -> list[tuple[str, int, int]]:
        return self._noted("ended")

    def _noted(self, name: str) -> list[tuple[str, int, int]]:
        path = self.folder / name
        lines = path.read_text().splitlines() if path.exists() else []
        return [(job, int(attempt), int(index)) for job, attempt, index in map(str.split, lines)]

    def upload(self) -> None:
        for name, text in FILES.items():
            answer = self.sender.send("POST", "/files", files={"file": (name, text.encode(), "text/plain")})
            assert answer.status_code == 200, answer.text

    def submit(self, name: str, key: str, files: str, *steps: list[Any], width: int = 1) -> None:
        """Submit until it is acknowledged. The worker notes that it has begun and that it has ended."""
        whole = [["note", str(self.folder / "begun")], *steps, ["note", str(self.folder / "ended")]]
        body = {
            "name": name,
            "pipeline_type": "batch",
            "pipeline_key": key,
            "inputs": {"data": [{"file_id": each} for each in files]},
            "parameters": {"worker": {"parallelism": width, "config": {"steps": whole}}},
        }
        answer = self.sender.send("POST", "/batch/jobs", json=body, headers={"Idempotency-Key": name})
        assert answer.status_code == 201, answer.text
        self.jobs[name] = answer.json()["id"]

    def job(self, name: str) -> dict[str, Any]:
        answer = self.sender.send("GET", f"/batch/jobs/{self.jobs[name]}")
        assert answer.status_code == 200, f"{name} was acknowledged and is lost: {answer.text}"
        return dict(answer.json())

    def wait(self, name: str, *statuses: str) -> None:
        wait_until(lambda: self.job(name)["status"] in (statuses or ENDED), lambda: self.job(name))

    def release(self, *gates: str) -> None:
        for gate in gates:
            (self.folder / f"gate.{gate}").touch()


def new_trial(folder: Path, *, kill_at: int | None = None, **policy: Any) -> Trial:
    pipelines = folder / "pipelines"
    folder.mkdir()
    pipeline(pipelines, "low", resume=True, priority=-1)
    pipeline(pipelines, "high", priority=5)
    pipeline(pipelines, "retried", retry_policy={"max_retries": 2}, **policy)
    pipeline(pipelines, "plain", **policy)
    serving = Serving(folder / "data", pipelines, kill_at=kill_at)
    history.prepare(serving.data)
    return Trial(folder, Sender(serving), serving, {}, set())


def play(trial: Trial) -> None:
    """A few jobs of each kind, two at a time, to their ends."""
    trial.release("a")
    trial.upload()
    gate = str(trial.folder / "gate")
    trial.submit("resumed", "low", "abc", ["checkpoint", "half", 2], ["each", gate], DONE)
    wait_until(lambda: trial.job("resumed")["input_progress"]["completed"] >= 1, lambda: trial.job("resumed"))
    trial.submit("wide", "high", "ab", ["each"], DONE, width=2)  # it needs both slots, so the first has to go
    trial.submit("retried", "retried", "a", ["exit", 1, 2], ["each"])
    trial.wait("wide")
    trial.submit("cancelled", "plain", "a", ["each"], ["wait", gate])
    trial.release("b", "c")
    trial.wait("resumed")
    trial.wait("cancelled", "RUNNING")
    answer = trial.sender.send("POST", f"/batch/jobs/{trial.jobs['cancelled']}/cancel")
    assert answer.status_code in (200, 409), answer.text  # the second: it was done, and the answer was lost
    trial.submit("deleted", "plain", "b", ["each"], DONE)
    trial.wait("retried")
    trial.wait("deleted")
    answer = trial.sender.send("DELETE", f"/batch/jobs/{trial.jobs['deleted']}")
    assert answer.status_code in (200, 404), answer.text
    trial.deleted.add("deleted")


def finish(trial: Trial) -> bool:
    """Stop the service, and put right what a kill while it stopped has left. Whether it was killed at all."""
    trial.sender.stop()
    killed = trial.serving.died.exists()
    if killed and not trial.sender.deaths:
        again = launch(Serving(trial.serving.data, trial.serving.pipelines))
        assert again
        with again.client() as client:
            ids = [job_id for name, job_id in trial.jobs.items() if name not in trial.deleted]
            wait_until(lambda: {client.get(f"/batch/jobs/{each}").json()["status"] for each in ids} <= ENDED)
        again.stop(signal.SIGTERM)
    return killed


def judge(trial: Trial) -> None:
    """Everything that was promised."""
    where = trial.serving.died.read_text() if trial.serving.died.exists() else "not killed"
    wrong = history.faults(trial.serving.data)
    with closing(history.connect(trial.serving.data)) as database:
        widths = defaultdict(lambda: 1, wide=2)
        most = history.most_slots(database, {name: widths[name] for name in trial.jobs})
        rows = {row["name"]: row for row in database.execute("SELECT * FROM jobs")}
        contents = {
            Path(trial.serving.data, "contents", row["id"], row["filename"]): row["file_id"]
            for row in database.execute(
                "SELECT outputs.*, inputs.file_id FROM outputs JOIN inputs ON inputs.id = input_id"
            )
        }
    if most > trial.serving.capacity:
        wrong.append(f"{most} slots were in use")
    if set(rows) != set(trial.jobs) - trial.deleted:
        wrong.append(f"there are {sorted(rows)} of {sorted(trial.jobs)}")
    wrong += [f"{path} is not what it should be" for path, name in contents.items() if path.read_text() != _made(name)]
    if len(set(trial.notes)) != len(trial.notes):
        wrong.append(f"an index of an attempt was started twice: {trial.notes}")
    wrong += [
        f"attempt {attempt} of {name} began, but the last was {rows[name]['attempt']}"
        for name, attempt, _ in trial.notes
        if name in rows and attempt > rows[name]["attempt"]
    ]
    # Nothing preempts this one, so what it had done counts whoever was killed; the resumed job may have to do it again
    ended = [attempt for job, attempt, _ in trial.endings if job == "wide"]
    finished = {attempt for attempt in ended if ended.count(attempt) == 2}
    if "wide" in rows and finished - {rows["wide"]["attempt"]}:
        wrong.append(f"wide had done all of attempt {finished}, and was run again")
    assert not wrong, f"{where}: {wrong}"


def _made(name: str) -> str:
    return FILES[name].upper()


def ends(trial: Trial) -> dict[str, str]:
    with closing(history.connect(trial.serving.data)) as database:
        return dict(tuple(row) for row in database.execute("SELECT name, status FROM jobs"))


PLAYED = {"resumed": "COMPLETED", "wide": "COMPLETED", "retried": "COMPLETED", "cancelled": "CANCELLED"}


@pytest.mark.parametrize("share", range(SHARES))
def test_a_kill_at_every_point(tmp_path: Path, share: int) -> None:
    """The service kills itself before and after each commit, sync, rename and decision; until there is no such
    point any more.
    """
    for point in count(1 + share, SHARES):
        trial = new_trial(tmp_path / str(point), kill_at=point)
        play(trial)
        killed = finish(trial)
        judge(trial)
        assert ends(trial) == PLAYED, trial.serving.died.read_text()
        if not killed:
            break
    assert point > 200


def test_a_second_kill_while_it_recovers(tmp_path: Path) -> None:
    """Killed when its workers had said that they were done and none of it was recorded, then at every point after."""
    points = 0
    while _killed_twice(new_trial(tmp_path / str(points)), points + 1):
        points += 1
    assert points > 20


def _killed_twice(trial: Trial, point: int) -> bool:
    trial.upload()
    never = ["wait", str(trial.folder / "never")]
    trial.submit("wide", "high", "ab", ["each", str(trial.folder / "gate")], DONE, never, width=2)
    wait_until(lambda: len(trial.notes) == 2)
    trial.sender.poke(signal.SIGSTOP)
    trial.release("a", "b")
    wait_until(lambda: len(_said_done(trial)) == 2)
    trial.sender.crash(then_kill_at=point)
    trial.wait("wide")
    finish(trial)
    judge(trial)
    with closing(history.connect(trial.serving.data)) as database:
        row = database.execute("SELECT status, attempt, preemption_count FROM jobs").fetchone()
    assert tuple(row) == ("COMPLETED", 1, 0), f"killed again at point {point}"
    return trial.serving.died.exists()


def _said_done(trial: Trial) -> list[Path]:
    said = (trial.serving.data / "runs").glob("*/*/stdout")
    return [path for path in said if b'"done"' in path.read_bytes()]


def workers(trial: Trial) -> Iterator[int]:
    for process in strays.marked(str(DataFolder(trial.serving.data).runs)):
        yield process.pid


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
@pytest.mark.parametrize("service_too", [False, True])
def test_workers_are_killed_and_stopped_at_random(tmp_path: Path, how: signal.Signals, service_too: bool) -> None:
    """Each is tried again by the policy, a worker that stands still is found by its silence; twelve times over."""
    dice = random.Random(f"{how} {service_too}")
    trial = new_trial(tmp_path / "trial", heartbeat_seconds=1.5)
    trial.upload()
    for number in range(6):
        beats: list[list[Any]] = [["say", {"type": "heartbeat"}], ["sleep", 0.1]]
        trial.submit(f"job{number}", "retried", "ab", *beats * 5, ["each"], DONE, width=1 + number % 2)
    hits = 0
    while hits < 12 and any(trial.job(name)["status"] not in ENDED for name in trial.jobs):
        time.sleep(dice.uniform(0, 0.5))
        for pid in workers(trial):
            try:
                os.kill(pid, how)
            except ProcessLookupError:
                continue
            hits += 1
            break
        if service_too and dice.random() < 0.5:
            trial.sender.stop(signal.SIGKILL)
    for name in trial.jobs:
        trial.wait(name)
    finish(trial)
    wrong = history.faults(trial.serving.data)
    assert not wrong
    assert hits >= 2
    with closing(history.connect(trial.serving.data)) as database:
        rows = database.execute("SELECT status, retry_count, preemption_count, error FROM jobs").fetchall()
        assert history.most_slots(database, {f"job{n}": 1 + n % 2 for n in range(6)}) <= 2
    for row in rows:  # a job may be out of luck three times
        assert row["status"] == "COMPLETED" or row["retry_count"] == 2, tuple(row)
        assert service_too or row["preemption_count"] == 0


def test_as_many_jobs_as_keys_however_often_the_service_dies(tmp_path: Path) -> None:
    dice = random.Random(1)
    trial = new_trial(tmp_path / "trial")
    keys = [f"key{number}" for number in range(150)]
    made: dict[str, str] = {}
    deaths = 0

    def send(client: httpx.Client, key: str) -> None:
        body = {"name": key, "pipeline_type": "batch", "pipeline_key": "plain"}
        try:
            answer = client.post("/batch/jobs", json=body, headers={"Idempotency-Key": key})
        except httpx.TransportError:
            return
        assert answer.status_code == 201
        assert made.setdefault(key, answer.json()["id"]) == answer.json()["id"]

    while waiting := [key for key in keys if key not in made]:
        victim = launch(Serving(trial.serving.data, trial.serving.pipelines, kill_at=dice.randint(20, 90)))
        assert victim
        with victim.client() as client, ThreadPoolExecutor(4) as pool:
            again = [key for key in made if dice.random() < 0.05]  # what was answered may be sent again, too
            list(pool.map(lambda key: send(client, key), again + waiting))
        deaths += not victim.process.is_alive()
        victim.stop()
    assert deaths > 2
    last = launch(Serving(trial.serving.data, trial.serving.pipelines))
    assert last
    with last.client() as client:
        for job_id in made.values():
            client.post(f"/batch/jobs/{job_id}/cancel")
        assert client.get("/batch/jobs").json()["total"] == len(keys)
    last.stop(signal.SIGTERM)
    assert len(set(made.values())) == len(keys)
    wrong = history.faults(trial.serving.data)
    assert not wrong
