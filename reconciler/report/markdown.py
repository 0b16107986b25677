"""A plan as markdown for a pull request: the verdict first, what cancels running work next, cut in the middle to fit.

What came from specs or from the platform can neither make markup, nor mention anybody, nor link anywhere: it stands in
code spans, unless it is plain words.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence

from reconciler.actions import Action, Plan
from reconciler.job import JsonObject
from reconciler.report.plans import change_parts, kept_lines, local_files, spec_place, uploads_line, verdict
from reconciler.report.sections import sections
from reconciler.text import one_line, plural

COMMENT = 65_536
"""Characters that GitHub takes in one comment."""

_DETAIL = (20, 5, 1, 0)  # changed fields shown of each action: fewer, until it fits
_LISTED = 20  # warnings, and reasons of unchanged jobs
_COMMAND = 2_000  # characters of a command line
_LEFT_OUT = 300  # characters that the line about what is left out may need
_WORDS = re.compile(r"(?!.*(?:www\.|(?:^|\W)_|_(?:\W|$)))[\w ,.;:()'%/=…-]*")


def plan_markdown(plan: Plan, limit: int = COMMENT) -> str:
    """The plan in at most `limit` characters. What has no room is counted; the verdict and the counts always have."""
    for fields in _DETAIL:
        text = _joined(plan, [[_item(a, fields) for a in actions] for _, actions in sections(plan)])
        if len(text) <= limit:
            return text
    return _cut(plan, limit)


def _cut(plan: Plan, limit: int) -> str:
    """The first actions, as many as fit, each in a line."""
    shown: list[list[str]] = [[] for _ in sections(plan)]
    room = limit - len(_joined(plan, shown)) - _LEFT_OUT
    for lines, (_, actions) in zip(shown, sections(plan), strict=True):
        for action in actions:
            line = _item(action, 0)
            if len(line) + 1 > room:
                return _joined(plan, shown)
            room -= len(line) + 1
            lines.append(line)
    return _joined(plan, shown)


def _joined(plan: Plan, shown: Sequence[Sequence[str]]) -> str:
    lines = [f"### {verdict(plan)}", "", *_totals(plan), _origin(plan)]
    if plan.refusals:
        lines += ["", *(f"- refused: {prose(one_line(refusal.reason, 500))}" for refusal in plan.refusals)]
        lines += ["", f"To do it all the same: {code(one_line(plan.refusals[0].override, _COMMAND))}"]
    left_out: Counter[str] = Counter()
    for (title, actions), items in zip(sections(plan), shown, strict=True):
        lines += ["", f"#### {title} ({len(actions):,})", "", *items]
        left_out.update("blocked" if a.blocked else a.action for a in actions[len(items) :])
    if left_out:
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in left_out.items())
        lines += ["", f"**{left_out.total():,} actions are left out here: {kinds}.** `reconciler plan` shows them all."]
    kept = [a for a in plan.actions if a.unchanged]
    if kept:
        lines += ["", f"#### Unchanged ({len(kept):,})", "", *_listed([line.strip() for line in kept_lines(kept)])]
    if uploads := uploads_line(plan):
        lines += ["", uploads]
    if plan.warnings:
        lines += ["", f"#### Warnings ({len(plan.warnings):,})", "", *_listed(plan.warnings)]
    return "\n".join(lines) + "\n"


def _listed(texts: Sequence[str]) -> list[str]:
    """The first of `texts`, and how many more there are."""
    more = len(texts) - _LISTED
    items = [f"- {prose(one_line(text, 300))}" for text in texts[:_LISTED]]
    return items if more <= 0 else [*items, f"- … and {more:,} more"]


def _totals(plan: Plan) -> list[str]:
    """What costs money, in one sentence: the limits count the same."""
    submitted = sum(a.action in ("create", "replace", "retry") for a in plan.actions)
    cancelled = sum(a.cancels for a in plan.actions)
    if plan.refusals or (not submitted and not cancelled):
        return []
    running = "1 job in flight is" if cancelled == 1 else f"{cancelled:,} jobs in flight are"
    refused = sum(a.fault is not None for a in plan.actions)
    but = (
        f" As things are, {plural(refused, 'run')} would be refused, and no job is cancelled for that."
        if refused
        else ""
    )
    return [f"{plural(submitted, 'run')} would be submitted, and {running} cancelled.{but}", ""]


def _origin(plan: Plan) -> str:
    """Where the plan holds: the platform, the state and the commit."""
    parts = [code(one_line(plan.endpoint, 200)), f"state serial {plan.serial}" if plan.lineage else "first run"]
    if plan.environment:
        parts.insert(0, f"environment {code(one_line(plan.environment, 100))}")
    if plan.source and plan.source.commit:
        dirty = ", with changes that are not committed" if plan.source.dirty else ""
        parts.append(f"commit {code(one_line(plan.source.commit[:12]))}{dirty}")
    return " · ".join(parts)


def _item(action: Action, fields: int) -> str:
    where = spec_place(action)
    place = f" · {code(one_line(where, 200))}" if where else ""
    kind = "blocked" if action.blocked else action.action
    head = f"- {kind} {code(one_line(action.name, 128))}: {prose(one_line(action.told, 300))}{place}"
    if not fields:
        return head
    if action.action == "create" and action.request is not None:
        head += f" · {_asked(action.request)}"
    changes = (change_parts(change, write=code, files=local_files(action)) for change in action.changes[:fields])
    override = [f"  - to do it all the same: {code(one_line(action.override, _COMMAND))}"] if action.override else []
    lines = [*override, *("  - " + " ".join(text for text, _ in parts) for parts in changes)]
    if (more := len(action.changes) - fields) > 0:
        lines.append(f"  - … and {more:,} more fields")
    return "\n".join([head, *lines])


def _asked(request: JsonObject) -> str:
    """What is submitted, in a few words: the pipeline, how many inputs, and the settings that are a single value."""
    version = request.get("pipeline_version")
    pipeline = f"{request.get('pipeline_key')} {version or '(its latest version)'}"
    inputs = sum(len(items) for items in (request.get("inputs") or {}).values())
    settings = [
        f"{name}: {json.dumps(value, ensure_ascii=False)}"
        for component in (request.get("parameters") or {}).values()
        for name, value in ((component or {}).get("config") or {}).items()
        if not isinstance(value, dict | list)
    ]
    parts = [code(one_line(pipeline, 100)), *([plural(inputs, "input")] if inputs else [])]
    return ", ".join([*parts, *([code(one_line(", ".join(settings), 120))] if settings else [])])


def code(text: str) -> str:
    """A code span, whatever `text` holds. It is one line already."""
    fence = "`" * (max((len(run) for run in re.findall("`+", text)), default=0) + 1)
    space = " " if text[:1] in ("`", " ") or text[-1:] in ("`", " ") else ""
    return f"{fence}{space}{text}{space}{fence}" if text else "(empty)"


def prose(text: str) -> str:
    """Plain words as they are; anything that could be markup, a mention or a link as a code span."""
    return text if _WORDS.fullmatch(text) and "://" not in text else code(text)
