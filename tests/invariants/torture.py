"""Ten thousand kills: `make torture`, or `python torture.py --kills 10000 --seed 1`.

Each trial is a random change of random specs, applied by a process that is killed at a random point, on a random kind
of platform (with and without idempotency keys, its list 0 to 3 seconds behind, with faults), often killed again while
it recovers, and then applied once more in peace. The last line says what became of it all; anything but zeros fails.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from harness import scratch, start_platform
from test_machine import FAULTS, NAMES
from trial import Control, Trial


def random_specs(dice: random.Random) -> dict[str, int]:
    return {name: dice.randint(1, 2) for name in NAMES if dice.random() < 0.75}


def one_trial(trial: Trial, dice: random.Random) -> tuple[int, str | None]:
    """A trial; how many kills there were, and what was broken, if anything."""
    faults = {str(dice.randint(1, 14)): dice.choice(FAULTS) for _ in range(dice.choice([0, 0, 1, 2]))}
    platform = {
        "honours": dice.random() < 0.5,
        "lag": dice.choice([0.0, dice.uniform(0, 3)]),
        "rows_with_parameters": dice.random() < 0.7,
        "skew": dice.choice([0.0, 0.0, 3600.0, -3600.0]),
    }
    trial.control.setup(**platform)
    if dice.random() < 0.8:  # else the killed run is the first of all
        trial.write(random_specs(dice))
        trial.run()
    trial.write(random_specs(dice))
    trial.control.setup(faults=faults)
    kills = int(trial.run(kill_at=dice.randint(1, 70))[0] == -9)
    while dice.random() < 0.3:
        kills += trial.run(kill_at=dice.randint(1, 40))[0] == -9
    trial.control.setup(faults={})
    code = trial.recover()
    verdict = trial.judge()
    if code == 0 and verdict.kept:
        return kills, None
    return kills, f"exit code {code}, {verdict}, {platform}, faults {faults}"


def work(seed: int, kills_wanted: int) -> None:
    """Trials until there were enough kills; a line of JSON for each on stdout."""
    dice = random.Random(seed)
    with tempfile.TemporaryDirectory(dir=scratch()) as folder:
        process, port = start_platform(Path(folder))
        kills = number = 0
        while kills < kills_wanted:
            number += 1
            trial = Trial(Path(folder) / str(number), Control(port, f"{seed}-{number}"))
            before = dice.getstate()
            killed, broken = one_trial(trial, dice)
            kills += killed
            verdict = trial.judge()
            line = {
                "kills": killed,
                "wanted": verdict.wanted,
                "created": verdict.created,
                "lost": len(verdict.lost),
                "duplicated": len(verdict.duplicated),
                "unreadable": int(verdict.unreadable is not None),
                "stuck": int(broken is not None and verdict.kept),
            }
            print(json.dumps({**line, "broken": broken, "trial": number if broken else None}), flush=True)
            assert before != dice.getstate()
            trial.close()
        process.kill()


def main() -> int:
    """Share the kills out over the cores, add up, and say it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.worker:
        work(options.seed, options.kills)
        return 0
    cores = os.cpu_count() or 1
    print(f"seed {options.seed}, {options.kills:,} kills on {cores} cores", flush=True)
    command = [sys.executable, __file__, "--worker", "--kills", str(-(-options.kills // cores))]
    workers = [
        subprocess.Popen([*command, "--seed", str(options.seed * 1000 + i)], stdout=subprocess.PIPE, text=True)
        for i in range(cores)
    ]
    total = add_up(workers)
    print(
        "kills {kills:,}  jobs wanted {wanted:,}  jobs created {created:,}  "
        "lost {lost}  duplicated {duplicated}  states unreadable {unreadable}  stuck {stuck}".format_map(total)
    )
    broken = total["lost"] + total["duplicated"] + total["unreadable"] + total["stuck"]
    return 1 if broken or any(w.returncode for w in workers) or total["kills"] < options.kills else 0


def add_up(workers: list[subprocess.Popen[str]]) -> Counter[str]:
    """Read what the workers say until they are done, with a sign of life now and then."""
    keys = ("kills", "wanted", "created", "lost", "duplicated", "unreadable", "stuck")
    total: Counter[str] = Counter(dict.fromkeys(keys, 0))
    said, began = 0, time.monotonic()
    open_workers = list(workers)
    while open_workers:
        for worker in list(open_workers):
            assert worker.stdout is not None
            line = worker.stdout.readline()
            if not line:
                worker.wait()
                open_workers.remove(worker)
                continue
            result = json.loads(line)
            total.update({k: result[k] for k in keys})
            if result["broken"]:
                print(f"broken: {result['broken']}", flush=True)
        if total["kills"] >= said + 500:
            said = total["kills"]
            print(f"{said:,} kills after {time.monotonic() - began:.0f} s", flush=True)
    return total


if __name__ == "__main__":
    sys.exit(main())
