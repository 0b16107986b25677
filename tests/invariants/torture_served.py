"""Three runners in clones of their own apply the same commit at once to a real service, over HTTP, with a state in git:
`make torture-served`, or `python torture_served.py --rounds 20 --seed 1 --engine slurm`.

The runners are killed and stopped as by `torture_shared.py`, and the service is killed and started again meanwhile, and
while the jobs work. Afterwards there must be one job for each spec, in the record and at the service, which has come to
its end once. The last line says what became of it all; anything broken fails.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
sys.path.insert(0, str(Path(__file__).parents[1] / "service"))

from cluster import started
from served import Service, new_served_trial
from shared import verdict
from shared_places import in_git
from torture_shared import RUNNERS, random_specs, together


def one_round(folder: Path, dice: random.Random, service: Service) -> tuple[Counter[str], str | None]:
    """A round: its count, and what was broken, if anything."""
    trial = new_served_trial(folder, in_git(folder, "state"), RUNNERS, service)
    count: Counter[str] = Counter()
    try:
        for _ in range(2):
            trial.write(random_specs(dice))
            count += together(trial, dice, lambda: service.disturb(dice))
            service.revive()
        broken = verdict(trial)
        judged = trial.judge()
        broken = broken or trial.bring_to_an_end(dice)
    finally:
        service.stop(signal.SIGKILL)
    counts = {"rounds": 1, "kills of the service": service.kills, "wanted": judged.wanted, "created": judged.created}
    count.update({**counts, "withdrawn": trial.withdrawn})
    return count, broken


@contextlib.contextmanager
def engine(name: str, folder: Path) -> Iterator[Callable[[Path], Service]]:
    """What makes services whose jobs run there."""
    if name == "local":
        yield Service
        return
    with started(folder / "cluster", cpus=4) as cluster:
        options = ("--engine", "slurm", "--slurm-partition", "low", "--slurm-lease", "4")
        yield lambda folder: Service(folder, options, cluster.environment)


def torture(rounds: int, seed: int, where: str = "local") -> int:
    """Rounds, each with a new service; how many were broken."""
    dice, total, broken = random.Random(seed), Counter[str](), 0
    with tempfile.TemporaryDirectory() as name, engine(where, Path(name)) as made:
        for number in range(rounds):
            folder = Path(name) / str(number)
            folder.mkdir()
            count, what = one_round(folder, dice, made(folder))
            total += count
            if what:
                broken += 1
                print(f"broken: round {number}: {what}", flush=True)
    counted = "  ".join(f"{word} {number:,}" for word, number in sorted(total.items()))
    print(f"seed {seed}, engine {where}: {counted}  broken {broken}", flush=True)
    return broken


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--engine", choices=["local", "slurm"], default="local", help="where the jobs run")
    options = parser.parse_args()
    return 1 if torture(options.rounds, options.seed, options.engine) else 0


if __name__ == "__main__":
    sys.exit(main())
