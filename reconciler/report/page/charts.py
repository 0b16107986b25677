"""How many jobs have which status, and how many waited and ran at a time: drawn, and in words and numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from reconciler.job import RecordedJob
from reconciler.report.jobs import by_status
from reconciler.report.page.markup import Child, Html, element
from reconciler.report.page.pieces import outline, row, status
from reconciler.report.page.timeline import Window, window
from reconciler.report.times import Times, times
from reconciler.text import plural

_COLUMNS = 250  # of the drawing; each has the most that waited or ran in its time
_HEIGHT = 100


def outcome_chart(records: Mapping[str, RecordedJob]) -> Html:
    """A bar a status, in a table that says the same."""
    counts = by_status(records)
    most = max(count for _, count in counts)
    rows = [
        row(status(word), f"{count:,}", f"{count / len(records):.0%}", _bar(word, count, most))
        for word, count in counts
    ]
    heads = [*(element("th", title, scope="col") for title in ("Status", "Jobs", "Part")), element("td")]
    return element(
        "table",
        element("caption", f"Status of {plural(len(records), 'job')}"),
        element("thead", element("tr", heads)),
        element("tbody", rows),
        class_="outcomes",
    )


def _bar(word: str, count: int, most: int) -> Html:
    title = element("title", f"{count:,} {word}")
    bar = element("rect", class_="ran", x=0, y=2, width=round(1000 * count / most, 1), height=16)
    drawn = {"viewBox": "0 0 1000 20", "preserveAspectRatio": "none", "role": "img"}
    return element("svg", title, bar, data_s=word, **drawn)


def queue_chart(records: Mapping[str, RecordedJob], now: datetime) -> Iterator[Html]:
    """How many jobs waited and ran over time. What is not told apart from earlier runs is not drawn, but counted."""
    known = [times(record) for record in records.values()]
    frame = window(known, now)
    if frame is None:
        return
    waiting, running = (_levels(known, phase, frame, now) for phase in ("waited", "ran"))
    highest = max(1, *waiting.columns, *running.columns)
    words = (
        f"At most {plural(waiting.most, 'job')} waited (at {frame.words(waiting.at)} UTC), "
        f"and at most {running.most:,} ran (at {frame.words(running.at)} UTC)."
    )
    title = "Jobs that waited and ran, over time"
    drawing = element(
        "svg",
        element("title", title, id="queue-title"),
        element("desc", words, id="queue-words"),
        element("path", class_="running", d=_path(running.columns, highest, closed=True)),
        element("path", class_="waiting", d=_path(waiting.columns, highest, closed=False), **outline(drawn=True)),
        viewBox=f"0 0 {_COLUMNS} {_HEIGHT}",
        preserveAspectRatio="none",
        role="img",
        aria_labelledby="queue-title queue-words",
    )
    axis = element(
        "span", element("span", frame.words(frame.begin)), element("span", frame.words(frame.end)), class_="axis"
    )
    key = element(
        "p",
        element("span", "", class_="key running"),
        "running ",
        element("span", "", class_="key waiting"),
        f"waiting; the top is {highest:,}",
        class_="quiet",
    )
    repeated = sum(one.repeated for one in known)
    note = f" {plural(repeated, 'job')} ran more than once; only the last run of each is drawn." if repeated else ""
    yield element("figure", element("figcaption", title), drawing, axis, key, element("p", words, note), class_="queue")


@dataclass(frozen=True, slots=True)
class _Levels:
    """How many there were in each column, and when there were most."""

    columns: Sequence[int]
    most: int
    at: datetime


def _levels(known: Sequence[Times], phase: str, frame: Window, now: datetime) -> _Levels:
    steps: Counter[datetime] = Counter()
    for one in known:
        for kind, begin, end in one.spans(now):
            if kind == phase and end > begin:
                steps[begin] += 1
                steps[end] -= 1
    columns = [0] * _COLUMNS
    level, most, at, column = 0, 0, frame.begin, 0
    for moment in sorted(steps):
        reached = min(_COLUMNS - 1, int(frame.place(moment) * _COLUMNS))
        for between in range(column, reached + 1):
            columns[between] = max(columns[between], level)
        level, column = level + steps[moment], reached
        columns[reached] = max(columns[reached], level)
        if level > most:
            most, at = level, moment
    return _Levels(columns, most, at)


def _path(columns: Sequence[int], highest: int, *, closed: bool) -> str:
    heights = [round(_HEIGHT * (1 - count / highest), 1) for count in columns]
    steps = [f"M0 {_HEIGHT if closed else heights[0]:g}"]
    for index, height in enumerate(heights):
        if index == 0 or height != heights[index - 1]:
            steps.append(f"H{index}V{height:g}")
    steps.append(f"H{_COLUMNS}")
    return "".join([*steps, f"V{_HEIGHT}Z"] if closed else steps)


def charts(records: Mapping[str, RecordedJob], now: datetime) -> Child:
    """Both, side by side where there is room."""
    parts = [element("div", outcome_chart(records)), element("div", queue_chart(records, now))]
    return element("div", parts, class_="charts")
