"""The performance suite: every bar, with what was found beside it.

make bench            all of it, some twenty minutes
make bench-quick      smaller, a few minutes
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import plans, results, serving, starting, talking
from benchmarks.measure import ROOT, Results
from benchmarks.plotting import svg
from reconciler.text import one_line

PARTS = ("start-up", "plan", "requests", "apply", "service")
TOOLS = ROOT / ".bench"
"""Where the peers are installed, once."""


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured."""

    plans: plans.Sizes
    talking: talking.Sizes
    queues: tuple[int, ...]
    rounds: int


SIZES = {
    "full": Size(
        plans.Sizes(10_000, 1_000, (1_000, 10_000, 100_000), 5),
        talking.Sizes(10_000, 1_000, 3, 100),
        (10, 1_000, 10_000, 100_000),
        7,
    ),
    "quick": Size(plans.Sizes(1_000, 1_000, (100, 300, 1_000), 3), talking.Sizes(1_000, 300, 1, 20), (10, 1_000), 3),
    "tiny": Size(plans.Sizes(20, 20, (5, 10, 20), 1), talking.Sizes(20, 20, 1, 2), (10, 20), 1),
}


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure, and print every bar with what was found beside it.")
    sizes = "default: full, twenty minutes and more; quick, a few; tiny, to see that all runs"
    parser.add_argument("--size", choices=SIZES, default="full", help=sizes)
    parser.add_argument("--only", choices=PARTS, action="append", help="one part; may be repeated  [default: all]")
    written = "a folder for results.md, results.json and the plots; without it nothing is written"
    parser.add_argument("--results", type=Path, help=written)
    parser.add_argument("--no-peers", action="store_true", help="install and compare nothing else")
    options = parser.parse_args()
    size, tools = SIZES[options.size], None if options.no_peers else TOOLS
    parts: dict[str, Results] = {}
    with tempfile.TemporaryDirectory(prefix="bench-") as temporary:
        home = Path(temporary)
        measures: dict[str, Sequence[Callable[[Results], None]]] = {
            "start-up": [lambda found: starting.measure(found, home, size.rounds)],
            "plan": [
                lambda found: plans.measure(found, home, size.plans),
                lambda found: plans.beside_check_jsonschema(found, home, tools, size.plans),
                lambda found: plans.beside_octodns(found, home, tools, size.plans),
            ],
            "requests": [lambda found: talking.requests(found, home, size.talking)],
            "apply": [
                lambda found: talking.submissions(found, home, size.talking),
                lambda found: talking.beside_ansible(found, home, tools, size.talking),
            ],
            "service": [lambda found: serving.measure(found, home, size.queues, size.rounds)],
        }
        for name in options.only or PARTS:
            parts[name] = Results()
            for measure in measures[name]:
                try:
                    measure(parts[name])
                except RuntimeError as error:  # one that fails, a peer say, takes no other figures with it
                    parts[name].skipped.append(one_line(str(error), 300))
            print(results.text(parts[name]), flush=True)
            if options.results:
                _write(parts[name], name, options.results, f"Measured by `python -m benchmarks --size {options.size}`")


def _write(found: Results, name: str, folder: Path, how: str) -> None:
    """Write what one part found; what other parts found in other runs stays."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "results.json"
    before = results.from_json(file.read_text()) if file.exists() else {}
    parts = {part: found if part == name else before[part] for part in PARTS if part == name or part in before}
    file.write_text(results.as_json(parts, how))
    (folder / "results.md").write_text(results.markdown(parts, how))
    for plot in found.plots:
        (folder / f"{plot.name}.svg").write_text(svg(plot))


if __name__ == "__main__":
    main()
