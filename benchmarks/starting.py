"""What it costs to begin: help, version, completion, and a plan over five specs, beside a Python that does nothing."""

from __future__ import annotations

import shutil
from pathlib import Path

from benchmarks import fleet
from benchmarks.measure import BARE, RECONCILER, Bar, Command, Results, interleaved, told


def measure(results: Results, home: Path, rounds: int) -> None:
    """The bars about start-up."""
    told("start-up")
    folder = home / "five"
    fleet.write(folder, 5, "completed")
    program = shutil.which("reconciler", path=str(Path(RECONCILER[0]).parent)) or ""
    ours = (program,) if program else RECONCILER
    completing = {"_RECONCILER_COMPLETE": "bash_complete", "COMP_WORDS": "reconciler pl", "COMP_CWORD": "1"}
    commands = {
        "bare": Command(BARE, folder),
        "--help": Command((*ours, "--help"), folder),
        "--version": Command((*ours, "--version"), folder),
        "completion": Command(ours, folder, completing),
        "plan": Command((*ours, "plan"), folder, {"XDG_CACHE_HOME": str(folder / "cache")}),
    }
    found = interleaved(commands, rounds)
    for name in ("--help", "--version", "completion"):
        results.bars.append(Bar("start-up", name, "× bare Python", found.ratio(name, "bare"), 3))
    own = found.beyond("plan", "bare") * 1000
    results.bars.append(Bar("start-up", "a plan over five specs, beyond bare Python", "ms", own, 250))
    results.row("bare Python", f"{found.seconds('bare') * 1000:.0f} ms", "python -c pass")
    shutil.rmtree(folder)
