"""An hour of a busy service in minutes: `make soak`, or `python soak.py --hours 1 --seed 1`.

Two organisations create, cancel, retry and delete jobs of several priorities and widths at random, while workers and
the service are killed. Processes, database and HTTP are real; only the time that work takes is scaled: a simulated
second lasts `SCALE` seconds. Then everything may end, and a checker looks at what is left. The last line says what
became of it all; anything but 0 violations fails.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import history
import httpx
from killing import Sender, Serving
from scripting import pipeline

from reconciler.service.engines import strays
from reconciler.service.folder import DataFolder
from reconciler.service.jobs import TERMINAL

SCALE = 0.05  # seconds that a simulated second lasts
CAPACITY = 3
GAP = 6.0  # simulated seconds between two actions, on average
ORGANISATIONS = {"one": "key-of-organisation-one", "two": "key-of-organisation-two"}
FILES = ("a", "b", "c")
PIPELINES: dict[str, dict[str, Any]] = {
    "low": {"priority": -1, "resume": True},
    "plain": {},
    "retried": {"retry_policy": {"max_retries": 2, "backoff_seconds": 4 * SCALE}},
    "high": {"priority": 5},
    "trained": {"pipeline_type": "training", "priority": 1},
}
ACTIONS = {
    "create": 50, "cancel": 12, "retry": 10, "delete": 8, "look": 12, "kill_worker": 6, "stop_worker": 2, "kill": 4
}  # fmt: skip


class Soak:
    """One service, and what was asked of it."""

    def __init__(self, folder: Path, seed: int) -> None:
        self._dice = random.Random(seed)
        for key, policy in PIPELINES.items():
            limits = {"heartbeat_seconds": 50 * SCALE, "timeout_seconds": 300 * SCALE}
            pipeline(folder / "pipelines", key, **limits, **policy)
        keys = folder / "keys"
        keys.write_text("".join(f"{name}: {key}\n" for name, key in ORGANISATIONS.items()))
        keys.chmod(0o600)
        self.data = folder / "data"
        history.prepare(self.data)
        self._sender = Sender(Serving(self.data, folder / "pipelines", CAPACITY, keys))
        self._jobs: dict[str, tuple[str, str]] = {}  # id → name and organisation, of those that were acknowledged
        self._deleted: set[str] = set()
        self.counts: Counter[str] = Counter()
        self.violations: list[str] = []

    def run(self, seconds: float) -> None:
        """Act for so many simulated seconds, let everything end, and check."""
        for organisation in ORGANISATIONS:
            for name in FILES:
                content = {"file": (name, f"content of {name}\n".encode() * 500, "text/plain")}
                assert self._send(organisation, "POST", "/files", files=content).status_code == 200
        end = time.monotonic() + seconds * SCALE
        names, weights = list(ACTIONS), list(ACTIONS.values())
        while time.monotonic() < end:
            time.sleep(self._dice.expovariate(1 / (GAP * SCALE)))
            (action,) = self._dice.choices(names, weights)
            getattr(self, f"_{action}")()
            self.counts[action] += 1
        self._drain()
        self._sender.stop()
        self._check()

    def _send(self, organisation: str, method: str, path: str, **request: Any) -> httpx.Response:
        headers = {"Authorization": f"Bearer {ORGANISATIONS[organisation]}", **request.pop("headers", {})}
        return self._sender.send(method, path, headers=headers, **request)

    def _create(self) -> None:
        dice = self._dice
        organisation = dice.choice(list(ORGANISATIONS))
        key = dice.choice(list(PIPELINES))
        width = 1 if key == "low" else dice.randint(1, CAPACITY)  # a job that resumes may get less than it asks for
        files = FILES[: dice.randint(width, len(FILES))]
        beat: list[list[Any]] = [["say", {"type": "heartbeat"}], ["sleep", dice.uniform(1, 10) * SCALE]]
        steps: list[list[Any]] = [*beat * 3, ["each"]]
        if dice.random() < 0.2:
            steps.insert(2, ["exit", 1, dice.randint(2, 4)])
        if dice.random() < 0.7:
            steps.append(["say", {"type": "done"}])
        name = f"{self.counts['create']} of width {width}"
        body = {
            "name": name,
            "pipeline_type": PIPELINES[key].get("pipeline_type", "batch"),
            "pipeline_key": key,
            "inputs": {"data": [{"file_id": each} for each in files]},
            "parameters": {"worker": {"parallelism": width, "config": {"steps": steps}}},
        }
        answer = self._send(organisation, "POST", "/batch/jobs", json=body, headers={"Idempotency-Key": name})
        assert answer.status_code == 201, answer.text
        self._jobs[answer.json()["id"]] = name, organisation

    def _ask(self, method: str, path: str, *expected: int) -> tuple[str, int]:
        """Ask for a change of any job; the job, and the answer's status."""
        there = [job_id for job_id in self._jobs if job_id not in self._deleted]
        if not there:
            return "", 0
        job_id = self._dice.choice(there[-40:])  # the newer ones: most of the old ones have ended
        answer = self._send(self._jobs[job_id][1], method, f"/batch/jobs/{job_id}{path}")
        if answer.status_code not in expected:
            self.violations.append(f"{method} {path} of {self._jobs[job_id][0]}: {answer.text}")
        return job_id, answer.status_code

    def _cancel(self) -> None:
        self._ask("POST", "/cancel", 200, 409)

    def _retry(self) -> None:
        self._ask("POST", "/retry", 200, 409)

    def _delete(self) -> None:
        deaths = self._sender.deaths
        job_id, status = self._ask("DELETE", "", 200, 404, 409)
        if status == 404 and deaths == self._sender.deaths:  # else it was done, and the answer was lost
            self.violations.append(f"{self._jobs[job_id][0]} is lost")
        if status in (200, 404):
            self._deleted.add(job_id)

    def _look(self) -> None:
        with closing(history.connect(self.data)) as database:
            self.violations += history.faults_of_positions(database)
            self.violations += history.faults_of_counts(database)
        organisation = self._dice.choice(list(ORGANISATIONS))
        page = self._send(organisation, "GET", "/batch/jobs", params={"status": "PENDING", "limit": 100}).json()
        shown = [(job["pipeline_type"], job["queue_position"]) for job in page["jobs"]]
        if len(set(shown)) != len(shown):
            self.violations.append(f"two jobs have one place: {sorted(shown)}")

    def _poke_worker(self, how: signal.Signals) -> None:
        workers = strays.marked(str(DataFolder(self.data).runs))
        if workers:
            with suppress(ProcessLookupError):
                os.kill(self._dice.choice(workers).pid, how)
                self.counts["workers"] += 1

    def _kill_worker(self) -> None:
        self._poke_worker(signal.SIGKILL)

    def _stop_worker(self) -> None:
        self._poke_worker(signal.SIGSTOP)

    def _kill(self) -> None:
        """Kill the service: with its workers, alone, or so that the next one kills itself soon."""
        if self._dice.random() < 0.3:
            self._kill_worker()
        self._sender.crash(self._dice.choice([None, self._dice.randint(1, 150)]))
        self._sender.deaths += 1

    def _left(self) -> int:
        marks = ", ".join("?" * len(TERMINAL))
        with closing(history.connect(self.data)) as database:
            query = f"SELECT COUNT(*) FROM jobs WHERE status NOT IN ({marks})"
            return int(database.execute(query, sorted(TERMINAL)).fetchone()[0])

    def _drain(self) -> None:
        still = 0.0
        before = -1
        while (left := self._left()) and still < 60:
            self._send("one", "GET", "/batch/jobs/queue")  # starts it again, when it killed itself
            time.sleep(0.2)
            still = 0.0 if left != before else still + 0.2
            before = left
        if left:
            self.violations.append(f"{left} jobs do not end")

    def _check(self) -> None:
        with closing(history.connect(self.data)) as database:
            rows = {row["id"]: row for row in database.execute("SELECT id, name FROM jobs")}
            names = [row[0] for row in database.execute("SELECT name FROM kept_jobs")]
            most = history.most_slots(database, {name: int(name.split()[-1]) for name in names})
            kept = database.execute("SELECT job_id, event_type, payload, at FROM kept_events ORDER BY id").fetchall()
            self.counts["transitions"] = len(list(history.transitions(kept)))
            self.counts.update(f"-> {payload['to']}" for _, _, payload, _ in history.transitions(kept))
        self.violations += history.faults(self.data)
        if most > CAPACITY:
            self.violations.append(f"{most} slots were in use")
        self.counts["most slots"] = most
        if len(set(names)) != len(names) or len(names) != len(self._jobs):
            self.violations.append(f"{len(self._jobs)} jobs were acknowledged, {len(names)} were made")
        lost = set(self._jobs) - self._deleted - set(rows)
        risen = self._deleted & set(rows)
        if lost or risen:
            self.violations.append(f"lost: {sorted(lost)}; deleted, and there again: {sorted(risen)}")

    def summary(self) -> str:
        counts = self.counts
        return (
            f"jobs {len(self._jobs):,} ({len(self._deleted)} deleted)  transitions {counts['transitions']:,}"
            f" ({counts['-> COMPLETED']} completions, {counts['-> FAILED']} failures, {counts['-> CANCELLED']}"
            f" cancellations, {counts['-> PREEMPTED']} preemptions)  kills: service {self._sender.deaths}, workers"
            f" {counts['workers']}  most slots in use {counts['most slots']} of {CAPACITY}"
            f"  violations {len(self.violations)}"
        )


def scratch() -> Path | None:
    """Memory, where there is some: a process that is killed does not lose what the system has not yet written."""
    memory = Path("/dev/shm")
    return memory if memory.is_dir() else None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--hours", type=float, default=1.0, help="simulated")
    parser.add_argument("--seed", type=int, default=int(time.time()))
    options = parser.parse_args()
    print(f"seed {options.seed}, {options.hours:g} simulated hours, a simulated second lasts {SCALE:g} s", flush=True)
    began = time.monotonic()
    with tempfile.TemporaryDirectory(dir=scratch()) as folder:
        soak = Soak(Path(folder), options.seed)
        soak.run(options.hours * 3600)
    for violation in soak.violations:
        print(f"violation: {violation}")
    print(f"{soak.summary()}  in {time.monotonic() - began:.0f} s")
    return 1 if soak.violations else 0


if __name__ == "__main__":
    sys.exit(main())
