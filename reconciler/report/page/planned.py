"""The plan: the verdict, then each section, fields before and after, what is unchanged, warnings."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

from reconciler.actions import Action, Plan
from reconciler.compare import Change
from reconciler.report.page.markup import Child, Html, element
from reconciler.report.page.pieces import more, row, spec, table
from reconciler.report.plans import kept_lines, uploads_line, verdict
from reconciler.report.sections import sections
from reconciler.report.style import MARKS
from reconciler.text import one_line, plural

ACTIONS = 500
"""Actions of each section that are shown."""
FIELDS = 50
"""Changed fields of each action that are shown."""
_OPEN = 20  # actions whose fields are open at first
_VALUE = 1000  # characters


def plan_part(plan: Plan) -> Iterator[Html]:
    """What the plan holds."""
    yield element("p", verdict(plan), class_="verdict")
    if plan.refusals:
        yield element("ul", [element("li", "refused: ", refusal.reason) for refusal in plan.refusals], class_="error")
        yield element("p", "To do it all the same: ", element("code", plan.refusals[0].override))
    opened = 0
    for title, actions in sections(plan):
        yield element("h3", f"{title} ({len(actions):,})")
        items = []
        for action in actions[:ACTIONS]:
            items.append(element("li", _action(action, plan, opened=opened < _OPEN)))
            opened += bool(action.changes)
        yield element("ul", items, class_="actions")
        yield more(len(actions) - ACTIONS, "actions")
    kept = [a for a in plan.actions if a.unchanged]
    if kept:
        yield element("h3", f"Unchanged ({len(kept):,})")
        yield element("ul", [element("li", line.strip()) for line in kept_lines(kept)])
    if uploads := uploads_line(plan):
        yield element("p", uploads)
    if plan.unsettled:
        yield element("h3", f"To be settled first ({len(plan.unsettled):,})")
        yield element("p", "The outcome of their last submission is unknown: ", ", ".join(plan.unsettled[:ACTIONS]))
    if plan.warnings:
        yield element("h3", f"Warnings ({len(plan.warnings):,})")
        yield element("ul", [element("li", warning) for warning in plan.warnings[:ACTIONS]])
        yield more(len(plan.warnings) - ACTIONS, "warnings")


def _action(action: Action, plan: Plan, *, opened: bool) -> Iterator[Child]:
    word = "blocked" if action.blocked else action.action
    mark = element("span", MARKS[word][0], class_="mark", aria_hidden="true")
    kind = element("span", mark, " ", word, class_="kind", data_k=word)
    # A spec that is gone is not in the commit that the plan was made from.
    place = spec(plan.source if action.line else None, action.spec_path, action.line)
    yield element("p", kind, " ", element("strong", action.name), ": ", action.told, " ", place)
    if action.override:
        yield element("p", "To do it all the same: ", element("code", action.override), class_="quiet")
    if action.changes:
        fields = plural(len(action.changes), "changed field")
        yield element(
            "details", element("summary", fields), _changes(action.changes, f"{fields} of {action.name}"), open=opened
        )


def _changes(changes: Sequence[Change], caption: str) -> Iterator[Child]:
    rows = (row(element("code", c.path), *_before_and_after(c)) for c in changes[:FIELDS])
    yield table(caption, ("Field", "Before", "After"), rows, class_="changes")
    yield more(len(changes) - FIELDS, "fields")


def _before_and_after(change: Change) -> tuple[Html, Html]:
    absent = element("span", "not there", class_="quiet")
    before = absent if change.op == "add" else element("del", element("code", _value(change.before)))
    after = absent if change.op == "remove" else element("ins", element("code", _value(change.after)))
    return before, after


def _value(value: Any) -> str:
    return one_line(json.dumps(value, ensure_ascii=False), _VALUE)
