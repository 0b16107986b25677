"""When each job waited and ran: a row a job, with a bar in inline SVG beside the numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from reconciler.job import RecordedJob, is_terminal
from reconciler.report.jobs import status_of
from reconciler.report.page.markup import Child, Html, element
from reconciler.report.page.pieces import outline, spec, status
from reconciler.report.times import Phase, Times, duration, times
from reconciler.text import plural

ROWS = 2000
"""Jobs that have a row. Those that ended badly or are in flight come before those that COMPLETED."""
_UNITS = 1000.0  # the width of a bar's drawing
_LEGEND = "Each bar goes from queued to started (outline) to ended (filled)."
_REPEATED = " A dashed bar is waiting and earlier runs of a job that ran more than once: they cannot be told apart."
_LEAST = 4.0  # what lasts an instant can still be seen


@dataclass(frozen=True, slots=True)
class Window:
    """The time from the first moment that is shown to the last."""

    begin: datetime
    end: datetime

    def place(self, moment: datetime) -> float:
        """Where a moment is, from 0 to 1."""
        return (moment - self.begin) / (self.end - self.begin)

    def words(self, moment: datetime) -> str:
        """A moment as short as it can be told within the window."""
        length, moment = self.end - self.begin, moment.astimezone(UTC)
        if length >= timedelta(hours=20):
            return moment.strftime("%m-%d %H:%M")
        return moment.strftime("%H:%M:%S" if length >= timedelta(seconds=10) else "%H:%M:%S.%f")[:10]


def window(known: Sequence[Times], now: datetime) -> Window | None:
    """The window that holds all jobs; None when no time is known."""
    spans = [span for one in known for span in one.spans(now)]
    if not spans:
        return None
    begin, end = min(span[1] for span in spans), max(span[2] for span in spans)
    return Window(begin, max(end, begin + timedelta(milliseconds=1)))


def timeline(records: Mapping[str, RecordedJob], now: datetime) -> Iterator[Html]:
    """The table of jobs. `now` ends what has not ended."""
    shown = _shown(records)
    known = {name: times(records[name]) for name in shown}
    frame = window(list(known.values()), now)
    shown.sort(key=lambda name: (known[name].queued or now, name))
    yield element("p", _LEGEND, _REPEATED if any(one.repeated for one in known.values()) else None)
    head = element(
        "tr",
        [element("th", title, scope="col") for title in ("Job", "Status", "Waited", "Ran")],
        element("th", element("span", "Time, UTC", class_="unseen"), _axis(frame), scope="col", class_="bar"),
    )
    body = [_row(name, records[name], known[name], frame, now) for name in shown]
    caption = f"Waiting and running time of {plural(len(shown), 'job')}, in the order of submission"
    yield element(
        "table",
        element("caption", caption),
        element("thead", head),
        element("tbody", body),
        class_="timeline",
    )
    if len(shown) < len(records):
        rest = Counter(status_of(records[name]) for name in records.keys() - set(shown))
        counts = ", ".join(f"{count:,} {word}" for word, count in rest.most_common())
        yield element("p", f"{rest.total():,} more jobs are only counted here: {counts}.", class_="quiet")


def _shown(records: Mapping[str, RecordedJob]) -> list[str]:
    if len(records) <= ROWS:
        return list(records)
    ended_well = sorted(
        (name for name, r in records.items() if r.status == "COMPLETED" and not r.gone),
        key=lambda name: times(records[name]).ended or datetime.min.replace(tzinfo=UTC),
        reverse=True,
    )
    others = sorted(records.keys() - set(ended_well), key=lambda name: (not is_terminal(records[name].status), name))
    return [*others, *ended_well][:ROWS]


def _axis(frame: Window | None) -> Child:
    if frame is None:
        return None
    middle = frame.begin + (frame.end - frame.begin) / 2
    ticks = [element("span", frame.words(at)) for at in (frame.begin, middle, frame.end)]
    return element("span", ticks, class_="axis")


def _row(name: str, record: RecordedJob, known: Times, frame: Window | None, now: datetime) -> Html:
    spans = list(known.spans(now))
    counts = [
        f"{word} {plural(count, 'time')}"
        for word, key in (("retried", "retry_count"), ("preempted", "preemption_count"))
        if type(count := record.observed.get(key)) is int and count > 0
    ]
    about = [element("code", record.job_id), " ", spec(record.source, record.spec_path, record.line)]
    return element(
        "tr",
        element("th", name, " ", element("span", about, class_="about"), scope="row"),
        element(
            "td", status(status_of(record)), " ", element("span", ", ".join(counts), class_="about") if counts else None
        ),
        element("td", _at_most(known), _sum(spans, "waited", "earlier"), class_="number", data_of="Waited"),
        element("td", _sum(spans, "ran"), class_="number", data_of="Ran"),
        element("td", _bar(spans, known, frame), class_="bar"),
        data_s=status_of(record),
    )


def _at_most(known: Times) -> str | None:
    return "≤ " if known.repeated and known.queued else None


def _sum(spans: Sequence[tuple[Phase, datetime, datetime]], *phases: Phase) -> str:
    parts = [(begin, end) for phase, begin, end in spans if phase in phases]
    return duration(sum(max(0.0, (end - begin).total_seconds()) for begin, end in parts)) if parts else ""


def _bar(spans: Sequence[tuple[Phase, datetime, datetime]], known: Times, frame: Window | None) -> Child:
    if frame is None or not spans:
        return "not known"
    words = ", ".join(
        f"{word} {frame.words(at)}"
        for word, at in (("queued", known.queued), ("started", known.started), ("ended", known.ended))
        if at is not None
    )
    drawn = []
    for phase, begin, end in spans:
        left = frame.place(begin) * _UNITS
        size = max(frame.place(end) * _UNITS - left, _LEAST if phase == "ran" else 0.0)
        left = min(left, _UNITS - size)
        shape = {"x": round(left, 1), "y": 2, "width": round(size, 1), "height": 16} | outline(drawn=phase != "ran")
        drawn.append(element("rect", class_=phase, **shape))
    return element("svg", element("title", words), drawn, viewBox="0 0 1000 20", preserveAspectRatio="none", role="img")
