"""A plan as text and JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from reconciler.compare import Change
from reconciler.job import JsonObject
from reconciler.plan import Action, Plan
from reconciler.report.style import MARKS, Paint, plain, size
from reconciler.text import one_line, pad, plural, width


def plan_text(plan: Plan, paint: Paint = plain) -> str:
    """The verdict, then what is done and why, then warnings. Unchanged jobs are only counted."""
    shown = [a for a in plan.actions if a.action != "keep"]
    kept = [a for a in plan.actions if a.action == "keep"]
    lines = [paint(verdict(plan), "bold")]
    names = max((width(one_line(a.name, 60)) for a in shown), default=0)
    if shown:
        lines.append("")
    for action in shown:
        lines.extend(_action_lines(action, names, paint))
    if kept:
        lines += ["", "Unchanged:", *kept_lines(kept)]
    if uploads := uploads_line(plan):
        lines.append(uploads)
    if plan.warnings:
        lines += ["", *(f"{paint('warning', 'yellow')}: {one_line(w)}" for w in plan.warnings)]
    return "\n".join(lines)


def uploads_line(plan: Plan) -> str | None:
    """How much local files the plan's submissions need on the platform."""
    uploads = {u.file_id: u.num_bytes for a in plan.actions if a.action != "keep" for u in a.uploads}
    if not uploads:
        return None
    total = plural(len(uploads), "file")
    return f"Uploads: {total}, {size(sum(uploads.values()))}, less what the platform has already."


def kept_lines(kept: Sequence[Action]) -> Iterator[str]:
    """Unchanged jobs are counted by reason; those that ended badly are named, with what to do."""
    reasons: dict[str, list[str]] = {}
    for action in kept:
        ended_badly = action.reason.startswith(("failed", "cancelled"))
        reasons.setdefault(action.reason.partition(": ")[0], []).append(
            one_line(action.name, 60) if ended_badly else ""
        )
    for reason, names in sorted(reasons.items(), key=lambda item: -len(item[1])):
        named = [n for n in names if n]
        shown = ": " + ", ".join(named[:5]) + (", …" if len(named) > 5 else "") if named else ""
        yield f"  {len(names):,} {one_line(reason)}{shown}"
    if any(n for names in reasons.values() for n in names):
        yield "  'apply --replace NAME' submits a job that ended badly anew; reconcile.retry in its spec runs it again."


def verdict(plan: Plan) -> str:
    """What it comes to, in one line."""
    summary = plan.summary()
    parts = [f"{count:,} {MARKS[kind][2]}" for kind, count in summary.items() if kind in MARKS]
    if summary.get("keep"):
        parts.append(f"{summary['keep']:,} unchanged")
    if not plan.pending():
        rest = [p for p in parts if not p.endswith("unchanged")]
        if plan.unsettled:
            return f"{plural(len(plan.unsettled), 'submission')} to settle first; nothing else is to be done."
        return "No changes" + (f" ({', '.join(rest)})" if rest else "") + ": nothing is to be done."
    return "Plan: " + ", ".join(parts) + "."


def _action_lines(action: Action, names: int, paint: Paint) -> list[str]:
    mark, colour, _ = MARKS[action.action]
    head = f"  {paint(mark, colour)} {paint(pad(action.action, 7), colour)}  {pad(one_line(action.name, 60), names)}"
    lines = [f"{head}  {one_line(action.reason)}  {paint(one_line(spec_place(action)), 'dim')}".rstrip()]
    lines.extend(f"        {change_text(change, paint)}" for change in action.changes[:20])
    if len(action.changes) > 20:
        lines.append(f"        … and {len(action.changes) - 20} more fields; --format json has them all")
    return lines


def spec_place(action: Action) -> str:
    """The file and the line of the action's spec, as far as they are known."""
    return f"{action.spec_path}:{action.line}" if action.line else action.spec_path or ""


def change_text(change: Change, paint: Paint = plain, *, write: Callable[[str], str] = str) -> str:
    """`path: before → after`. `write`: how names and values are written."""
    path, before, after = write(one_line(change.path)), write(_value(change.before)), write(_value(change.after))
    if change.op == "add":
        return f"{path}: {paint('added', 'green')} {after}"
    if change.op == "remove":
        return f"{path}: {paint('removed', 'red')} {before}"
    return f"{path}: {paint(before, 'red')} → {paint(after, 'green')}"


def _value(value: Any) -> str:
    return one_line(json.dumps(value, ensure_ascii=False), 70)


def plan_json(plan: Plan) -> JsonObject:
    """The document of `plan --format json` and `--out`: the plan with its counts."""
    body = plan.model_dump(mode="json")
    return {"format_version": body.pop("format_version"), "summary": plan.summary(), **body}
