"""What a person asks for by name → a plan: cancel, retry, move, forget, and adopt what a listing shows.

Pure, as `plan` is, and the result is the same kind of plan: it is shown, asked about and carried out in the same way.
What the specs ask for decides nothing here; a warning says what the next apply will make of it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from reconciler.actions import PASSIVE, Action, ActionKind, Plan
from reconciler.check import did_you_mean
from reconciler.errors import PlanRefused
from reconciler.facts import PlanOptions
from reconciler.globs import expand, not_recorded, one_name, with_names
from reconciler.guards import Extent, Guard, refusals, with_name
from reconciler.job import (
    DesiredJob,
    Gone,
    JobStatus,
    Observation,
    ObservedJob,
    RecordedJob,
    Seen,
    Source,
    State,
    Unreachable,
    is_terminal,
)
from reconciler.text import one_line, plural

_UNSETTLED = "the outcome of its last submission is unknown; it is settled before anything else"


@dataclass(frozen=True, slots=True)
class Facts:
    """What such a plan is made from. `desired` is empty where the specs do not matter, or cannot be read."""

    state: State
    observed: Mapping[str, Observation] = field(default_factory=dict)
    unresolved: Mapping[str, str] = field(default_factory=dict)
    """Fingerprints of submissions whose outcome is unknown, by name."""
    desired: Mapping[str, DesiredJob] = field(default_factory=dict)
    source: Source | None = None


_Decide: TypeAlias = Callable[[str, RecordedJob, str], Action]
"""Name, record and status → action."""


def recorded_names(facts: Facts, typed: Sequence[str]) -> tuple[str, ...]:
    """The recorded names that were typed, globs expanded. Raises `PlanRefused` when one fits nothing."""
    known = facts.state.jobs.keys() | facts.unresolved.keys()
    return expand(typed, known, not_recorded, "'reconciler state list' lists what is recorded")


def plan_cancel(facts: Facts, typed: Sequence[str], how: PlanOptions) -> Plan:
    """Cancel jobs in flight, and keep their records. Jobs that have ended are left as they are."""

    def decide(name: str, have: RecordedJob, status: str) -> Action:
        if is_terminal(status):
            return _action(name, have, "keep", f"has ended ({status})", status=status)
        if _protected(name, have, facts) and name not in how.unprotect:
            return _blocked(name, have, "cancel", f"protected, so not cancelled; {have.job_id} is {status}", how)
        more: dict[str, Any] = {
            "status": status,
            "cancels": True,
            "by_hand": True,
            "cause": "hand",
            "attempt": have.attempts,
        }
        return _action(name, have, "cancel", f"asked for; cancels {have.job_id} ({status})", **more)

    return _plan(facts, [_about(name, facts, decide) for name in recorded_names(facts, typed)], how)


def plan_retry(facts: Facts, typed: Sequence[str], how: PlanOptions) -> Plan:
    """Run jobs again that FAILED or were CANCELLED, whatever attempts their specs allow.

    Raises `PlanRefused` for a job named as it is that cannot be run again; of those that a glob finds it is kept.
    """

    def decide(name: str, have: RecordedJob, status: str) -> Action:
        if status not in (JobStatus.FAILED, JobStatus.CANCELLED):
            return _action(name, have, "keep", "up to date" if is_terminal(status) else "in progress", status=status)
        if _suspended(name, facts):
            return _action(name, have, "keep", f"{status.lower()}; suspended", status=status)
        attempt = have.attempts + 1
        reason = f"asked for; {status.lower()}; attempt {attempt}"
        return _action(name, have, "retry", reason, status=status, attempt=attempt, by_hand=True)

    actions = [_about(name, facts, decide) for name in recorded_names(facts, typed)]
    if refused := [a for a in actions if a.action == "keep" and a.name in typed and _cannot_run_again(a, facts)]:
        told = [_cannot_run_again(a, facts) or "" for a in refused]
        raise PlanRefused(told[0], _instead(refused[0], facts), told[1:])
    changed = [a.name for a in actions if a.action == "retry" and _asks_for_other(a, facts)]
    warnings = [f"{name}: its spec has changed since; it is run as it was submitted" for name in changed]
    return _plan(facts, actions, how, warnings)


def _asks_for_other(action: Action, facts: Facts) -> bool:
    want = facts.desired.get(action.name)
    return want is not None and want.fingerprint != action.fingerprint


def _cannot_run_again(action: Action, facts: Facts) -> str | None:
    """Why the platform cannot run the job again; None when that is not known."""
    have, seen = facts.state.jobs.get(action.name), facts.observed.get(action.name)
    if have is None or action.name in facts.unresolved or isinstance(seen, Unreachable):
        return None
    if _gone(have, seen):
        return f"{action.name!r} cannot be run again: {have.job_id} is gone from the platform"
    if action.status in (JobStatus.FAILED, JobStatus.CANCELLED):
        return f"{action.name!r} is not run again: its spec has suspend: true, so the next plan would cancel it"
    return f"{action.name!r} is not run again: {have.job_id} neither FAILED nor was CANCELLED, it is {action.status}"


def _instead(action: Action, facts: Facts) -> str:
    """What to do about a job that is not run again as it is."""
    if _suspended(action.name, facts):
        place = facts.desired[action.name].location
        return f"remove reconcile.suspend from its spec first: {one_line(f'{place.path}:{place.line}')}"
    return f"to submit it anew, as another job: {with_name(('reconciler', 'apply'), '--replace', action.name)}"


def _suspended(name: str, facts: Facts) -> bool:
    want = facts.desired.get(name)
    return want is not None and want.policy.suspend


def plan_forget(facts: Facts, typed: Sequence[str], how: PlanOptions) -> Plan:
    """Drop records; the platform's jobs are left alone."""

    def decide(name: str, have: RecordedJob, status: str) -> Action:
        if _protected(name, have, facts) and name not in how.unprotect:
            return _blocked(name, have, "forget", f"protected, so not forgotten; {have.job_id} is {status}", how)
        return _action(name, have, "forget", f"asked for; {have.job_id} ({status}) is left alone", status=status)

    actions = [_about(name, facts, decide, recorded_only=True) for name in recorded_names(facts, typed)]
    again = [a.name for a in actions if a.action == "forget" and a.name in facts.desired]
    warnings = [f"{name}: its spec is there, so the next apply submits it again" for name in again]
    return _plan(facts, actions, how, warnings)


def plan_move(facts: Facts, old: str, new: str, how: PlanOptions) -> Plan:
    """Give the record of `old` the name `new`. Raises `PlanRefused` when that cannot be."""
    jobs = facts.state.jobs
    expand([old], jobs, not_recorded, "'reconciler state list' lists what is recorded")
    have = jobs.get(old)
    if have is None:
        raise PlanRefused(f"{old!r} stands for several names", "a record is renamed alone: give its name")
    if new in jobs:
        hint = f"forget that record first, if that is meant: {with_names(('reconciler', 'state', 'rm'), [new])}"
        raise PlanRefused(f"{new!r} is recorded already, as {jobs[new].job_id}", hint)
    for name in (old, new):
        if name in facts.unresolved:
            raise PlanRefused(f"{name!r}: {_UNSETTLED}", "'reconciler settle' finds out")
    want = facts.desired.get(new)
    place = {"spec_path": want.location.path, "line": want.location.line} if want else {}
    protected = want.policy.protect if want else have.protect
    reason = f"renamed from {old}, as asked for; nothing is submitted"
    action = _action(new, have, "move", reason, moved_from=old, protected=protected, **place)
    return _plan(facts, [action], how, list(_move_warnings(facts, have, old, new)))


def _move_warnings(facts: Facts, have: RecordedJob, old: str, new: str) -> Iterator[str]:
    want, before = facts.desired.get(new), facts.desired.get(old)
    if want is None and before is not None and before.fingerprint == have.fingerprint:
        yield (
            f"{new}: no spec has this name, and that of {old} asks for the same: unless you rename it, too, the next "
            "apply moves the record back"
        )
        return
    if want is None:
        yield f"{new}: no spec has this name, so the next plan shows it as an orphan"
    elif want.fingerprint != have.fingerprint:
        yield f"{new}: its spec asks for something else than {have.job_id}, so the next apply replaces it"
    if before is not None:
        yield f"{old}: its spec is there, so the next apply submits it as new"


def plan_adopt(
    facts: Facts,
    names: Sequence[str],
    found: Mapping[str, Sequence[ObservedJob]],
    near: Mapping[str, str],
    how: PlanOptions,
) -> Plan:
    """Take over the one identical job of each of `names`; what several jobs fit is named and left.

    `found`: the identical jobs of each name that the platform has; `near`: why others with a name are not.
    """
    actions, warnings = [], []
    if missing := [one_line(name, 60) for name in names if name not in found]:
        told = ", ".join(missing[:5]) + (f" and {len(missing) - 5:,} more" if len(missing) > 5 else "")
        warnings.append(f"the platform has no job with the name of {plural(len(missing), 'spec')}: {told}")
    for name in names:
        jobs = found.get(name, ())
        if len(jobs) == 1:
            actions.append(_adoption(facts.desired[name], jobs[0]))
        elif jobs:
            ids = ", ".join(job.id for job in jobs[:5]) + (", …" if len(jobs) > 5 else "")
            told = f"{len(jobs)} identical jobs are on the platform, and none is taken over: {ids}"
            warnings.append(f"{name}: {told}; choose one: {with_names(('reconciler', 'import'), [name])} JOB_ID")
        elif name in near:
            warnings.append(f"{name}: {near[name]}")
    return _plan(facts, actions, how, warnings)


def _adoption(want: DesiredJob, job: ObservedJob) -> Action:
    since = f", created {job.created_at}" if job.created_at else ""
    return Action(
        name=want.name,
        action="adopt",
        reason=f"found on the platform: {job.id}, {job.status}{since}",
        spec_path=want.location.path,
        line=want.location.line,
        job_id=job.id,
        status=job.status,
        fingerprint=want.fingerprint,
        request=want.request,
        secrets=dict.fromkeys(want.env, ""),
        protected=want.policy.protect,
        observed=job.raw,
        by_hand=True,
    )


def _about(name: str, facts: Facts, decide: _Decide, *, recorded_only: bool = False) -> Action:
    """What is decided about a name, unless it is not known how its job is; `recorded_only`: that does not matter."""
    have, seen = facts.state.jobs.get(name), facts.observed.get(name)
    if name in facts.unresolved or have is None:
        return _action(name, have, "keep", _UNSETTLED)
    status = seen.job.status if isinstance(seen, Seen) else have.status
    if recorded_only:
        return decide(name, have, status)
    if _gone(have, seen):
        return _action(name, have, "keep", "gone from the platform", status=status)
    if isinstance(seen, Unreachable):
        return _action(name, have, "keep", f"not observed: {seen.reason}", status=status)
    return decide(name, have, status)


def _protected(name: str, have: RecordedJob, facts: Facts) -> bool:
    """While there is a spec, its word counts; then that which is recorded."""
    want = facts.desired.get(name)
    return want.policy.protect if want is not None else have.protect


def _gone(have: RecordedJob, seen: Observation | None) -> bool:
    return isinstance(seen, Gone) or (have.gone and not isinstance(seen, Seen))


def _in_flight(have: RecordedJob, seen: Observation | None) -> bool:
    status = seen.job.status if isinstance(seen, Seen) else have.status
    return not _gone(have, seen) and not is_terminal(status)


def _action(name: str, have: RecordedJob | None, kind: ActionKind, reason: str, **more: Any) -> Action:
    known: dict[str, Any] = {}
    if have is not None:
        known = {
            "spec_path": have.spec_path,
            "line": have.line,
            "job_id": have.job_id,
            "status": have.status,
            "fingerprint": have.fingerprint,
            "protected": have.protect,
        }
    return Action(name=name, action=kind, reason=reason, **{**known, **more})


def _blocked(name: str, have: RecordedJob, blocked: ActionKind, reason: str, how: PlanOptions) -> Action:
    override = with_name(how.command, "--unprotect", name)
    return _action(name, have, "keep", reason, blocked=blocked, override=override)


def _plan(facts: Facts, actions: Sequence[Action], how: PlanOptions, warnings: Sequence[str] = ()) -> Plan:
    """A plan of `actions`, within the limits. Raises `PlanRefused` when `--unprotect` names no record."""
    state = facts.state
    for name in sorted(how.unprotect - state.jobs.keys()):
        one_name(name, state.jobs, "--unprotect takes names only")
        raise PlanRefused(f"--unprotect {name!r}: no job of this name is recorded", did_you_mean(name, state.jobs))
    in_flight = sum(_in_flight(record, facts.observed.get(name)) for name, record in state.jobs.items())
    extents: Mapping[Guard, Extent] = {
        "max_submissions": Extent(sorted(a.name for a in actions if a.action == "retry"), len(state.jobs)),
        "max_cancellations": Extent(sorted(a.name for a in actions if a.cancels), in_flight),
    }
    return Plan(
        lineage=state.lineage if state.serial else None,
        serial=state.serial,
        endpoint=state.endpoint,
        source=facts.source,
        actions=tuple(sorted(actions, key=lambda a: (a.action in PASSIVE, a.name))),
        warnings=tuple(warnings),
        refusals=refusals(how.limits, extents, how.command),
        unsettled=tuple(sorted(facts.unresolved.keys() & {a.name for a in actions})),
    )
