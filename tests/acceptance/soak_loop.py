"""A loop that follows a busy repository, with `reconciler serve` as its platform: `make soak-loop`, or
`python soak_loop.py --minutes 10 --seed 1`.

Somebody commits changed, new, removed and invalid specs and pushes them, also by force; the loop and the service are
killed again and again. In between lies a line that loses answers and takes idempotency keys away, so that the service
does not help. Then all may come to rest, and a checker counts the jobs, asks for the metrics, and lets the last loop
make many rounds to see whether it grows. The last line says what became of it all; anything but 0 violations fails.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import pairwise
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

from running import here, until

HERE = Path(__file__).parent
NAMES = [f"job-{n}" for n in range(8)]
ACTIONS = {
    "change": 40, "add": 8, "remove": 6, "spoil": 8, "force": 10, "kill_loop": 10, "stop_loop": 4, "kill_service": 8,
    "ask": 20,
}  # fmt: skip
GAP = 0.7  # seconds between two actions, on average
LOST = 0.1
"""The share of submissions whose answer is lost."""
ROUNDS = 100
GROWTH = 4 << 20  # bytes that so many rounds may add to a loop that has made as many before


class Line:
    """What is between the loop and the service: a port that stays, whoever listens behind it."""

    def __init__(self, port: int, dice: random.Random) -> None:
        self.lost = LOST
        line = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, format: str, *args: object) -> None:
                pass

            def pass_on(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                headers = {k: v for k, v in self.headers.items() if k.lower() not in ("idempotency-key", "connection")}
                self.close_connection = True  # what is not answered breaks off
                with suppress(OSError, http.client.HTTPException):
                    behind = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
                    behind.request(self.command, self.path, body, headers)
                    answer = behind.getresponse()
                    content = answer.read()
                    behind.close()
                    if self.command == "POST" and dice.random() < line.lost:
                        return
                    self.send_response(answer.status)
                    for name in ("content-type", "date", "retry-after"):
                        if answer.headers[name]:
                            self.send_header(name, answer.headers[name])
                    self.send_header("content-length", str(len(content)))
                    self.send_header("connection", "close")
                    self.end_headers()
                    self.wfile.write(content)

            do_GET = do_POST = do_PUT = do_DELETE = pass_on  # noqa: N815

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class Soak:
    """A repository, a desk at which somebody works on it, a service, and a loop."""

    def __init__(self, folder: Path, seed: int) -> None:
        self._dice = random.Random(seed)
        self._folder = folder
        self._port = _free_port()
        self._line = Line(self._port, random.Random(seed))
        self._bare, self._desk, self._clone = folder / "jobs.git", folder / "desk", folder / "clone"
        self._env = here(folder) | {"GIT_CONFIG_SYSTEM": "/dev/null", "RECONCILER_SETTLE_TIME": "2s"}
        self._env |= {"RECONCILER_TIMEOUT": "2s", "RECONCILER_CACHE": str(folder / "cache")}
        self._version = 0
        self._spoiled = False
        self._loop: subprocess.Popen[bytes] | None = None
        self._service: subprocess.Popen[bytes] | None = None
        self.counts: Counter[str] = Counter()
        self.violations: list[str] = []

    def run(self, seconds: float) -> None:
        """Act for so long, let all come to rest, and check."""
        try:
            self._begin()
            end = time.monotonic() + seconds
            names, weights = list(ACTIONS), list(ACTIONS.values())
            while time.monotonic() < end:
                time.sleep(self._dice.expovariate(1 / GAP))
                (action,) = self._dice.choices(names, weights)
                getattr(self, f"_{action}")()
                self.counts[action] += 1
            self._rest()
            self._check_jobs()
            self._check_loop()
        finally:
            for process in (self._loop, self._service):
                if process is not None:
                    process.kill()
                    process.wait()
            self._line.close()

    def summary(self) -> str:
        told = ", ".join(f"{count} {what}" for what, count in sorted(self.counts.items()))
        return "\n".join([*self.violations, f"{told}: {len(self.violations)} violations"])

    # -- what happens --

    def _begin(self) -> None:
        git = ["git", "init", "--quiet", "--initial-branch=main"]
        subprocess.run([*git, "--bare", self._bare], check=True, env=self._env)
        subprocess.run([*git, self._desk], check=True, env=self._env)
        self._git("remote", "add", "origin", str(self._bare))
        (self._desk / "specs").mkdir()
        for name in NAMES[:4]:
            self._write(name)
        self._push()
        self._start_service()
        self._start_loop()

    def _change(self) -> None:
        self._write(self._dice.choice(self._specs() or NAMES))
        self._push()

    def _add(self) -> None:
        self._write(self._dice.choice(NAMES))
        self._push()

    def _remove(self) -> None:
        if len(specs := self._specs()) > 2:
            (self._desk / "specs" / f"{self._dice.choice(specs)}.json").unlink()
            self._push()

    def _spoil(self) -> None:
        """An invalid spec; what comes next mends it."""
        (self._desk / "specs" / "broken.yaml").write_text("name: broken\npipeline_typ: batch\n")
        self._push(mend=False)

    def _force(self) -> None:
        back = self._dice.randint(1, 3)
        if int(self._git("rev-list", "--count", "HEAD")) > back:
            self._git("reset", "--quiet", "--hard", f"HEAD~{back}")
            self._git("push", "--quiet", "--force", "origin", "HEAD:main")

    def _kill_loop(self) -> None:
        assert self._loop is not None
        self._loop.kill()
        self._loop.wait()
        time.sleep(self._dice.uniform(0, 1))
        self._start_loop()

    def _stop_loop(self) -> None:
        assert self._loop is not None
        self._loop.terminate()
        if (code := self._loop.wait(60)) not in (0, 143):
            self.violations.append(f"the loop ended with {code} at SIGTERM: {self._log.read_text()[-1000:]}")
        self._start_loop()

    def _kill_service(self) -> None:
        assert self._service is not None
        self._service.kill()
        self._service.wait()
        time.sleep(self._dice.uniform(0, 2))
        self._start_service()

    def _ask(self) -> None:
        assert self._loop is not None
        self._loop.send_signal(signal.SIGHUP)

    # -- with what --

    def _git(self, *arguments: str) -> str:
        who = [word for key in ("user.name=Ann", "user.email=ann@example.com") for word in ("-c", key)]
        command = ["git", "-c", "gc.auto=0", *who, *arguments]
        done = subprocess.run(command, cwd=self._desk, env=self._env, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    def _specs(self) -> list[str]:
        return sorted(path.stem for path in (self._desk / "specs").glob("job-*.json"))

    def _write(self, name: str) -> None:
        """Each text is another one than all before."""
        self._version += 1
        spec = {"name": name, "pipeline_type": "batch", "pipeline_key": "echo", "pipeline_version": "1.0.0"}
        parameters = {"worker": {"config": {"text": f"{name} {self._version}"}}}
        (self._desk / "specs" / f"{name}.json").write_text(json.dumps(spec | {"parameters": parameters}))

    def _push(self, *, mend: bool = True) -> None:
        if mend:
            (self._desk / "specs" / "broken.yaml").unlink(missing_ok=True)
        self._git("add", "--all")
        self._git("commit", "--quiet", "--allow-empty", "--message", f"version {self._version}")
        self._git("push", "--quiet", "origin", "HEAD:main")

    def _start_service(self) -> None:
        data = self._folder / "service"
        with (self._folder / "service.log").open("a") as log:
            options = ["--port", str(self._port), "--data", str(data), "--capacity", "2"]
            command = ["reconciler", "serve", *options, "--pipelines", str(HERE / "pipelines")]
            self._service = subprocess.Popen(command, cwd=self._folder, env=self._env, stderr=log, stdout=log)
        until(self._service_answers)
        self._env |= {"ATAI_API_KEY": (data / "api-key").read_text().strip(), "ATAI_API_ENDPOINT": self._line.url}

    def _service_answers(self) -> bool:
        with suppress(OSError), urlopen(f"http://127.0.0.1:{self._port}/readyz", timeout=5) as answer:
            return bool(answer.status == 200)
        return False

    @property
    def _log(self) -> Path:
        return self._folder / f"loop-{self.counts['loops']}.log"

    def _start_loop(self) -> None:
        self.counts["loops"] += 1
        place = ["--repository", str(self._bare), "--checkout", str(self._clone), "--listen", "127.0.0.1:0"]
        command = ["reconciler", "run", *place, "--interval", "1s", "--log-format", "json"]
        with self._log.open("w") as log:
            self._loop = subprocess.Popen(command, cwd=self._folder, env=self._env, stderr=log)
        until(lambda: self._told("listen"))

    def _told(self, event: str, **fields: Any) -> list[Any]:
        """Lines of the present loop, each of which is JSON."""
        lines = [json.loads(line) for line in self._log.read_text().splitlines() if line.endswith("}")]
        return [line for line in lines if line["event"] == event and fields.items() <= line.items()]

    def _answer(self, path: str) -> str:
        with urlopen(self._told("listen")[0]["url"] + path, timeout=30) as answer:
            return str(answer.read().decode())

    def _state(self) -> Any:
        return json.loads((self._clone / ".reconciler" / "state.json").read_text())

    def _jobs(self) -> list[dict[str, Any]]:
        """All jobs of the service, oldest first."""
        jobs: list[dict[str, Any]] = []
        while True:
            url = f"http://127.0.0.1:{self._port}/v0.5/batch/jobs?limit=100&offset={len(jobs)}"
            request = Request(url, headers={"Authorization": f"Bearer {self._env['ATAI_API_KEY']}"})
            with urlopen(request, timeout=30) as answer:
                page = json.load(answer)["jobs"]
            jobs += page
            if len(page) < 100:
                return jobs[::-1]

    # -- what must have come of it --

    def _rest(self) -> None:
        """Mend all, and wait until the loop has nothing left to do and each job has ended."""
        self._line.lost = 0.0
        self._write(self._specs()[0])
        self._push()
        self._kill_loop()  # a new one holds nothing back
        until(self._at_rest, seconds=180)

    def _at_rest(self) -> bool:
        assert self._loop is not None
        time.sleep(0.5)
        self._loop.send_signal(signal.SIGHUP)
        done = self._told("round", result="done", commit=self._git("rev-parse", "HEAD"), held_back=0)
        return bool(done) and all(
            record["status"] in ("COMPLETED", "CANCELLED") for record in self._state()["jobs"].values()
        )

    def _check_jobs(self) -> None:
        """Every job of the platform is one that was asked for, and is recorded once."""
        state, jobs = self._state(), self._jobs()
        recorded = Counter(past["job_id"] for r in state["jobs"].values() for past in (r, *r["history"]))
        there = Counter(job["id"] for job in jobs)
        if recorded != there:
            self.violations.append(f"recorded, but not there, or the other way: {recorded - there} {there - recorded}")
        for name in {job["name"] for job in jobs}:
            mine = [job for job in jobs if job["name"] == name]
            if len(mine) > state["generations"][name]:
                self.violations.append(f"{name} has {len(mine)} jobs, and {state['generations'][name]} generations")
            for one, next_ in pairwise(mine):
                if _text(one) == _text(next_) and one["status"] != "CANCELLED":
                    self.violations.append(f"{name} was submitted twice: {one['id']} and {next_['id']}")
        for name in self._specs():
            wanted = json.loads((self._desk / "specs" / f"{name}.json").read_text())
            last = next(job for job in jobs if job["id"] == state["jobs"][name]["job_id"])
            if _text(last) != _text(wanted) or last["status"] != "COMPLETED":
                self.violations.append(f"{name} is {_text(last)}, {last['status']}, and not {_text(wanted)}")
        self.counts["jobs"] = len(jobs)

    def _check_loop(self) -> None:
        """What the last loop says of itself, and whether it grows."""
        self._rounds(ROUNDS)
        before = self._memory()
        self._rounds(ROUNDS)
        self.counts["kB grown"] = (self._memory() - before) >> 10
        if self._memory() - before > GROWTH:
            self.violations.append(f"the loop has grown by {self._memory() - before:,} bytes in {ROUNDS} rounds")
        for _ in range(20):  # there may be a round between two looks
            got, wanted = self._metrics()
            if got == wanted:
                break
        else:
            self.violations.append(f"/metrics: {got}, and not {wanted}")
        if json.loads(self._answer("/readyz"))["ready"] is not True:
            self.violations.append(f"it is not ready: {self._answer('/readyz')}")

    def _metrics(self) -> tuple[dict[str, float], dict[str, float]]:
        """What the loop says in numbers, and what its log, the state and the end of it all say."""
        rounds = self._told("round")
        text = self._answer("/metrics")
        samples = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
        done = Counter(line["action"] for line in self._told("action", outcome="done"))
        statuses = Counter(r["status"] for r in self._state()["jobs"].values())
        wanted: dict[str, float] = {
            "leader": 1,
            "unknown_submissions": 0,
            "unobserved_jobs": 0,
            "held_back_jobs": 0,
            "spec_errors": 0,
            "plan_pending": 0,
            "plan_refused": 0,
            **{f'rounds_total{{result="{r}"}}': n for r, n in Counter(line["result"] for line in rounds).items()},
            **{f'actions_total{{action="{action}",outcome="done"}}': done[action] for action in ("create", "replace")},
            **{f'jobs{{status="{status}"}}': statuses[status] for status in ("PENDING", "COMPLETED", "CANCELLED")},
        }
        return {name: float(samples[f"reconciler_{name}"]) for name in wanted}, wanted

    def _rounds(self, number: int) -> None:
        """Have so many more rounds."""
        assert self._loop is not None
        wanted = len(self._told("round")) + number
        while (now := len(self._told("round"))) < wanted:
            self._loop.send_signal(signal.SIGHUP)
            until(lambda: len(self._told("round")) > now)

    def _memory(self) -> int:
        """Bytes that the loop has in memory."""
        assert self._loop is not None
        pages = int(Path(f"/proc/{self._loop.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")


def _text(job: dict[str, Any]) -> str:
    return str(job["parameters"]["worker"]["config"]["text"])


def _free_port() -> int:
    """One that the system gives to no connection while the service is not there."""
    while True:
        port = random.randrange(10_240, 32_768)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


def main() -> int:
    """Run it, and say what became of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="reconciler-soak-") as folder:
        soak = Soak(Path(folder), options.seed)
        print(f"seed {options.seed}, {options.minutes:g} minutes", flush=True)
        soak.run(options.minutes * 60)
        print(soak.summary())
    return 1 if soak.violations else 0


if __name__ == "__main__":
    sys.exit(main())
