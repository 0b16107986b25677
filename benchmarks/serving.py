"""The bars about the service, from what `service.py` measures."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path

from benchmarks import service
from benchmarks.measure import Bar, Plot, Results, Series, told

_FLAT = 0.9
"""What must be left of the speed with ten jobs in the queue."""


def measure(results: Results, home: Path, sizes: Sequence[int], rounds: int) -> None:
    """Create and get: beside the bare framework, and with short and long queues."""
    told(f"the service with {', '.join(f'{size:,}' for size in sizes)} jobs in the queue")
    folder = home / "service"
    folder.mkdir()
    found = service.found(folder, sizes, rounds)
    shortest, longest = f"{sizes[0]:,}", f"{sizes[-1]:,}"
    for operation in ("create", "get", "list"):
        for at_once in (1, 16):
            flat = found.to_shortest(operation, at_once, longest)
            if operation != "list":
                what = f"{operation}, {at_once} at once, {longest} jobs stored"
                unit = f"× the rate with {shortest}"
                results.bars.append(Bar("service", what, unit, flat, _FLAT, fewer=False))
            rate = statistics.median(found.rates[operation, at_once, shortest])
            slower = found.to_bare(operation, at_once, shortest)
            about = f"the bare framework with the same JSON is {slower:.1f} × as fast; {longest} stored: {flat:.2f} ×"
            results.row(f"service: {operation}, {at_once} at once", f"{rate:.0f} requests/s", about)
    lines = [
        Series(f"{operation}, 16 at once", [(n, _rate(found, operation, f"{n:,}")) for n in sizes])
        for operation in ("create", "get", "list")
    ]
    results.plots.append(Plot("service", "The service", "jobs stored", "requests a second", lines))


def _rate(found: service.Found, operation: str, name: str) -> float:
    return statistics.median(found.rates[operation, 16, name])
