"""The demo, unchanged, on a Slurm cluster of two nodes on this machine: `make demo-slurm`.

Starts the cluster and a service that submits to it, applies the specs, scores the results, and applies again. Exit
status 1 when anything is not as it should be.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from cluster import missing, started, wait_until

ROOT = Path(__file__).parents[2]
LEAST = 85.0  # percent that each job has to get right
KEY = "sk_demo_on_slurm_0123"


def run(command: list[str], environment: dict[str, str], *, show: bool = True) -> str:
    """Run the command as a user would type it, show it and what it says, and give what it says."""
    print(f"\n\033[1m$ {' '.join(command[2:] if command[1] == '-m' else command)}\033[0m", flush=True)
    done = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True, check=False)
    print(done.stdout if show or done.returncode else "", end="", flush=True)
    if done.returncode != 0:
        sys.exit(f"exit code {done.returncode}")
    return done.stdout


def demo(folder: Path, url: str, environment: dict[str, str]) -> None:
    environment = environment | {"RECONCILER_STATE": str(folder / "state.json")}
    reconciler = [sys.executable, "-m", "reconciler", "--endpoint", url]
    run([*reconciler, "apply", "--yes", "--wait", "--verbose"], environment)
    status = [*reconciler, "status", "--no-refresh", "--format", "json"]
    names = [job["name"] for job in json.loads(run(status, environment, show=False))["jobs"]]
    for name in names:
        run([*reconciler, "-q", "outputs", name, "--download", str(folder / "results" / name)], environment, show=False)
    table = run([sys.executable, "specs/score.py", str(folder / "results")], environment)
    scores = {row[0]: float(row[4]) for row in map(str.split, table.splitlines()[1:])}
    if scores.keys() != set(names) or min(scores.values()) < LEAST:
        sys.exit(f"the scores are not what they should be: {scores}")
    run([*reconciler, "plan", "--detailed-exitcode"], environment)  # 0: nothing is left to do


def main() -> None:
    if lacking := missing():
        sys.exit(f"not installed: {', '.join(lacking)}; apt-get install slurmctld slurmd slurm-client munge")
    with tempfile.TemporaryDirectory(prefix="demo-slurm-") as scratch, started(Path(scratch) / "cluster") as cluster:
        folder = Path(scratch)
        environment = os.environ | cluster.environment | {"ATAI_API_KEY": KEY}
        serve = [sys.executable, "-m", "reconciler", "serve", "--engine", "slurm", "--port", "0"]
        print(f"\033[1m$ {' '.join(serve[2:])}\033[0m", flush=True)
        command = [*serve, "--data", str(folder / "data")]
        with subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True) as service:
            try:
                assert service.stderr
                first = service.stderr.readline()
                print(first, end="", flush=True)
                demo(folder, first.split()[-1], environment)
                wait_until(lambda: "COMPLETING" not in cluster.ask("squeue", "-h", "-o", "%T"))
                print(f"\n\033[1m$ squeue --states=all\033[0m\n{cluster.ask('squeue', '--states=all')}")
                if set(cluster.ask("squeue", "-h", "--states=all", "-o", "%T").split()) != {"COMPLETED"}:
                    sys.exit("Slurm's record of the jobs is not what it should be")
            finally:
                service.send_signal(signal.SIGTERM)


if __name__ == "__main__":
    main()
