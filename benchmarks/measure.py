"""Commands as processes, measured in turn: what they took, what memory they had, and ratios within a round."""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

ROOT = Path(__file__).parents[1]
RECONCILER = (sys.executable, "-m", "reconciler")
BARE = (sys.executable, "-c", "pass")


@dataclass(frozen=True, slots=True)
class Command:
    """What is run, where. `before`: what is done before each run, outside of the measured time."""

    argv: Sequence[str]
    folder: Path = ROOT
    environ: Mapping[str, str] = field(default_factory=dict)
    before: Callable[[], Any] = lambda: None


@dataclass(frozen=True, slots=True)
class Run:
    """Wall-clock seconds, and the most memory that the process had, in MB."""

    seconds: float
    megabytes: float


def run(command: Command) -> Run:
    """Run a command once. Raises RuntimeError with what it said when it fails."""
    command.before()
    environ = {"PATH": os.environ["PATH"], "HOME": str(command.folder), "LANG": "C.UTF-8", "PYTHONPATH": str(ROOT)}
    began = time.perf_counter()
    process = subprocess.Popen(
        command.argv,
        cwd=command.folder,
        env={**environ, **command.environ},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    assert process.stderr is not None
    said = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - began
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode != 0:
        raise RuntimeError(f"{' '.join(command.argv)}: exit code {process.returncode}\n{said.decode()[-2000:]}")
    return Run(seconds, usage.ru_maxrss / (1 << 10 if sys.platform == "linux" else 1 << 20))


@dataclass(frozen=True, slots=True)
class Rounds:
    """What each command took in each round, by its name."""

    runs: Mapping[str, Sequence[Run]]

    def seconds(self, name: str) -> float:
        """The median."""
        return statistics.median(run.seconds for run in self.runs[name])

    def megabytes(self, name: str) -> float:
        """The median of the most memory."""
        return statistics.median(run.megabytes for run in self.runs[name])

    def ratio(self, name: str, other: str) -> float:
        """The median over the rounds of what `name` took, divided by what `other` took in the same round."""
        pairs = zip(self.runs[name], self.runs[other], strict=True)
        return statistics.median(a.seconds / b.seconds for a, b in pairs)

    def beyond(self, name: str, other: str) -> float:
        """The median over the rounds of the seconds that `name` took more than `other`."""
        return statistics.median(a.seconds - b.seconds for a, b in zip(self.runs[name], self.runs[other], strict=True))


def interleaved(commands: Mapping[str, Command], rounds: int, *, warm_up: bool = True) -> Rounds:
    """Run all in turn, round by round; the first round warms up and is thrown away."""
    runs: dict[str, list[Run]] = {name: [] for name in commands}
    for number in range(rounds + warm_up):
        for name, command in commands.items():
            taken = run(command)
            if number or not warm_up:
                runs[name].append(taken)
    return Rounds(runs)


@dataclass(frozen=True, slots=True)
class Bar:
    """A figure that is to be reached. `bound` is the worst that is enough; `fewer` says on which side; `why` it cannot
    be reached, where that is known.
    """

    part: Literal["plan", "requests", "apply", "start-up", "service"]
    what: str
    unit: str
    reached: float
    bound: float
    fewer: bool = True
    why: str = ""

    @property
    def is_reached(self) -> bool:
        return self.reached <= self.bound if self.fewer else self.reached >= self.bound


@dataclass(frozen=True, slots=True)
class Series:
    """One line of a plot: its points are (x, y)."""

    name: str
    points: Sequence[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Plot:
    """A plot with two logarithmic axes."""

    name: str
    title: str
    x: str
    y: str
    series: Sequence[Series]


@dataclass(slots=True)
class Results:
    """All that was found: bars, rows of further figures, plots, and what could not be measured, with the reason."""

    bars: list[Bar] = field(default_factory=list)
    rows: list[tuple[str, str, str]] = field(default_factory=list)
    """What, how much, and what it says."""
    plots: list[Plot] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)

    def row(self, what: str, figure: str, about: str = "") -> None:
        self.rows.append((what, figure, about))


@contextmanager
def process(command: Sequence[str], *, first_line: str = "http") -> Iterator[str]:
    """A server process, and the line that it said when it was ready. Stopped at the end."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as started:
        assert started.stdout is not None
        try:
            line = started.stdout.readline().strip()
            if not line.startswith(first_line):
                raise RuntimeError(f"{' '.join(command)} did not start: {line!r}")
            yield line
        finally:
            started.send_signal(signal.SIGTERM)


def told(what: str) -> None:
    """Progress, for whoever waits."""
    print(f"… {what}", file=sys.stderr, flush=True)
