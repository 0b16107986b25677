"""GitLab's code-quality report: what a reviewer should look at, at the line of its spec. Pure."""

from __future__ import annotations

import hashlib
import posixpath
from collections.abc import Iterable, Iterator
from typing import Any, Literal, TypeAlias

from reconciler.actions import Action, Plan
from reconciler.errors import Diagnostic
from reconciler.job import JsonObject
from reconciler.report.plans import change_parts
from reconciler.text import one_line

Severity: TypeAlias = Literal["info", "minor", "major", "critical", "blocker"]

_NOWHERE = "reconciler.yaml"  # GitLab passes over findings without a file
_FIELDS = 3  # changed fields that a finding names
_SEVERITY: dict[str, Severity] = {
    "create": "minor",
    "replace": "major",
    "retry": "major",
    "cancel": "major",
    "orphan": "minor",
    "adopt": "info",
    "move": "info",
    "forget": "info",
    "keep": "major",  # one that is blocked
}


def plan_codequality(plan: Plan) -> list[JsonObject]:
    """A finding for each action that does something, is an orphan or blocked, for each refusal and each warning.

    Cancelling running work is `critical`; a refusal, and a submission whose outcome is unknown, are `blocker`s. Paths
    are relative to the repository's top, as far as the plan knows it. The fingerprint of a finding stays while the plan
    says the same.
    """
    folder = (plan.source.folder if plan.source else None) or ""
    found = [_action(action, folder) for action in plan.actions if not action.unchanged]
    for refusal in plan.refusals:
        text = f"refused: {one_line(refusal.reason)}; to do it all the same: {one_line(refusal.override)}"
        found.append(_finding(refusal.guard, text, "blocker", (), _NOWHERE, None, folder))
    for name in plan.unsettled:
        text = f"the outcome of a submission of {one_line(name)} is unknown; apply finds out first"
        found.append(_finding("unsettled", text, "blocker", (name,), _NOWHERE, None, folder))
    found += [_finding("warning", one_line(w), "minor", (w,), _NOWHERE, None, folder) for w in plan.warnings]
    return found


def diagnostics_codequality(diagnostics: Iterable[Diagnostic]) -> list[JsonObject]:
    """A finding for each diagnostic, whose paths are relative to the repository's top."""
    found, seen = [], dict[tuple[str, ...], int]()
    for d in diagnostics:
        hint = f" ({one_line(d.hint)})" if d.hint else ""
        path = d.location.path if d.location else _NOWHERE
        same = (d.code, path, d.summary)
        seen[same] = seen.get(same, 0) + 1
        # Without the line: what stands above a fault does not make it a new one.
        key = (*same, str(seen[same]))
        line = d.location.line if d.location else None
        severity: Severity = "critical" if d.severity == "error" else "minor"
        found.append(_finding(d.code, f"{one_line(d.summary)}{hint}", severity, key, path, line, ""))
    return found


def _action(action: Action, folder: str) -> JsonObject:
    severity = "critical" if action.cancels else _SEVERITY[action.action]
    verb = "blocked" if action.blocked else action.action
    kind = f"{verb}-cancels-running-work" if action.cancels else verb
    text = "; ".join([f"{verb} {one_line(action.name, 128)}: {one_line(action.told)}", *_fields(action)])
    key = (action.name, action.fingerprint or "")
    return _finding(kind, text, severity, key, action.spec_path or _NOWHERE, action.line, folder)


def _fields(action: Action) -> Iterator[str]:
    yield from (" ".join(text for text, _ in change_parts(change)) for change in action.changes[:_FIELDS])
    if (more := len(action.changes) - _FIELDS) > 0:
        yield f"and {more:,} more fields"


def _finding(
    check: str, text: str, severity: Severity, key: tuple[str, ...], path: str, line: int | None, folder: str
) -> JsonObject:
    location: dict[str, Any] = {"path": posixpath.join(folder, path), "lines": {"begin": line or 1}}
    identity = "\0".join((check, location["path"], *key)).encode(errors="backslashreplace")
    return {
        "description": text,
        "check_name": f"reconciler/{check}",
        "fingerprint": hashlib.sha256(identity).hexdigest(),
        "severity": severity,
        "location": location,
    }
