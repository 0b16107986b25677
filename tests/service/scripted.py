"""A worker that does what the job's config tells it: `{"steps": [[verb, argument…], …]}`."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

GREETING = json.loads(sys.stdin.readline())
OUTPUTS = Path(GREETING["output_dir"])


def say(line_type: str, **fields: Any) -> None:
    print(json.dumps({"type": line_type, **fields}), flush=True)


def note(path: str) -> None:
    """Add a line that says which attempt and index this is; small appends of several processes do not mix."""
    with Path(path).open("a") as file:
        file.write(f"{GREETING['job']['name']} {GREETING['attempt']} {GREETING['index']}\n")


def wait_for(path: str) -> None:
    while not Path(path).exists():
        time.sleep(0.005)


def each(gate: str = "") -> None:
    """Every scattered input: say that it is worked on, wait for its gate, put out a file, say that it is completed."""
    for item in GREETING["inputs"].get("data", []):
        say("input", input_id=item["id"], status="processing")
        if gate:
            wait_for(f"{gate}.{item['filename']}")
        name = f"{item['filename']}.{GREETING['attempt']}.txt"
        (OUTPUTS / name).write_text(Path(item["path"]).read_text().upper())
        say("output", port="out", path=name, file_type="text/plain", input_id=item["id"])
        say("input", input_id=item["id"], status="completed")


def progress(step: int) -> None:
    for item in GREETING["inputs"].get("data", []):
        say("progress", kind="inference", step=step, input_id=item["id"])


def fail_inputs(names: list[str]) -> None:
    for item in GREETING["inputs"].get("data", []):
        if item["filename"] in names:
            say("input", input_id=item["id"], status="failed", error_message=f"{item['filename']} is bad")


def checkpoint(name: str, step: int) -> None:
    (OUTPUTS / f"{name}.bin").write_text(f"weights of {name}")
    say("checkpoint", name=name, step=step, path=f"{name}.bin", metrics={"loss": 1 / step})


def stray(path: str) -> None:
    """Start a process that leaves the group and the session, and does not end by itself."""
    code = "import os, time; os.setsid(); time.sleep(600)"
    child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.DEVNULL)
    Path(path).write_text(str(child.pid))
    say("event", event_type="stray", payload={"pid": child.pid})


def child(path: str) -> None:
    """Start a process of the group, which does not end by itself; note the numbers of both."""
    started = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], stdin=subprocess.DEVNULL)
    with Path(path).open("a") as file:
        file.write(f"{os.getpid()}\n{started.pid}\n")


def leave(status: int, until_attempt: int = 1 << 30) -> None:
    if GREETING["attempt"] < until_attempt:
        os._exit(status)


VERBS: dict[str, Callable[..., Any]] = {
    "say": lambda line: say(**{"line_type": line.pop("type"), **line}),
    "echo": lambda: say("event", event_type="greeting", payload=GREETING),
    "note": note,
    "wait": wait_for,
    "each": each,
    "fail": fail_inputs,
    "progress": progress,
    "checkpoint": checkpoint,
    "stray": stray,
    "child": child,
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "exit": leave,
    "sleep": time.sleep,
    "stop": lambda: os.kill(os.getpid(), signal.SIGSTOP),
    "spin": lambda: [None for _ in iter(int, 1)],
    "allocate": lambda megabytes: print(len(bytearray(megabytes << 20)), file=sys.stderr),
    "write": lambda megabytes: Path("large").write_bytes(bytes(megabytes << 20)),
}

for verb, *arguments in GREETING["config"].get("steps", []):
    VERBS[verb](*arguments)
