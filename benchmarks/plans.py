"""What a plan and a validation cost, beside the floor and beside peers; and how that grows."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks import fleet, peers
from benchmarks.measure import RECONCILER, Bar, Command, Plot, Results, Rounds, Series, interleaved, run, told

_WARM = "start-up takes 1.3 × the floor, the files themselves 0.8, the state (four times as large) 0.7, the decisions 1"
_VALIDATE = "half of it is start-up: Python, click, pydantic, the readers of YAML and of schemas"
_LINEAR = 1.25
"""What one more spec may cost in the upper decade, as a multiple of what it costs in the lower one."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """How many specs the bars are about; how many there are for the check whether it is linear; rounds."""

    plan: int
    validate: int
    growth: tuple[int, ...]
    rounds: int


def forget_cache(folder: Path) -> None:
    """Take away all that a run may have kept for the next one, but for the state."""
    shutil.rmtree(folder / "cache", ignore_errors=True)
    for path in (folder / ".reconciler").iterdir():
        if path.is_dir():
            shutil.rmtree(path)
        elif not path.name.startswith("state."):
            path.unlink()


def commands(folder: Path, number: int) -> dict[str, Command]:
    """The floor, and a plan over the fleet in `folder` with a warm and with a cold cache, and with one changed spec."""
    environ = {"XDG_CACHE_HOME": str(folder / "cache")}
    changed, spec = fleet.changed_one(folder, number)
    as_it_was = spec.read_text()

    def set_text(text: str) -> None:
        if spec.read_text() != text:
            spec.write_text(text)

    def cold() -> None:
        set_text(as_it_was)
        forget_cache(folder)

    plan = (*RECONCILER, "plan", "--max-submissions", "none")
    return {
        "floor": Command((sys.executable, str(Path(fleet.__file__).with_name("floor.py")), str(folder / "specs"))),
        "cold": Command(plan, folder, environ, cold),
        "warm": Command(plan, folder, environ),
        "changed": Command(plan, folder, environ, lambda: set_text(changed)),
        "as it was": Command(plan, folder, environ, lambda: set_text(as_it_was)),
    }


def _written(folder: Path, number: int) -> None:
    """A fleet whose jobs have ended, made by a process of its own: the most memory of a process begins with what the
    one had that started it.
    """
    command = (sys.executable, "-m", "benchmarks.fleet", str(folder), "--number", str(number))
    run(Command((*command, "--recorded", "completed")))


def measure(results: Results, home: Path, sizes: Sizes) -> None:
    """The bars about plans."""
    _plans(results, home, sizes)
    _growth(results, home, sizes)


def _plans(results: Results, home: Path, sizes: Sizes) -> None:
    number = sizes.plan
    told(f"plans over {number:,} specs")
    folder = home / f"fleet-{number}"
    _written(folder, number)
    rounds = interleaved(commands(folder, number), sizes.rounds)
    warm, cold = rounds.ratio("warm", "floor"), rounds.ratio("cold", "floor")
    of = f"{number:,} specs"
    results.bars += [
        Bar("plan", f"a plan without changes over {of}, parse cache warm", "× the floor", warm, 3, why=_WARM),
        Bar("plan", "the same, parse cache cold", "× the floor", cold, 25),
        Bar("plan", "one changed spec among them", "× the plan without changes", rounds.ratio("changed", "warm"), 1.1),
        Bar("plan", f"most memory of a plan over {of}", "MB", rounds.megabytes("cold"), 300),
    ]
    results.row(f"floor: walk, read, hash {of}", f"{rounds.seconds('floor'):.2f} s", "with the start of Python")
    for name in ("warm", "cold", "changed"):
        results.row(f"plan over {of}, {name}", f"{rounds.seconds(name):.2f} s", "")
    shutil.rmtree(folder)


def _growth(results: Results, home: Path, sizes: Sizes) -> None:
    found: dict[int, Rounds] = {}
    for number in sizes.growth:
        told(f"a plan over {number:,} specs")
        folder = home / f"growth-{number}"
        _written(folder, number)
        every = commands(folder, number)
        few = {name: every[name] for name in ("floor", "cold", "warm")}
        found[number] = interleaved(few, 1 if number > 10_000 else min(3, sizes.rounds), warm_up=number <= 10_000)
        shutil.rmtree(folder)
    if sizes.growth[-1] >= 10_000:  # of fewer specs the start of the program says more than they do
        _linear(results, sizes, found)
    lines = [
        Series(said, [(n, r.seconds(name)) for n, r in found.items()])
        for name, said in (("cold", "plan, cold"), ("warm", "plan, warm"), ("floor", "floor: read and hash"))
    ]
    results.plots.append(Plot("plan", "A plan without changes", "specs", "seconds", lines))


def _linear(results: Results, sizes: Sizes, found: Mapping[int, Rounds]) -> None:
    a, b, c = sizes.growth
    seconds = {number: rounds.seconds("cold") for number, rounds in found.items()}
    megabytes = {number: rounds.megabytes("cold") for number, rounds in found.items()}
    for title, value in (("time", seconds), ("memory", megabytes)):
        slope = ((value[c] - value[b]) / (c - b)) / ((value[b] - value[a]) / (b - a))
        what = f"{title} of one more spec, {b:,} to {c:,}"
        results.bars.append(Bar("plan", what, f"× that of one more, {a:,} to {b:,}", slope, _LINEAR))


def beside_check_jsonschema(results: Results, home: Path, tools: Path | None, sizes: Sizes) -> None:
    """The bar about validation."""
    number = sizes.validate
    peer = peers.installed("check-jsonschema", tools)
    if peer is None:
        results.skipped.append("check-jsonschema could not be installed: `validate` was not compared")
        return
    told(f"validate {number:,} specs, beside {peer.name}")
    folder = home / "validate"
    fleet.write(folder, number)
    (folder / ".reconciler").mkdir()
    ours = Command(
        (*RECONCILER, "validate"), folder, {"XDG_CACHE_HOME": str(folder / "cache")}, lambda: forget_cache(folder)
    )
    rounds = interleaved({"ours": ours, "peer": peers.check_jsonschema(peer, folder)}, max(3, sizes.rounds // 2))
    what = f"validate {number:,} specs, cache cold"
    results.bars.append(Bar("plan", what, f"× {peer.name}", rounds.ratio("ours", "peer"), 0.1, why=_VALIDATE))
    results.row(f"{peer.name}, {number:,} specs", f"{rounds.seconds('peer'):.2f} s", "the schema of specs alone")
    results.row(f"validate {number:,} specs", f"{rounds.seconds('ours'):.2f} s", "with ports, parameters and names")
    shutil.rmtree(folder)


def beside_octodns(results: Results, home: Path, tools: Path | None, sizes: Sizes) -> None:
    """A plan of another tool over as many things."""
    number = sizes.validate
    peer = peers.installed("octodns", tools)
    if peer is None:
        results.skipped.append("octoDNS could not be installed: a plan was not compared with it")
        return
    told(f"a plan over {number:,} specs, beside {peer.name} over as many records")
    folder = home / "beside-octodns"
    fleet.write(folder, number, "completed")
    ours = commands(folder, number)["cold"]
    theirs = peers.octodns(peer, home / "octodns", number)
    rounds = interleaved({"ours": ours, "peer": theirs}, max(3, sizes.rounds // 2))
    ratio = rounds.ratio("peer", "ours")
    results.row(
        f"{peer.name}, plan over {number:,} records", f"{ratio:.1f} × our cold plan", "records of about 200 bytes"
    )
    shutil.rmtree(folder)
