"""Desired, recorded and observed jobs → a plan of actions, each with its reason.

Pure: it reads no file, no clock and no platform, and its result does not depend on the order of its input. The
decision table is section 4 of the contract; `_decide` follows it row by row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from reconciler.actions import Action, ActionKind, Plan
from reconciler.cautions import duplicates, not_set, warnings
from reconciler.chains import source_names
from reconciler.compare import compare
from reconciler.facts import (
    Facts,
    PlanOptions,
    changed_secrets,
    latest_of,
    newer_than,
    older_sources,
    secrets_of,
    standing,
)
from reconciler.guards import Extent, Guard, Refusal, refusals, with_name
from reconciler.job import (
    DesiredJob,
    JobStatus,
    RecordedJob,
    Seen,
    Unreachable,
    is_terminal,
)
from reconciler.naming import moves_of, named
from reconciler.policies import Ending, again, ending
from reconciler.text import plural
from reconciler.waits import paused, waiting


def make_plan(facts: Facts, how: PlanOptions = PlanOptions(), /, **about: Any) -> Plan:
    """Decide about every desired and every recorded job. `about` fills the plan's other fields.

    Raises `PlanRefused` when an option names a job that does not exist.
    """
    how = named(facts, how)
    moves = moves_of(facts)
    names = sorted((facts.desired.keys() | facts.state.jobs.keys()) - moves.keys() - facts.elsewhere)
    if how.targets:
        sources = {new: old for old, new in moves.items()}
        names = [n for n in names if n in how.targets or sources.get(n) in how.targets]
    sources = {new: old for old, new in moves.items()}
    actions = [paused(_decide(name, facts, how, sources.get(name)), facts) for name in names]
    by_name = {action.name: action for action in actions}
    actions = [waiting(action, by_name, facts) for action in actions]
    return Plan(
        lineage=facts.state.lineage if facts.state.serial else None,
        serial=facts.state.serial,
        endpoint=facts.state.endpoint,
        actions=tuple(sorted(actions, key=lambda a: (_rank(a), a.name))),
        warnings=(
            *duplicates(actions, facts),
            *not_set(names, facts),
            *(w for name in names for w in warnings(name, facts, how.replace | how.follow)),
        ),
        refusals=_refusals(actions, facts, how),
        unsettled=tuple(sorted(facts.unresolved)),
        **about,
    )


_RANKS = {
    "create": 1,
    "replace": 1,
    "retry": 1,
    "adopt": 2,
    "move": 2,
    "forget": 2,
    "orphan": 3,
    "keep": 4,
    "cancel": 0,
}


def _rank(action: Action) -> int:
    """What cancels comes first, then what submits, then bookkeeping, then what does nothing."""
    if action.cancels:
        return 0
    return _RANKS[action.action]


def _refusals(actions: Sequence[Action], facts: Facts, options: PlanOptions) -> tuple[Refusal, ...]:
    """What is beyond the limits that the plan was asked to keep to."""
    old_names = [a.moved_from or a.name for a in actions]
    known = [standing(facts.state.jobs[n], facts.observed.get(n)) for n in old_names if n in facts.state.jobs]
    in_flight = sum(not gone and not is_terminal(status) for status, gone in known)
    submitted = sorted(a.name for a in actions if a.action in ("create", "replace", "retry"))
    cancelled = sorted(a.name for a in actions if a.cancels)
    extents: Mapping[Guard, Extent] = {
        "max_submissions": Extent(submitted, len(known)),
        "max_cancellations": Extent(cancelled, in_flight),
    }
    return refusals(options.limits, extents, options.command)


def _decide(name: str, facts: Facts, options: PlanOptions, moved_from: str | None) -> Action:
    """The action, and what it changes about the protection of the job."""
    action = _decide_kind(name, facts, options, moved_from)
    have = facts.state.jobs.get(moved_from or name)
    if have is not None and have.protect != action.protected and not action.blocked:
        now = "protected from now on" if action.protected else "no longer protected"
        return action.model_copy(update={"reason": f"{action.reason}; {now}"})
    return action


def _decide_kind(name: str, facts: Facts, options: PlanOptions, moved_from: str | None) -> Action:
    want, have = facts.desired.get(name), facts.state.jobs.get(name)
    if name in facts.unresolved:
        reason = "the outcome of its last submission is unknown; it is settled before anything else"
        return _action(name, "keep", reason, want, have)
    if moved_from is not None and want is not None:
        return _decide_moved(want, moved_from, facts, options)
    if have is None:
        assert want is not None
        return _decide_new(want, facts)
    seen = facts.observed.get(name)
    status, gone = standing(have, seen)
    if want is None:
        return _decide_removed(name, have, status, options, gone=gone)
    if _differs(want, have, facts) or name in options.replace | options.follow:
        return _replace(want, have, status, facts, options, gone=gone)
    return _decide_same(want, have, status, facts, options, gone=gone)


def _decide_moved(want: DesiredJob, old: str, facts: Facts, options: PlanOptions) -> Action:
    have = facts.state.jobs[old]
    if not _differs(want, have, facts) and want.name not in options.replace | options.follow:
        reason = f"renamed from {old}; nothing is submitted"
        return _action(want.name, "move", reason, want, have, moved_from=old)
    status, gone = standing(have, facts.observed.get(old))
    action = _replace(want, have, status, facts, options, gone=gone)
    update: dict[str, Any] = {"moved_from": old, "reason": f"renamed from {old}; {action.reason}"}
    if action.generation is not None:  # the record brings its generations along
        update["generation"] = max(action.generation, facts.state.generations.get(old, 0) + 1)
    return action.model_copy(update=update)


def _differs(want: DesiredJob, have: RecordedJob, facts: Facts) -> bool:
    """Whether the spec asks for another job than the recorded one."""
    rerun = want.policy.rerun is not None and want.policy.rerun not in have.reruns
    other = want.fingerprint != have.fingerprint or rerun
    return other or bool(changed_secrets(want, have, facts) or older_sources(want, have, facts))


def _decide_new(want: DesiredJob, facts: Facts) -> Action:
    renamed = [n for n, p in facts.unresolved.items() if p == want.fingerprint and n not in facts.desired]
    if renamed:
        reason = f"it may be the job of {renamed[0]}, whose submission is to be settled first"
        return _action(want.name, "keep", reason, want, None)
    found = facts.found.get(want.name, ())
    if found:
        job = found[0]
        since = f", created {job.created_at}" if job.created_at else ""
        reason = f"found on the platform: {job.id}, {job.status}{since}"
        return _action(
            want.name,
            "adopt",
            reason,
            want,
            None,
            job_id=job.id,
            status=job.status,
            observed=job.raw,
            request=want.request,
            secrets=secrets_of(want, facts),
        )
    if want.policy.suspend:
        return _action(want.name, "keep", "suspended; it is not submitted", want, None)
    return _action(want.name, "create", "new", want, None, **_submission(want, facts))


def _decide_removed(name: str, have: RecordedJob, status: str, options: PlanOptions, *, gone: bool) -> Action:
    ended = gone or is_terminal(status)
    if have.on_remove == "forget" and not ended:
        reason = f"spec removed; {have.job_id} ({status}) is left to itself"
        return _action(name, "forget", reason, None, have, status=status)
    does: Literal["forget", "cancel"] = "forget" if ended else "cancel"
    prune = options.prune or have.on_remove != "prune"
    what = "--prune" if have.on_remove == "prune" else f"on_remove: {have.on_remove}"
    protected = have.protect and name not in options.unprotect
    if not prune:
        reason = f"spec removed; --prune would {does} {have.job_id} ({status})"
        if protected:
            reason = f"spec removed; protected, so --prune would not {does} {have.job_id} ({status})"
        return _action(name, "orphan", reason, None, have, status=status)
    if protected:
        reason = f"protected, so {what} does not {does} {have.job_id} ({status}); spec removed"
        return _blocked(name, "orphan", does, reason, None, have, options, status=status)
    if does == "forget":
        reason = f"spec removed; forgets {have.job_id} ({status})"
        return _action(name, "forget", reason, None, have, status=status)
    return _action(
        name, "cancel", f"spec removed; cancels {have.job_id} ({status})", None, have, status=status, cancels=True
    )


def _decide_same(
    want: DesiredJob, have: RecordedJob, status: str, facts: Facts, options: PlanOptions, *, gone: bool
) -> Action:
    seen = facts.observed.get(want.name)
    if gone:
        reason = "gone from the platform; it is submitted again only with --replace"
        return _action(want.name, "keep", reason, want, have, status=status)
    if isinstance(seen, Unreachable):
        return _action(want.name, "keep", f"not observed: {seen.reason}", want, have, status=status)
    if status == JobStatus.COMPLETED:
        return _action(want.name, "keep", "up to date", want, have, status=status, note=newer_than(want, have, facts))
    job = seen.job.raw if isinstance(seen, Seen) else have.observed
    if not is_terminal(status):
        if end := ending(want.policy, have, status, job, facts.now):
            return _ended(want, have, status, end, options)
        return _action(want.name, "keep", "in progress", want, have, status=status, note=newer_than(want, have, facts))
    once_more = again(want.policy, have, status, job, facts.now)
    if not once_more.runs:
        return _action(want.name, "keep", once_more.reason, want, have, status=status)
    reason = f"{once_more.reason}; {have.job_id}{_error_of(job)}"
    return _action(want.name, "retry", reason, want, have, status=status, attempt=have.attempts + 1)


def _error_of(job: Mapping[str, Any]) -> str:
    """What a job says that it FAILED of, as the end of a sentence."""
    error = job.get("error")
    message = error.get("message") if isinstance(error, Mapping) else None
    return f": {message[:200]}" if isinstance(message, str) and message else ""


def _ended(want: DesiredJob, have: RecordedJob, status: str, end: Ending, options: PlanOptions) -> Action:
    """The cancel of a job whose record stays."""
    if want.policy.protect and want.name not in options.unprotect:
        reason = f"protected, so not cancelled; {end.reason.partition('; ')[0]}"
        return _blocked(want.name, "keep", "cancel", reason, want, have, options, status=status)
    return _action(
        want.name,
        "cancel",
        end.reason,
        want,
        have,
        status=status,
        cancels=True,
        cause=end.cause,
        attempt=have.attempts,
    )


def _suspended(want: DesiredJob, have: RecordedJob, status: str, options: PlanOptions, *, in_flight: bool) -> Action:
    """What would be submitted anew is not; what is in flight is cancelled."""
    if in_flight:
        return _ended(want, have, status, Ending("suspend", f"suspended; cancels {have.job_id} ({status})"), options)
    return _action(want.name, "keep", "changed, but suspended; it is not submitted", want, have, status=status)


def _why_replaced(want: DesiredJob, have: RecordedJob, changes: int, facts: Facts, options: PlanOptions) -> str:
    if want.name in options.replace:
        also = f"; {plural(changes, 'field')} changed" if changes else ""
        return f"asked for with --replace{also}"
    if want.fingerprint == have.fingerprint:
        if secrets := changed_secrets(want, have, facts):
            return f"another value of {', '.join(secrets)}"
        if want.policy.rerun is not None and want.policy.rerun not in have.reruns:
            return f"asked for with rerun: {want.policy.rerun}"
        taken = older_sources(want, have, facts) or sorted(source_names(want.request))
        verb = "is replaced" if want.name in options.follow else "has another job since"
        return f"it takes from {', '.join(taken)}, which {verb}"
    if not changes and (taken := sorted(source_names(want.request))):
        return f"it takes from {', '.join(taken)}, and that has changed"
    return f"{plural(changes, 'field')} changed"


def _replace(
    want: DesiredJob, have: RecordedJob, status: str, facts: Facts, options: PlanOptions, *, gone: bool
) -> Action:
    changes = tuple(compare(have.request, want.request))
    in_flight = not gone and not is_terminal(status)
    if want.policy.suspend:
        return _suspended(want, have, status, options, in_flight=in_flight)
    cancels = in_flight and want.policy.on_change == "cancel"
    reason = _why_replaced(want, have, len(changes), facts, options)
    if in_flight and want.policy.protect and want.name not in options.unprotect:
        reason = f"protected, so not replaced while {have.job_id} is in flight ({status}); {reason}"
        return _blocked(want.name, "keep", "replace", reason, want, have, options, status=status, changes=changes)
    if cancels:
        verb = "would cancel" if want.name in facts.faults else "cancels"
        reason += f"; {verb} {have.job_id} ({status})"
    elif in_flight:
        reason += f"; {have.job_id} ({status}) is left to finish"
    return _action(
        want.name,
        "replace",
        reason,
        want,
        have,
        status=status,
        changes=changes,
        cancels=cancels,
        attempt=have.attempts if cancels else None,
        **_submission(want, facts),
    )


def _submission(want: DesiredJob, facts: Facts) -> dict[str, Any]:
    generation = facts.state.generations.get(want.name, 0) + 1
    version, note = latest_of(want, facts)
    return {
        "note": note,
        "request": want.request,
        "pipeline_version": version,
        "secrets": secrets_of(want, facts),
        "uploads": want.uploads,
        "generation": generation,
        "rerun": want.policy.rerun,
        "fault": facts.faults.get(want.name),
    }


def _blocked(
    name: str,
    kind: ActionKind,
    blocked: ActionKind,
    reason: str,
    want: DesiredJob | None,
    have: RecordedJob,
    options: PlanOptions,
    **more: Any,
) -> Action:
    """An action that does nothing in the place of `blocked`, with what to type to have it done."""
    override = with_name(options.replan or options.command, "--unprotect", name)
    return _action(name, kind, reason, want, have, blocked=blocked, override=override, **more)


def _action(
    name: str,
    kind: ActionKind,
    reason: str,
    want: DesiredJob | None,
    have: RecordedJob | None,
    **more: Any,
) -> Action:
    facts: dict[str, Any] = {
        "spec_path": want.location.path if want else have.spec_path if have else None,
        "line": want.location.line if want else None,
        "job_id": have.job_id if have else None,
        "status": have.status if have else None,
        "fingerprint": want.fingerprint if want else have.fingerprint if have else None,
        "protected": want.policy.protect if want else bool(have and have.protect),
        "on_remove": want.policy.on_remove if want else have.on_remove if have else "prune",
    }
    return Action(name=name, action=kind, reason=reason, **{**facts, **more})
