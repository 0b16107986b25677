"""What a plan does, in the order in which a reviewer should read it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from reconciler.actions import Action, Plan

_SECTIONS: Sequence[tuple[str, Callable[[Action], bool]]] = (
    ("Cancels running work", lambda a: a.cancels and a.fault is None),
    ("Refused as things are, and nothing is cancelled for it", lambda a: a.cancels),
    ("Blocked by reconcile.protect: --unprotect NAME overrides it", lambda a: a.blocked is not None),
    ("Creates", lambda a: a.action == "create"),
    ("Replaces", lambda a: a.action == "replace"),
    ("Retries", lambda a: a.action == "retry"),
    ("Only recorded: nothing is submitted or cancelled", lambda a: a.action in ("adopt", "move", "forget")),
    ("Orphans: their specs are gone", lambda a: a.action == "orphan"),
)


def sections(plan: Plan) -> list[tuple[str, list[Action]]]:
    """Titles and actions, each action once; what is unchanged is left out, and so are sections without actions."""
    left = [a for a in plan.actions if not a.unchanged]
    found = []
    for title, belongs in _SECTIONS:
        if actions := [a for a in left if belongs(a)]:
            found.append((title, actions))
        left = [a for a in left if not belongs(a)]
    return found
