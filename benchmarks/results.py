"""What was found, as text, markdown and JSON. Nothing here measures."""

from __future__ import annotations

import dataclasses
import json
import os
import platform
from collections.abc import Mapping, Sequence

from benchmarks.measure import Bar, Plot, Results, Series


def machine() -> str:
    """What it was measured on, without names."""
    return f"{os.cpu_count()} cores, Python {platform.python_version()}, {platform.system()}"


def figure(value: float) -> str:
    """A number with as many digits as say something."""
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.3g}"


def _row(bar: Bar) -> tuple[str, ...]:
    sign = "≤" if bar.fewer else "≥"
    verdict = "reached" if bar.is_reached else "missed" + (f": {bar.why}" if bar.why else "")
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


def markdown(parts: Mapping[str, Results], how: str) -> str:
    """The same of all parts, as tables."""
    bars = _table(_HEAD, [_row(bar) for found in parts.values() for bar in found.bars])
    rows = _table(("what", "found", ""), [row for found in parts.values() for row in found.rows])
    skipped = "".join(f"* not measured: {reason}\n" for found in parts.values() for reason in found.skipped)
    return f"# Results\n\n{how}: {machine()}.\n\n{bars}\n{rows}\n{skipped}".rstrip("\n") + "\n"


def as_json(parts: Mapping[str, Results], how: str) -> str:
    """The same for scripts, and to be read again."""
    told = {name: dataclasses.asdict(found) for name, found in parts.items()}
    for found in told.values():
        for bar in found["bars"]:
            bar["is_reached"] = Bar(**bar).is_reached
    whole = {"how": how, "machine": machine(), "parts": told}
    return json.dumps(whole, indent=1, ensure_ascii=False) + "\n"


def from_json(text: str) -> dict[str, Results]:
    """What `as_json` wrote."""
    return {
        name: Results(
            [Bar(**{key: value for key, value in bar.items() if key != "is_reached"}) for bar in told["bars"]],
            [(what, found, about) for what, found, about in told["rows"]],
            [Plot(**{**plot, "series": [Series(**series) for series in plot["series"]]}) for plot in told["plots"]],
            told["skipped"],
        )
        for name, told in json.loads(text)["parts"].items()
    }


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join("| " + " | ".join(cells) + " |\n" for cells in lines)
