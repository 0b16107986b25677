"""Three runners in clones of their own apply the same commit at once, again and again, on every kind of shared state:
`make torture-shared`, or `python torture_shared.py --rounds 300 --seed 1`.

Each runner may be killed at a random point, or stopped there for longer than its lease and woken up again; the platform
honours tokens or not, and its list lags behind. Afterwards there must be one job for each spec, and the record has it.
The last line says what became of it all; anything broken fails.
"""

from __future__ import annotations

import argparse
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from multiprocessing.process import BaseProcess
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from harness import scratch, start_platform
from shared import KINDS, LEASE, Places, SharedTrial, Striker, is_stopped, new_trial, places, verdict, wake

RUNNERS = 3
NAMES = "abcde"


def random_specs(dice: random.Random) -> dict[str, int]:
    return {name: dice.randint(1, 2) for name in NAMES if dice.random() < 0.75}


def strike(dice: random.Random) -> Striker:
    """What happens to a runner: nothing, a kill, or a stop."""
    kind = dice.choice([None, signal.SIGKILL, signal.SIGKILL, signal.SIGSTOP])
    at = dice.randint(1, 90) if kind else 0
    return Striker(at, kind or signal.SIGKILL)


def together(trial: SharedTrial, dice: random.Random, meanwhile: Callable[[], None] = lambda: None) -> Counter[str]:
    """All runners at once, until each has ended; `meanwhile` is called all the time. How often they were struck."""
    count: Counter[str] = Counter()
    running = [trial.start(n, strike(dice)) for n in range(RUNNERS)]
    stopped: dict[BaseProcess, float] = {}
    while running:
        meanwhile()
        for runner in list(running):
            if not runner.is_alive():
                running.remove(runner)
                count["kills"] += trial.finish(runner) == -signal.SIGKILL
            elif runner not in stopped and is_stopped(runner):
                count["stops"] += 1
                stopped[runner] = time.monotonic() + dice.uniform(0.5, 3) * LEASE
        for runner in [runner for runner, until in stopped.items() if time.monotonic() > until]:
            del stopped[runner]
            wake(runner)
        time.sleep(0.01)
    return count


def one_round(servers: Places, dice: random.Random, number: str, port: int) -> tuple[Counter[str], str | None]:
    """A round: its count, and what was broken, if anything."""
    kind = dice.choice(KINDS)
    platform = {"honours": dice.random() < 0.5, "lag": dice.choice([0.0, dice.uniform(0, 3)])}
    trial = new_trial(servers.folder, number, port, servers.new(kind), RUNNERS, **platform)
    count: Counter[str] = Counter({f"on {kind}": 1})
    for _ in range(2):
        trial.write(random_specs(dice))
        count += together(trial, dice)
    broken = verdict(trial)
    judged = trial.judge()
    count.update({"rounds": 1, "wanted": judged.wanted, "created": judged.created, "withdrawn": trial.withdrawn})
    trial.close()
    return count, f"{kind}, {platform}: {broken}" if broken else None


def torture(rounds: int, seed: int) -> int:
    """Rounds, with a sign of life now and then; how many were broken."""
    dice, total, broken = random.Random(seed), Counter[str](), 0
    with tempfile.TemporaryDirectory(dir=scratch()) as name, places(Path(name)) as servers:
        process, port = start_platform(Path(name))
        try:
            for number in range(rounds):
                count, what = one_round(servers, dice, f"{seed}-{number}", port)
                total += count
                if what:
                    broken += 1
                    print(f"broken: round {number}: {what}", flush=True)
                if number % 20 == 19:
                    print(f"{number + 1} rounds: {dict(total)}", flush=True)
        finally:
            process.kill()
            process.wait()
    kinds = ", ".join(f"{total[f'on {kind}']} on {kind}" for kind in KINDS)
    counted = "  ".join(
        f"{word} {total[word]:,}" for word in ("rounds", "kills", "stops", "wanted", "created", "withdrawn")
    )
    print(f"seed {seed}: {counted}  broken {broken}  ({kinds})", flush=True)
    return broken


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=300)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    options = parser.parse_args()
    return 1 if torture(options.rounds, options.seed) else 0


if __name__ == "__main__":
    sys.exit(main())
