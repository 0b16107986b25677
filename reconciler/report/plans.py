"""A plan as text and JSON."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence

from reconciler.actions import Action, Plan
from reconciler.compare import Change
from reconciler.job import JsonObject
from reconciler.report.sections import sections
from reconciler.report.style import MARKS, Colour, Paint, plain, size
from reconciler.text import one_line, pad, plural, width, wrap

_NAME = 128  # characters of a name
_FIELDS = 20  # changed fields shown of each action
_VALUE = 70  # characters of a value
_COMMAND = 10_000  # characters of a command line, which is never broken: it is there to be copied
_HEAD = 13  # cells before the name: mark and kind
_INDENT = 8


def plan_text(plan: Plan, paint: Paint = plain, columns: int | None = None) -> str:
    """The verdict, then what is done and why, in sections, then warnings. Unchanged jobs are only counted.

    Lines are broken at `columns` terminal cells; None does not break them.
    """
    lines = [paint(_broken(verdict(plan), columns), "bold"), *_refusal_lines(plan, paint, columns)]
    for title, actions in sections(plan):
        lines += ["", paint(_broken(f"{title} ({len(actions):,})", columns), "bold")]
        names = max(width(one_line(a.name, _NAME)) for a in actions)
        for action in actions:
            lines += _action_lines(action, names, paint, columns)
    kept = [a for a in plan.actions if a.unchanged]
    if kept:
        lines += [
            "",
            paint(f"Unchanged ({len(kept):,})", "bold"),
            *(_broken(k, columns) for k in kept_lines(kept)),
        ]
    if uploads := uploads_line(plan):
        lines += ["", _broken(uploads, columns)]
    if plan.warnings:
        lines += ["", *(_broken(f"warning: {one_line(w)}", columns, paint) for w in plan.warnings)]
    return "\n".join(lines)


def uploads_line(plan: Plan) -> str | None:
    """How much local files the plan's submissions need on the platform."""
    uploads = {u.file_id: u.num_bytes for a in plan.actions for u in a.uploads}
    if not uploads:
        return None
    total = plural(len(uploads), "file")
    return f"Uploads: {total}, {size(sum(uploads.values()))}, less what the platform has already."


def kept_lines(kept: Sequence[Action]) -> Iterator[str]:
    """Unchanged jobs are counted by reason; those that ended badly are named, with what to do."""
    reasons: dict[str, list[str]] = {}
    for action in kept:
        ended_badly = action.reason.startswith(("failed", "cancelled"))
        reasons.setdefault(_group(action), []).append(one_line(action.name, 60) if ended_badly else "")
    for reason, names in sorted(reasons.items(), key=lambda item: -len(item[1])):
        named = [n for n in names if n]
        shown = ": " + ", ".join(named[:5]) + (", …" if len(named) > 5 else "") if named else ""
        yield f"  {len(names):,} {one_line(reason)}{shown}"
    if any(n for names in reasons.values() for n in names):
        again = "'retry NAME' runs a job that ended badly again, 'apply --replace NAME' submits it anew"
        yield f"  {again}; with reconcile.retry in its spec apply runs it again."


def _group(action: Action) -> str:
    reason = action.reason.partition(": ")[0]
    return f"{reason}; {action.note}" if action.note else reason


def verdict(plan: Plan) -> str:
    """What it comes to, in one line."""
    kinds = Counter("blocked" if a.blocked else a.action for a in plan.actions)
    parts = [f"{count:,} {MARKS[kind][2]}" for kind, count in kinds.items() if kind in MARKS]
    if kinds["keep"]:
        parts.append(f"{kinds['keep']:,} unchanged")
    if plan.refusals:
        return "Refused: " + ", ".join(parts) + ". Apply does none of it."
    if not plan.pending():
        rest = [p for p in parts if not p.endswith("unchanged")]
        if plan.unsettled:
            return f"{plural(len(plan.unsettled), 'submission')} to settle first; nothing else is to be done."
        if kinds["blocked"]:
            return f"{plural(kinds['blocked'], 'change')} blocked; nothing else is to be done."
        return "No changes" + (f" ({', '.join(rest)})" if rest else "") + ": nothing is to be done."
    waiting = len(plan.waiting())
    later = f"; {waiting:,} wait{'s' if waiting == 1 else ''} for other jobs" if waiting else ""
    return "Plan: " + ", ".join(parts) + later + "."


def _refusal_lines(plan: Plan, paint: Paint, columns: int | None) -> Iterator[str]:
    """Why apply refuses the plan, and what to type to have it done all the same."""
    if not plan.refusals:
        return
    yield ""
    for refusal in plan.refusals:
        yield _broken(f"refused: {one_line(refusal.reason, 1000)}", columns, paint)
    yield f"  to do it all the same: {one_line(plan.refusals[0].override, _COMMAND)}"


def _action_lines(action: Action, names: int, paint: Paint, columns: int | None) -> Iterator[str]:
    kind = "blocked" if action.blocked else action.action
    mark, colour, _ = MARKS[kind]
    name = one_line(action.name, _NAME)
    head = f"  {paint(mark, colour)} {paint(pad(kind, 7), colour)}  "
    told = _words(one_line(action.told))
    if place := one_line(spec_place(action)):
        told += [("", ""), *_words(place, lambda word: paint(word, "dim"))]
    if columns is None or _HEAD + names + 2 <= columns // 2:
        yield head + pad(name, names) + "  " + wrap(told, columns, _HEAD + names + 2, _INDENT)
    else:
        yield head + name
        yield " " * _INDENT + wrap(told, columns, _INDENT, _INDENT)
    if action.override:
        yield f"{' ' * _INDENT}to do it all the same: {one_line(action.override, _COMMAND)}"
    value = min(_VALUE, (columns or 1000) - _INDENT - 2)
    for change in action.changes[:_FIELDS]:
        said = change_parts(change, value, files=local_files(action))
        parts = [(text, paint(text, colour) if colour else text) for text, colour in said]
        yield " " * _INDENT + wrap(parts, columns, _INDENT, _INDENT + 2)
    if (more := len(action.changes) - _FIELDS) > 0:
        yield _broken(f"{' ' * _INDENT}… and {plural(more, 'more field')}; --format json has them all", columns)


def _broken(line: str, columns: int | None, paint: Paint = plain) -> str:
    """`line` broken at `columns`, its further lines indented by two more than its first. `paint`: its first word."""
    text = line.lstrip(" ")
    indent = len(line) - len(text)
    (first, _), *rest = _words(text)
    written = paint(first, "yellow")
    return " " * indent + wrap([(first, written), *rest], columns, indent, indent + 2)


def _words(text: str, paint: Callable[[str], str] = str) -> list[tuple[str, str]]:
    """The words of `text` as they count and as they are written."""
    return [(word, paint(word)) for word in text.split(" ")]


def spec_place(action: Action) -> str:
    """The file and the line of the action's spec, as far as they are known."""
    return f"{action.spec_path}:{action.line}" if action.line else action.spec_path or ""


def local_files(action: Action) -> dict[str, str]:
    """The local files of the action, by the names that they have on the platform."""
    return {upload.file_id: upload.path for upload in action.uploads}


def change_parts(
    change: Change, limit: int = _VALUE, write: Callable[[str], str] = str, files: Mapping[str, str] | None = None
) -> list[tuple[str, Colour | None]]:
    """`path: before → after` in its parts, each with its colour.

    `limit`: characters of a value. `write`: how the path and the values are written. `files`: local files by their
    names on the platform; a name that changes says little, so the file is told with it.
    """
    values = (one_line(json.dumps(value, ensure_ascii=False), limit) for value in (change.before, change.after))
    before, after = map(write, values)
    path = f"{write(one_line(change.path))}:"
    if change.op == "add":
        return [(path, None), ("added", "green"), (after, None)]
    if change.op == "remove":
        return [(path, None), ("removed", "red"), (before, None)]
    changed: list[tuple[str, Colour | None]] = [(path, None), (before, "red"), ("→", None), (after, "green")]
    if files and isinstance(change.after, str) and (file := files.get(change.after)):
        changed.append((f"({write(one_line(file, limit))})", None))
    return changed


def plan_json(plan: Plan) -> JsonObject:
    """The document of `plan --format json` and `--out`: the plan with its counts."""
    body = plan.model_dump(mode="json")
    return {"format_version": body.pop("format_version"), "summary": plan.summary(), **body}
