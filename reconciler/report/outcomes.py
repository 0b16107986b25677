"""What came of a plan, as text and JSON."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from reconciler.job import JsonObject
from reconciler.report.style import Paint, plain
from reconciler.text import one_line

_PAST: Mapping[str, str] = {
    "create": "created",
    "replace": "replaced",
    "retry": "retried",
    "cancel": "cancelled",
    "adopt": "adopted",
    "move": "moved",
    "forget": "forgotten",
}


class Result(Protocol):
    """What came of one action. Structural: this module knows nothing of how it came about."""

    @property
    def name(self) -> str: ...
    @property
    def action(self) -> str: ...
    @property
    def outcome(self) -> str: ...
    @property
    def job_id(self) -> str | None: ...
    @property
    def status(self) -> str | None: ...
    @property
    def error(self) -> str | None: ...
    @property
    def hint(self) -> str | None: ...


def outcomes_text(outcomes: Sequence[Result], paint: Paint = plain) -> str:
    """Counts, then everything that is not done, with what to do about it."""
    counts = Counter(o.outcome for o in outcomes)
    colours: Mapping[str, Any] = {"done": "green", "failed": "red", "skipped": "yellow", "unknown": "red"}
    done = Counter(_PAST.get(o.action, o.action) for o in outcomes if o.outcome == "done")
    parts = [paint(f"{count:,} {verb}", "green") for verb, count in done.items()]
    verdict = ", ".join([*parts, *(paint(f"{counts[k]:,} {k}", colours[k]) for k in list(colours)[1:] if counts[k])])
    lines = [f"Applied: {verdict}."]
    for o in outcomes:
        if o.outcome == "done":
            continue
        head = f"  {paint(o.outcome, colours[o.outcome])}  {o.action} {one_line(o.name, 60)}"
        lines.append(f"{head}: {one_line(o.error or '', 1000)}")
        if o.hint:
            lines.append(f"           {one_line(o.hint)}")
    return "\n".join(lines)


def outcomes_json(outcomes: Sequence[Result]) -> JsonObject:
    """The document of `apply --format json`."""
    keys = ("name", "action", "outcome", "job_id", "status", "error")
    return {
        "format_version": 1,
        "summary": dict(Counter(o.outcome for o in outcomes)),
        "outcomes": [{k: getattr(o, k) for k in keys} for o in outcomes],
    }
