"""Small things that many parts of the page have: statuses, times, links to specs, tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from reconciler.job import Source, is_terminal
from reconciler.links import spec_link
from reconciler.report.page.markup import Child, Html, element, join

_MARKS = {"COMPLETED": "✓", "FAILED": "✗", "CANCELLED": "⊘", "RUNNING": "▶", "PREEMPTED": "⏏", "GONE": "∅"}


def status(word: str) -> Html:
    """A status with its mark; what it is, is said by the word."""
    mark = _MARKS.get(word, "·" if is_terminal(word) else "○")
    return element(
        "span", element("span", mark, class_="mark", aria_hidden="true"), " ", word, class_="status", data_s=word
    )


def moment(at: datetime) -> Html:
    """A time in UTC."""
    at = at.astimezone(UTC)
    return element("time", at.strftime("%Y-%m-%d %H:%M:%S UTC"), datetime=at.strftime("%Y-%m-%dT%H:%M:%SZ"))


def link(address: str | None, *children: Child) -> Html:
    """A link; without an address only what it would say."""
    if address is None:
        return join(children)
    return element("a", *children, href=address, rel="noopener noreferrer")


def spec(source: Source | None, path: str | None, line: int | None) -> Html:
    """The file and line of a spec, linked where its commit has a page."""
    place = f"{path}:{line}" if line else path or ""
    return link(spec_link(source, path, line), element("code", place)) if place else Html("")


def table(caption: str, heads: Sequence[str], rows: Iterable[Child], **attributes: str) -> Html:
    """A table in a box that scrolls sideways where it must."""
    head = element("tr", [element("th", title, scope="col") for title in heads])
    body = element(
        "table",
        element("caption", caption),
        element("thead", head),
        element("tbody", rows),
        **attributes,
    )
    return element("div", body, class_="wide", tabindex="0", role="region", aria_label=caption)


def row(head: Child, *cells: Child) -> Html:
    """A row whose first cell says what the row is about."""
    return element("tr", element("th", head, scope="row"), [element("td", cell) for cell in cells])


def outline(*, drawn: bool) -> dict[str, str]:
    """Attributes of a shape that is only an outline: some servers of CI files, Jenkins for one, forbid the style."""
    return {"fill": "none", "stroke": "currentColor"} if drawn else {}


def more(count: int, what: str) -> Html:
    """That something has no room here; nothing when all of it is there."""
    return element("p", f"{count:,} more {what} are only counted here.", class_="quiet") if count > 0 else Html("")
