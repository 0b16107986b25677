"""Which jobs wait for which, and whose outputs they take. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from reconciler.actions import SUBMITS, Action
from reconciler.chains import source_names
from reconciler.facts import Facts, standing
from reconciler.job import (
    JobStatus,
    is_terminal,
)


def waiting(action: Action, actions: Mapping[str, Action], facts: Facts) -> Action:
    """`action` with the jobs that it waits for, or those that it takes from, when its job needs others."""
    want = facts.desired.get(action.name)
    if want is None or not want.needs or action.action not in SUBMITS:
        return action
    completed = {name: _completed(name, actions, facts) for name in sorted(want.needs)}
    if all(completed.values()):
        taken = {name: job_id for name, job_id in completed.items() if job_id and name in source_names(want.request)}
        return action.model_copy(update={"sources": taken})
    missing = tuple(name for name, job_id in completed.items() if not job_id)
    told = ", ".join(f"{name} ({_state_of(name, actions, facts)})" for name in missing[:5])
    more = f" and {len(missing) - 5} more" if len(missing) > 5 else ""
    return action.model_copy(
        update={"waits_for": missing, "reason": f"{action.reason}; waits for {told}{more}"},
    )


def _completed(name: str, actions: Mapping[str, Action], facts: Facts) -> str | None:
    """The id of the job of `name`, if it has COMPLETED and is what its spec asks for."""
    action = actions.get(name)
    have = facts.state.jobs.get(action.moved_from or name if action else name)
    if have is None or (action and action.action not in ("keep", "move")):
        return None
    status, gone = standing(have, facts.observed.get(name))
    want = facts.desired.get(name)
    same = want is not None and want.fingerprint == have.fingerprint
    return have.job_id if status == JobStatus.COMPLETED and same and not gone else None


def _state_of(name: str, actions: Mapping[str, Action], facts: Facts) -> str:
    """In a word, why a job is not there yet."""
    action = actions.get(name)
    if action is not None and action.action in ("create", "replace", "retry", "adopt"):
        return f"to {action.action}"
    have = facts.state.jobs.get(name)
    if have is None:
        return "not submitted"
    status, gone = standing(have, facts.observed.get(name))
    return "gone" if gone else status if not is_terminal(status) or status != JobStatus.COMPLETED else "changed"
