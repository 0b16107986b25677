"""`cancel`, `retry`, `state mv`, `state rm`, `import --all`: what a person asks for by name, shown as a plan first."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from reconciler.actions import Plan
from reconciler.apply import Outcome
from reconciler.byhand import (
    Facts,
    plan_adopt,
    plan_cancel,
    plan_forget,
    plan_move,
    plan_retry,
    recorded_names,
)
from reconciler.chains import in_order, source_names
from reconciler.client import Client
from reconciler.errors import ExitCode, PlanRefused, PlatformError
from reconciler.facts import PlanOptions, known_ids
from reconciler.globs import expand
from reconciler.job import DesiredJob, JobStatus, Observation, ObservedJob, Unreachable, is_terminal
from reconciler.observe import difference, identical, observe, whole
from reconciler.reconcile.applying import Applied, held_back, one_round, refuse
from reconciler.reconcile.asking import CANNOT_LIST
from reconciler.reconcile.planning import PlanRequest, checked_out, desired_jobs, source_of
from reconciler.reconcile.reading import read_specs
from reconciler.reconcile.session import Session, hidden, open_names, open_session, unknown_hint
from reconciler.reconcile.settings import Settings
from reconciler.reconcile.watching import Hooks, observation_entries
from reconciler.record import fold
from reconciler.signals import Stop
from reconciler.transfer import as_sent


async def cancel(
    settings: Settings, paths: Sequence[Path], names: Sequence[str], how: PlanOptions, stop: Stop, hooks: Hooks
) -> Applied:
    """Cancel the jobs of `names`, which may be globs, and keep their records. Raises `PlanRefused`, `PlatformError`."""
    return await _about_platform(settings, paths, names, how, stop, hooks, plan_cancel)


async def retry(
    settings: Settings, paths: Sequence[Path], names: Sequence[str], how: PlanOptions, stop: Stop, hooks: Hooks
) -> Applied:
    """Run jobs again that FAILED or were CANCELLED. Raises `PlanRefused`, `PlatformError`."""
    return await _about_platform(settings, paths, names, how, stop, hooks, plan_retry)


async def _about_platform(
    settings: Settings,
    paths: Sequence[Path],
    names: Sequence[str],
    how: PlanOptions,
    stop: Stop,
    hooks: Hooks,
    decide: Callable[[Facts, Sequence[str], PlanOptions], Plan],
) -> Applied:
    desired, note = _specs(settings, paths)
    async with open_session(settings) as session:
        facts = Facts(session.state, unresolved=open_names(session.intents), desired=desired)
        meant = [name for name in recorded_names(facts, names) if name in session.state.jobs]
        records = {name: session.state.jobs[name] for name in meant}
        # Of one that has ended the platform is asked when something is done about it.
        going = {name: r.job_id for name, r in records.items() if not is_terminal(r.status)}
        observed = await observe(session.client, going)
        files = {r.spec_path for r in records.values() if (settings.root / r.spec_path).exists()}
        facts = replace(facts, observed=observed, source=checked_out(settings, files))
        return await _carry_out(session, _noted(decide(facts, names, how), note), observed, stop, hooks)


async def forget(
    settings: Settings, paths: Sequence[Path], names: Sequence[str], how: PlanOptions, stop: Stop, hooks: Hooks
) -> Applied:
    """Drop the records of `names`, which may be globs; the platform is left alone. Raises `PlanRefused`."""
    desired, note = _specs(settings, paths)
    async with open_session(settings) as session:
        facts = _facts(session, desired)
        return await _carry_out(session, _noted(plan_forget(facts, names, how), note), {}, stop, hooks)


async def move(
    settings: Settings, paths: Sequence[Path], old: str, new: str, how: PlanOptions, stop: Stop, hooks: Hooks
) -> Applied:
    """Give the record of `old` the name `new`. Raises `PlanRefused`."""
    desired, note = _specs(settings, paths)
    async with open_session(settings) as session:
        facts = _facts(session, desired)
        return await _carry_out(session, _noted(plan_move(facts, old, new, how), note), {}, stop, hooks)


async def adopt_all(
    settings: Settings, paths: Sequence[Path], names: Sequence[str], how: PlanOptions, stop: Stop, hooks: Hooks
) -> Applied:
    """Record the platform's jobs that are what specs without a record ask for: of `names`, or of all specs.

    Raises `SpecError`, `PlanRefused`, `PlatformError`.
    """
    desired, _ = desired_jobs(settings, PlanRequest(tuple(paths)))
    meant = expand(names or sorted(desired), desired, lambda one: f"no spec has the name {one!r}")
    async with open_session(settings) as session:
        session.client.secrets = session.client.secrets.joined(hidden(settings, desired, session.state))
        facts = _facts(session, desired)
        new = {n: desired[n] for n in meant if n not in session.state.jobs and n not in facts.unresolved}
        found, near = await _unrecorded(session, new)
        made = plan_adopt(facts, list(new), found, near, how)
        return await _carry_out(session, made, {}, stop, hooks)


def _facts(session: Session, desired: Mapping[str, DesiredJob]) -> Facts:
    source = source_of(session.settings, desired)
    return Facts(session.state, {}, open_names(session.intents), desired, source)


def _specs(settings: Settings, paths: Sequence[Path]) -> tuple[dict[str, DesiredJob], str | None]:
    """What the specs ask for, to warn of what comes next. Broken ones keep nobody from mending the record."""
    desired, diagnostics, _ = read_specs(settings, paths)
    broken = any(d.severity == "error" and d.code not in ("no-specs", "no-such-path") for d in diagnostics)
    if broken:
        return {}, "the specs have errors ('reconciler validate'), so what they make of this is not told"
    return desired, None


def _noted(made: Plan, note: str | None) -> Plan:
    return made.model_copy(update={"warnings": (*made.warnings, note)}) if note else made


async def _unrecorded(
    session: Session, desired: Mapping[str, DesiredJob]
) -> tuple[dict[str, list[ObservedJob]], dict[str, str]]:
    """Platform jobs that are recorded nowhere and are what `desired` asks for, and what keeps others with their names
    from being that. Raises `PlatformError`.
    """
    client, known = session.client, known_ids(session.state)
    listed: dict[str, list[ObservedJob]] = {}
    try:
        async for job in client.jobs():
            if job.name in desired and job.id not in known:
                listed.setdefault(job.name, []).append(job)
    except PlatformError as error:
        if error.status not in CANNOT_LIST:
            raise
        hint = "name each job: reconciler import NAME JOB_ID"
        raise PlanRefused("the platform cannot list its jobs, so none can be looked for", hint) from error
    found: dict[str, list[ObservedJob]] = {}
    near: dict[str, str] = {}
    completed = {n: r.job_id for n, r in session.state.jobs.items() if r.status == JobStatus.COMPLETED}
    for names in _stages({n: d for n, d in desired.items() if n in listed}):
        compared = await asyncio.gather(*(_compared(client, desired[n], listed[n], completed) for n in names))
        for name, (same, what) in zip(names, compared, strict=True):
            found[name] = same
            if what is not None:
                near[name] = what
            if len(same) == 1 and same[0].status == JobStatus.COMPLETED:
                completed[name] = same[0].id
    return found, near


def _stages(desired: Mapping[str, DesiredJob]) -> list[list[str]]:
    """Jobs that take nothing from others, all at once; then the others one by one, after those that they take from."""
    order, _ = in_order({name: want.needs for name, want in desired.items()})
    alone = [name for name in order if not source_names(desired[name].request)]
    return [alone, *([name] for name in order if source_names(desired[name].request))]


async def _compared(
    client: Client, want: DesiredJob, jobs: Sequence[ObservedJob], completed: Mapping[str, str]
) -> tuple[list[ObservedJob], str | None]:
    """Those of `jobs` that are what the spec asks for; if none is, what tells the newest from it."""
    request = await as_sent(client, want.request, completed)
    if request is None:
        return [], f"{jobs[0].id} has its name, but the jobs that it takes from are not known to have COMPLETED"
    same = await identical(client, want.name, request, jobs)
    if same:
        return same, None
    newest = max(jobs, key=lambda job: (job.created_at or "", job.id))
    what = await difference(client, want.name, request, await whole(client, newest))
    return [], f"{newest.id} has its name, but is another job: other {what}; it is left alone"


async def _carry_out(
    session: Session, made: Plan, observed: Mapping[str, Observation], stop: Stop, hooks: Hooks
) -> Applied:
    """Review, act, record. What is recorded goes through the journal, as with `apply`."""
    approved = hooks.review(made)
    refuse(made)
    if not approved:
        return Applied(made, approved=False, notes=session.notes)
    seen = observation_entries(observed, session.state.jobs, session.settings)[0]
    session.state = fold(session.state, seen).state
    outcomes: dict[str, Outcome] = {}
    if made.pending():
        hooks.begin(made)
        outcomes = await one_round(session, made.pending(), made.source, stop, hooks)
    outcomes |= {a.name: held_back(a) for a in made.blocked()}
    for name in made.unsettled:
        why, hint = session.unresolved.get(name, "it is not settled"), unknown_hint(name)
        outcomes[name] = Outcome(name, "keep", "unknown", error=why, hint=hint, exit_code=ExitCode.UNKNOWN)
    session.save(session.state)
    names = {a.name for a in made.actions}
    return Applied(
        made,
        tuple(outcomes.values()),
        {n: r for n, r in sorted(session.state.jobs.items()) if n in names},
        left=stop.error(),
        notes=session.notes,
        unobserved=sum(isinstance(answer, Unreachable) for answer in observed.values()),
        serial=session.state.serial,
    )
