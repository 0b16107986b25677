"""A plot as SVG, small enough to be committed, readable on a light and on a dark page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from itertools import pairwise

from benchmarks.measure import Plot

_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 620, 300, 62, 190, 34, 46
_COLOURS = ("#2f81f7", "#d29922", "#3fb950", "#db61a2")
_STYLE = (
    "text{font:12px system-ui,sans-serif;fill:#57606a}.t{font-weight:600;font-size:14px}.g{stroke:#8c959f;opacity:.3}"
    "@media(prefers-color-scheme:dark){text{fill:#adbac7}}"
)


def svg(plot: Plot) -> str:
    """`plot` with logarithmic axes, a line a series, each named at its end."""
    xs = [x for series in plot.series for x, _ in series.points]
    ys = [y for series in plot.series for _, y in series.points]
    across, up = _Axis(min(xs), max(xs), _LEFT, _WIDTH - _RIGHT), _Axis(min(ys), max(ys), _HEIGHT - _BOTTOM, _TOP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" width="{_WIDTH}" role="img">',
        f"<title>{escape(plot.title)}</title><style>{_STYLE}</style>",
        f'<text class="t" x="{_LEFT}" y="18">{escape(plot.title)}</text>',
    ]
    for value in up.ticks():
        y = up.at(value)
        parts.append(f'<path class="g" d="M{_LEFT} {y:.1f}H{_WIDTH - _RIGHT}"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{_short(value)}</text>')
    low = f'y="{_HEIGHT - 26}" text-anchor="middle"'
    parts += [f'<text x="{across.at(value):.1f}" {low}>{_short(value)}</text>' for value in sorted(set(xs))]
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    parts.append(f'<text x="{middle}" y="{_HEIGHT - 8}" text-anchor="middle">{escape(plot.x)}</text>')
    parts.append(f'<text transform="rotate(-90)" x="{-(_HEIGHT - _BOTTOM + _TOP) / 2}" y="14" text-anchor="middle">')
    parts.append(f"{escape(plot.y)}</text>")
    places = _apart([up.at(series.points[-1][1]) for series in plot.series])
    for series, colour, place in zip(plot.series, _COLOURS, places, strict=False):
        line = " ".join(f"{across.at(x):.1f},{up.at(y):.1f}" for x, y in series.points)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        for x, y in series.points:
            parts.append(f'<circle cx="{across.at(x):.1f}" cy="{up.at(y):.1f}" r="3" fill="{colour}"/>')
        parts.append(
            f'<text x="{_WIDTH - _RIGHT + 10}" y="{place + 4:.1f}" style="fill:{colour}">{escape(series.name)}'
        )
        parts.append("</text>")
    return "".join([*parts, "</svg>\n"])


class _Axis:
    """A logarithmic axis from one place of the picture to another."""

    def __init__(self, low: float, high: float, start: float, end: float) -> None:
        self._low, self._high = math.log10(low), math.log10(high)
        self._start, self._end = start, end

    def at(self, value: float) -> float:
        """Where `value` is."""
        part = (math.log10(value) - self._low) / ((self._high - self._low) or 1)
        return self._start + part * (self._end - self._start)

    def ticks(self) -> list[float]:
        """Round values between the ends."""
        first, last = math.floor(self._low), math.ceil(self._high)
        steps = (1,) if self._high - self._low > 2.5 else (1, 2, 5)
        values = [step * 10.0**power for power in range(first, last + 1) for step in steps]
        return [v for v in values if self._low - 1e-9 <= math.log10(v) <= self._high + 1e-9]


def _apart(places: Sequence[float], least: float = 15) -> list[float]:
    """The same places, moved so far that what is written there can be read."""
    moved = list(places)
    order = sorted(range(len(places)), key=lambda n: places[n])
    for before, after in pairwise(order):
        moved[after] = max(moved[after], moved[before] + least)
    return moved


def _short(value: float) -> str:
    return f"{value / 1000:g}k" if value >= 1000 else f"{value:g}"
