"""What was found, as text, markdown and JSON. Nothing here measures."""

from __future__ import annotations

import dataclasses
import json
import platform
from collections.abc import Sequence

from benchmarks.measure import Bar, Results


def machine() -> str:
    """What it was measured on, without names."""
    import os

    return f"{os.cpu_count()} cores, Python {platform.python_version()}, {platform.system()}"


def figure(value: float) -> str:
    """A number with as many digits as say something."""
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.3g}"


def _row(bar: Bar) -> tuple[str, ...]:
    sign, verdict = "≤" if bar.fewer else "≥", "reached" if bar.is_reached else "missed"
    return bar.part, bar.what, f"{sign} {figure(bar.bound)} {bar.unit}", figure(bar.reached), verdict


_HEAD = ("part", "what", "bar", "found", "")


def text(results: Results) -> str:
    """Every bar with what was found beside it, then the other figures."""
    rows = [_row(bar) for bar in results.bars]
    widths = [max(len(row[column]) for row in [_HEAD, *rows]) for column in range(len(_HEAD))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in [_HEAD, *rows]]
    width = max((len(what) for what, _, _ in results.rows), default=0)
    lines += ["", *(f"{what.ljust(width)}  {found}  {about}" for what, found, about in results.rows)]
    lines += ["", *(f"not measured: {reason}" for reason in results.skipped)]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def markdown(results: Results, how: str) -> str:
    """The same as tables."""
    bars = _table(("part", "what", "bar", "found", ""), [_row(bar) for bar in results.bars])
    rows = _table(("what", "found", ""), results.rows)
    skipped = "".join(f"* not measured: {reason}\n" for reason in results.skipped)
    return f"# Results\n\n{how}: {machine()}.\n\n{bars}\n{rows}\n{skipped}".rstrip("\n") + "\n"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(cells) + " |\n" for cells in lines)


def as_json(results: Results, how: str) -> str:
    """The same for scripts."""
    bars = [{**dataclasses.asdict(bar), "is_reached": bar.is_reached} for bar in results.bars]
    rows = [{"what": what, "found": found, "about": about} for what, found, about in results.rows]
    plots = [dataclasses.asdict(plot) for plot in results.plots]
    whole = {"how": how, "machine": machine(), "bars": bars, "rows": rows, "plots": plots, "skipped": results.skipped}
    return json.dumps(whole, indent=1, ensure_ascii=False) + "\n"
