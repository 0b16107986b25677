"""What requests to the service cost: `make bench-service`. README.md says how it is measured."""

from __future__ import annotations

import argparse
import json
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from reconciler.service.clock import system_clock
from reconciler.service.database import DEFAULT_ORGANISATION, Database
from reconciler.service.folder import DataFolder
from reconciler.service.store import NewJob, Store
from reconciler.service.wire import CreateJob

SIZES = (10, 1_000, 10_000, 100_000)
REQUESTS = {"create": 40, "get": 160, "list": 80}  # in a row, or by 16 at once, in each round
PIPELINE = {
    "pipeline_key": "sleeps",
    "pipeline_version": "1.0.0",
    "pipeline_type": "batch",
    "name": "Takes a slot and keeps it",
    "components": {"worker": {"command": ["sleep", "86400"]}},
    "user_config_schema": {"type": "object"},
    "inputs": {"data": {"name": "Data"}},
    "outputs": {},
}
SERVE = """
import sys
from pathlib import Path
from reconciler.service.server import serve
serve(host="127.0.0.1", port=0, data=Path(sys.argv[1]), capacity=1, key=None, pipelines=Path(sys.argv[2]),
      announce=lambda line: print(line, flush=True))
"""
BARE = """
import json, socket, sys
import uvicorn
from fastapi import FastAPI
answers = json.load(sys.stdin)
app = FastAPI()
@app.post("/v0.5/batch/jobs", status_code=201)
def create(body: dict) -> dict:
    return answers["create"]
@app.get("/v0.5/batch/jobs")
def page(limit: int) -> dict:
    return answers["list"]
@app.get("/v0.5/batch/jobs/{job_id}")
def get(job_id: str) -> dict:
    return answers["get"]
listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
print(f"http://127.0.0.1:{listener.getsockname()[1]}/v0.5", flush=True)
config = uvicorn.Config(app, log_config=None, access_log=False, lifespan="off")
uvicorn.Server(config).run(sockets=[listener])
"""


class Connection:
    """A kept-alive connection that costs next to nothing itself, so that the server is what is measured."""

    def __init__(self, port: int, key: str) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._head = f"Host: 127.0.0.1\r\nAuthorization: Bearer {key}\r\n"

    def ask(self, method: str, path: str, body: bytes = b"") -> bytes:
        """The body of the answer, whose status must be one of success."""
        kind = f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n" if body else ""
        self._socket.sendall(f"{method} /v0.5{path} HTTP/1.1\r\n{self._head}{kind}\r\n".encode() + body)
        got = b""
        while b"\r\n\r\n" not in got:
            got += self._more()
        head, _, rest = got.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 2"), got
        length = next(int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        while len(rest) < length:
            rest += self._more()
        return rest

    def _more(self) -> bytes:
        chunk = self._socket.recv(1 << 18)
        assert chunk, "the server has closed the connection"
        return chunk

    def close(self) -> None:
        self._socket.close()


@dataclass
class Target:
    """A server to measure; `job_id` is one that waits in its queue."""

    name: str
    port: int
    key: str = ""
    job_id: str = "job_1"

    @contextmanager
    def connected(self, number: int) -> Iterator[list[Connection]]:
        """New connections: the servers close those that are idle for a few seconds."""
        connections = [Connection(self.port, self.key) for _ in range(number)]
        try:
            yield connections
        finally:
            for connection in connections:
                connection.close()

    def forget(self, made: Sequence[bytes]) -> None:
        """Remove the jobs again, so that the queue stays as long as it was."""
        with self.connected(1) as (connection,):
            for answer in made:
                job_id = json.loads(answer)["id"]
                connection.ask("POST", f"/batch/jobs/{job_id}/cancel")
                connection.ask("DELETE", f"/batch/jobs/{job_id}")

    def call(self, operation: str) -> Callable[[Connection], bytes]:
        body = json.dumps(new_job("measured")).encode()
        match operation:
            case "create":
                return lambda connection: connection.ask("POST", "/batch/jobs", body)
            case "get":
                return lambda connection: connection.ask("GET", f"/batch/jobs/{self.job_id}")
            case _:
                return lambda connection: connection.ask("GET", "/batch/jobs?limit=10")


def new_job(name: str) -> dict[str, Any]:
    return {
        "name": name,
        "pipeline_type": "batch",
        "pipeline_key": "sleeps",
        "inputs": {"data": [{"file_id": "input.txt"}]},
    }


@contextmanager
def process(command: Sequence[str], given: str, last_line: str) -> Iterator[list[str]]:
    """A server process, and what it said until the line that begins so. Stopped at the end."""
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as started:
        assert started.stdin is not None
        assert started.stdout is not None
        started.stdin.write(given)
        started.stdin.close()
        said: list[str] = []
        while not said or not said[-1].startswith(last_line):
            line = started.stdout.readline()
            assert line, said
            said.append(line.rstrip("\n"))
        try:
            yield said
        finally:
            started.send_signal(signal.SIGTERM)


def fill(data: Path, number: int) -> str:
    """Queue jobs until there are so many, without HTTP; the id of one in the middle."""
    database = Database(DataFolder(data).database)
    with database.write() as tx:  # what is made here need not survive a power cut
        tx.execute("COMMIT")
        tx.execute("PRAGMA synchronous = OFF")
        tx.execute("BEGIN")
    store = Store(database, system_clock)
    org = database.organisation(DEFAULT_ORGANISATION)
    parameters = {"worker": {"parallelism": 1, "config": {}}}
    ids = []
    for each in range(number):
        body = CreateJob.model_validate(new_job(f"job {each}"))
        view, _ = store.create(NewJob(org, body, "1.0.0", parameters, frozenset({"data"})), None)
        ids.append(view.job.id)
    database.close()
    return ids[number // 2]


@contextmanager
def service(folder: Path, queued: int) -> Iterator[Target]:
    """A service whose only slot is taken, with so many jobs in the queue."""
    data = folder / str(queued)
    command = [sys.executable, "-c", SERVE, str(data), str(folder / "pipelines")]
    with process(command, "", "Stop with") as said:
        url = said[1].partition("=")[2]
        target = Target(f"{queued:,}", _port(url), (data / "api-key").read_text().strip())
        _upload(target)
        with target.connected(1) as (connection,):
            blocker = json.loads(connection.ask("POST", "/batch/jobs", json.dumps(new_job("blocker")).encode()))["id"]
            while json.loads(connection.ask("GET", f"/batch/jobs/{blocker}"))["status"] != "RUNNING":
                time.sleep(0.05)
        target.job_id = fill(data, queued)
        yield target


def _port(url: str) -> int:
    return int(url.split(":")[2].partition("/")[0])


def _upload(target: Target) -> None:
    part = (
        b'--x\r\nContent-Disposition: form-data; name="file"; filename="input.txt"\r\nContent-Type: text/plain\r\n\r\n'
    )
    body = part + b"one line\n\r\n--x--\r\n"
    with socket.create_connection(("127.0.0.1", target.port)) as connection:
        head = f"POST /v0.5/files HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {target.key}\r\nConnection: close\r\n"
        head += f"Content-Type: multipart/form-data; boundary=x\r\nContent-Length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body)
        assert b" 200 " in connection.recv(1 << 16).partition(b"\r\n")[0]


def measure(target: Target, operation: str, at_once: int) -> tuple[float, list[float]]:
    """Requests a second, and how long each took."""
    call = target.call(operation)
    each = max(1, REQUESTS[operation] // at_once)

    def row(connection: Connection) -> list[tuple[float, bytes]]:
        taken = []
        for _ in range(each):
            began = time.perf_counter()
            answer = call(connection)
            taken.append((time.perf_counter() - began, answer))
        return taken

    with target.connected(at_once) as connections, ThreadPoolExecutor(at_once) as pool:
        began = time.perf_counter()
        rows = [one for taken in pool.map(row, connections) for one in taken]
        rate = len(rows) / (time.perf_counter() - began)
    if operation == "create" and target.key:
        target.forget([answer for _, answer in rows])
    return rate, [seconds for seconds, _ in rows]


@dataclass(frozen=True, slots=True)
class Found:
    """Requests a second and seconds a request, over the rounds; by operation, how many at once, and server."""

    rates: dict[tuple[str, int, str], list[float]]
    latencies: dict[tuple[str, int, str], list[float]]

    def to_bare(self, operation: str, at_once: int, name: str) -> float:
        """How many times slower than the bare framework."""
        return _ratio(self.rates[operation, at_once, "bare"], self.rates[operation, at_once, name])

    def to_shortest(self, operation: str, at_once: int, name: str) -> float:
        """What is left of the speed with the shortest queue."""
        return _ratio(self.rates[operation, at_once, name], self.rates[operation, at_once, f"{SIZES[0]:,}"])


def found(folder: Path, sizes: Sequence[int], rounds: int) -> Found:
    """Measure services with queues of `sizes`, and the bare framework, all in turn, round by round."""
    result = Found({}, {})
    with ExitStack() as stack:
        home = Path(folder, "pipelines", "sleeps")
        home.mkdir(parents=True)
        (home / "pipeline.yaml").write_text(yaml.safe_dump(PIPELINE))
        targets = [stack.enter_context(service(Path(folder), size)) for size in sizes]
        with targets[0].connected(1) as (connection,):
            answers = {name: json.loads(targets[0].call(name)(connection)) for name in REQUESTS}
        targets[0].forget([json.dumps(answers["create"]).encode()])
        said = stack.enter_context(process([sys.executable, "-c", BARE], json.dumps(answers), "http"))
        targets.insert(0, Target("bare", _port(said[0])))
        for number in range(rounds + 1):  # the first warms up
            for operation in REQUESTS:
                for at_once in (1, 16):
                    for target in targets:
                        rate, taken = measure(target, operation, at_once)
                        if number:
                            key = operation, at_once, target.name
                            result.rates.setdefault(key, []).append(rate)
                            result.latencies.setdefault(key, []).extend(taken)
    return result


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--folder", type=Path, help="where the data lies while it runs; default: the folder for such")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        report(found(Path(folder), SIZES, options.rounds))
    return 0


def report(result: Found) -> None:
    """Print medians."""
    print("op      at once  queued     req/s   median ms   p99 ms   bare/this   this/queue of 10")
    for (operation, at_once, name), rates in result.rates.items():
        to_bare = result.to_bare(operation, at_once, name)
        to_ten = "" if name == "bare" else f"{result.to_shortest(operation, at_once, name):17.2f}"
        taken = sorted(result.latencies[operation, at_once, name])
        middle, late = statistics.median(taken) * 1000, taken[int(len(taken) * 0.99)] * 1000
        rate = statistics.median(rates)
        print(f"{operation:7} {at_once:7} {name:>8} {rate:9.0f} {middle:11.2f} {late:8.2f} {to_bare:11.2f}  {to_ten}")


def _ratio(one: Sequence[float], other: Sequence[float]) -> float:
    """The median over the rounds, each of which is compared with itself."""
    return statistics.median(a / b for a, b in zip(one, other, strict=True))


if __name__ == "__main__":
    sys.exit(main())
