"""`explain`: where a job comes from, and what the next plan would do about it. It touches nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from reconciler.check import did_you_mean
from reconciler.errors import Diagnostic, PlanRefused
from reconciler.explanation import (
    Explanation,
    NextAction,
    explained_jobs,
    find,
    ids,
    next_action,
    open_submission,
)
from reconciler.facts import Facts, PlanOptions
from reconciler.job import DesiredJob, State
from reconciler.plan import make_plan
from reconciler.reconcile.reading import read_specs
from reconciler.reconcile.session import folded_record, open_names, read_record
from reconciler.reconcile.settings import Settings
from reconciler.record import Folded
from reconciler.secrets import digests
from reconciler.text import plural


def explain(settings: Settings, paths: Sequence[Path], asked: str) -> Explanation:
    """Everything that is known of the name or job id `asked`, without lock and without network.

    Specs that are broken only leave the next plan open. Raises `PlanRefused` when nothing is known of `asked`, and
    `StateError`.
    """
    state, leftover = read_record(settings)
    folded = folded_record(state, leftover, settings)
    desired, diagnostics, _ = read_specs(settings, paths)
    errors = [d for d in diagnostics if d.severity == "error"]
    unsettled = {intent.name: intent for intent in folded.unresolved}
    found = find(asked, folded.state, desired.keys() | unsettled.keys())
    if found is None:
        raise _unknown(asked, folded.state, [*desired, *unsettled], broken=bool(errors))
    name = found.name
    record, intent = folded.state.jobs.get(name), unsettled.get(name)
    return Explanation(
        asked=asked,
        found_as=found.found_as,
        name=name,
        job_id=found.job_id,
        jobs=explained_jobs(name, record),
        unsettled=open_submission(intent, record) if intent else None,
        next=_no_plan(name, errors) if errors else _next(settings, name, desired, folded),
        notes=found.notes,
    )


def _next(settings: Settings, name: str, desired: Mapping[str, DesiredJob], folded: Folded) -> NextAction:
    state = folded.state
    if name not in desired and name not in state.jobs:
        return NextAction(name=name, reason="no spec has this name any more, and its submission is to be settled first")
    variables = {variable for job in desired.values() for variable in job.env}
    digested = digests(state.lineage, variables, settings.environ)
    facts = Facts(desired, state, unresolved=open_names(folded.unresolved), secrets=digested)
    made = make_plan(facts, PlanOptions(targets=frozenset((name,))))
    warnings = made.warnings
    (action,) = made.actions
    if action.action == "create" and not state.searched:
        note = "on a first run, plan and apply look for an identical job on the platform, and take it over"
        warnings = (*warnings, note)
    return next_action(action, state.jobs, warnings)


def _no_plan(name: str, errors: Sequence[Diagnostic]) -> NextAction:
    first = errors[0]
    where = f"{first.location}: " if first.location and first.location.line else ""
    more = f" (and {plural(len(errors) - 1, 'more error')}: 'reconciler validate')" if len(errors) > 1 else ""
    return NextAction(name=name, reason=f"the specs are not valid: {where}{first.summary}{more}")


def _unknown(asked: str, state: State, others: Iterable[str], *, broken: bool) -> PlanRefused:
    known = [*state.jobs, *others]
    known_ids = [job_id for record in state.jobs.values() for job_id in ids(record)]
    half = len(asked) // 2  # of an id with one wrong character, one half is right
    near_ids = [job_id for job_id in known_ids if asked[:half] in job_id or asked[half:] in job_id] if half > 2 else []
    hint = did_you_mean(asked, known) or did_you_mean(asked, near_ids) or "'reconciler status' lists the jobs"
    details = ["the specs have errors, and it may be among those: 'reconciler validate' shows them"] if broken else []
    message = f"{asked!r} is neither the name of a spec or a record, nor the id of a recorded job"
    return PlanRefused(message, hint, details)
