"""Which jobs wait for which, whose outputs they take, and which wait for a better time. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec.structs import replace

from reconciler.actions import SUBMITS, Action
from reconciler.chains import source_names
from reconciler.facts import Facts, standing
from reconciler.globs import with_names
from reconciler.guards import with_name
from reconciler.job import (
    DesiredJob,
    JobStatus,
    RecordedJob,
    is_terminal,
    timestamp,
)
from reconciler.policies import again
from reconciler.text import one_line


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


def paused(action: Action, facts: Facts) -> Action:
    """`action`, but one that does nothing while the last try of it is too short a time ago.

    A spec that has changed since is tried at once. Without a clock nothing waits.
    """
    pause = facts.pauses.get(action.name)
    if pause is None or pause.fingerprint != action.fingerprint or action.action not in (*SUBMITS, "retry"):
        return action
    if facts.now is None or facts.now >= pause.until:
        return action
    same = action.model_dump(include={"spec_path", "line", "job_id", "status", "fingerprint", "protected", "on_remove"})
    reason = f"{action.reason}; the last try failed, the next is not before {timestamp(pause.until)}: {pause.reason}"
    return Action(name=action.name, action="keep", reason=reason, **same)


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


def until_then(action: Action, desired: Mapping[str, DesiredJob], records: Mapping[str, RecordedJob]) -> str:
    """What to do about an action that waits still: what it waits for may need a person before it can COMPLETE."""
    for name in action.waits_for:
        want, have = desired.get(name), records.get(name)
        if want is None:
            continue
        if want.policy.suspend:
            return f"{one_line(name)} is suspended: it runs when reconcile.suspend is removed from its spec"
        if have is None or want.fingerprint != have.fingerprint:
            continue
        if have.gone:
            line = with_name(("reconciler", "apply"), "--replace", name)
            return f"the platform has lost the job of {one_line(name)}; to submit it anew: {line}"
        if have.status in (JobStatus.FAILED, JobStatus.CANCELLED) and not _runs_again(want, have):
            line = with_names(("reconciler", "retry"), [name])
            return f"nothing runs {one_line(name)} again by itself: {line}; the next apply after that goes on"
    return "the next apply submits it when that has COMPLETED"


def _runs_again(want: DesiredJob, have: RecordedJob) -> bool:
    """Whether an apply runs a job again that ended badly, now or after its back-off."""
    return again(replace(want.policy, backoff=0.0), have, have.status, have.observed, None).runs
