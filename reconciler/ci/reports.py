"""What people read of a run: markdown for its summary and for the comment. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from reconciler.report.markdown import code, prose
from reconciler.text import one_line, plural

_LISTED = 100  # outcomes that are listed
_LINES = 40  # lines of a log that are shown

MEANING: Mapping[int, str] = {
    1: "something failed or was refused",
    3: "the specs are invalid",
    4: "jobs ended FAILED or CANCELLED",
    5: "try again later: the state is locked, or the platform is unavailable",
    6: "the outcome of a submission is unknown; the log says what to type",
    64: "wrong usage",
    70: "a bug in reconciler",
    130: "interrupted; the state is consistent, run again",
    137: "killed; the next run finds out what became of its submissions",
    143: "interrupted; the state is consistent, run again",
}


def failure_markdown(title: str, exit_code: int, lines: Sequence[str]) -> str:
    """What failed, the meaning of its exit code, and the last lines of its log."""
    meaning = MEANING.get(exit_code, "it failed")
    return "\n".join([f"### {title}", "", f"Exit code {exit_code}: {meaning}.", "", *block(lines[-_LINES:]), ""])


def block(lines: Sequence[str]) -> list[str]:
    """An indented code block: no line in it can end it, or make markup."""
    shown = [f"    {one_line(line, 300)}" for line in lines]
    return shown or ["    (no output)"]


def outcomes_markdown(document: Mapping[str, Any]) -> tuple[str, str]:
    """The verdict of `apply --format json`, and it with the outcomes, those that are not done first."""
    outcomes = document.get("outcomes", [])
    counts = Counter(o["outcome"] for o in outcomes)
    order = ("failed", "unknown", "skipped", "done")
    parts = [f"{counts[kind]:,} {kind}" for kind in reversed(order) if counts[kind]]
    verdict = f"Applied: {', '.join(parts)}." if parts else "No changes: nothing was to be done."
    lines = [f"### {verdict}", ""]
    ranked = sorted(outcomes, key=lambda o: order.index(o["outcome"]) if o["outcome"] in order else 0)
    for o in ranked[:_LISTED]:
        job = f" · {code(one_line(o['job_id'], 100))}" if o.get("job_id") else ""
        status = f" {prose(one_line(o['status'], 40))}" if o.get("status") else ""
        error = f": {prose(one_line(o['error'], 500))}" if o.get("error") else ""
        lines.append(f"- {o['outcome']}: {o['action']} {code(one_line(o['name'], 128))}{job}{status}{error}")
    if len(ranked) > _LISTED:
        lines.append(f"- … and {plural(len(ranked) - _LISTED, 'more outcome')}; the log has all")
    return verdict, "\n".join(lines) + "\n"
