"""The worker of the jobs of `served.py`: notes that it began, waits for the gate, and notes when it has said `done`.

served_worker.py NOTES GATE
"""

import json
import sys
import time
from pathlib import Path


def main() -> None:
    notes, gate = map(Path, sys.argv[1:])
    greeting = json.loads(sys.stdin.readline())
    note(notes, "begun", greeting)
    while not gate.exists():
        time.sleep(0.02)
    for item in greeting["inputs"]["data"]:
        name = f"{greeting['attempt']}.txt"
        Path(greeting["output_dir"], name).write_text("made\n")
        say(type="output", port="out", path=name, file_type="text/plain", input_id=item["id"])
        say(type="input", input_id=item["id"], status="completed")
    say(type="done")
    note(notes, "ended", greeting)


def say(**line: object) -> None:
    print(json.dumps(line), flush=True)


def note(notes: Path, what: str, greeting: dict[str, dict[str, str]]) -> None:
    """Small appends of several processes do not mix."""
    with notes.open("a") as file:
        file.write(f"{what} {greeting['job']['id']} {greeting['attempt']}\n")


main()
