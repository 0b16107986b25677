"""What the platform says before anything is decided: of jobs in flight and such as may be there already, of files and
versions, and of what it would refuse.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from reconciler.actions import SUBMITS, Action, Plan
from reconciler.chains import in_order
from reconciler.errors import PlatformError, ReconcilerError
from reconciler.facts import PlanOptions, in_flight, known_ids, to_compare
from reconciler.job import DesiredJob, JobStatus, Observation, ObservedJob, State
from reconciler.reconcile.latest import Latest, may_submit_open, read_latest
from reconciler.reconcile.session import read_other
from reconciler.reconcile.settings import Settings
from reconciler.secrets import Secrets

if TYPE_CHECKING:
    from reconciler.client import Client

CANNOT_LIST = frozenset({404, 405, 501})
"""What a platform answers that has no list of jobs. Any other failure may be over in a minute."""


@dataclass(frozen=True, slots=True)
class Word:
    """What the platform says before anything is decided, and what is to be said of it."""

    observed: Mapping[str, Observation] = field(default_factory=dict)
    found: Mapping[str, list[ObservedJob]] = field(default_factory=dict)
    versions: Latest = field(default_factory=Latest)
    notes: tuple[str, ...] = ()


def first_run(state: State, desired: Mapping[str, DesiredJob], *, adopt: bool) -> bool:
    """Whether jobs may be on the platform already that this state has never looked for."""
    return adopt and not state.searched and bool(desired.keys() - state.jobs.keys())


async def ask(
    client: Client,
    settings: Settings,
    options: PlanOptions,
    desired: Mapping[str, DesiredJob],
    state: State,
    unresolved: Mapping[str, str],
    saved: Plan | None,
    *,
    adopt: bool,
) -> Word:
    """Ask for all that a plan is made from. `unresolved`: fingerprints of open submissions by name; `saved`: the plan
    that is carried out; `adopt`: jobs that the specs ask for are looked for, if they never were.

    Raises `PlatformError`.
    """
    from reconciler.identities import content_drift
    from reconciler.observe import last_seen, observe

    observed = await observe(client, in_flight(state.jobs), last_seen(state.jobs))
    new = {n: d for n, d in desired.items() if n not in unresolved and n not in state.jobs}
    found: dict[str, list[ObservedJob]] = {}
    notes: tuple[str, ...] = ()
    if first_run(state, new, adopt=adopt):
        found, notes = await _find(client, new, state, _recorded_elsewhere(settings))
    notes += await content_drift(client, to_compare(desired, state.jobs), options.replace | options.follow)
    versions = await read_latest(client, desired, saved, submits=may_submit_open(desired, state, options))
    return Word(observed, found, versions, notes)


async def foreseen(client: Client | None, settings: Settings, made: Plan, state: State) -> dict[str, ReconcilerError]:
    """What the platform would refuse, by name, as far as that is worth knowing and can be known."""
    submits = [a for a in made.actions if a.action in SUBMITS and (a.cancels or a.secrets)]
    if not submits:
        return {}
    from reconciler.foresight import Foresight, tells_files

    foresight = Foresight(tells_files(state), settings.pipelines)
    return await foresight.faults(client, submits, Secrets(settings.environ))


def told(action: Action, fault: ReconcilerError) -> str:
    """The warning that `action` would be refused."""
    so = f"{action.job_id} is not replaced" if action.cancels else "the platform would refuse it"
    return f"{action.name}: {fault.message}, so {so}: {fault.hint}"


def _recorded_elsewhere(settings: Settings) -> frozenset[str]:
    """The jobs of the other environments: the same spec may ask for the same job in each of them."""
    ids: frozenset[str] = frozenset()
    ours = settings.address or settings.state
    for place in settings.siblings:
        if place != ours and (state := read_other(settings, place)) is not None:
            ids |= known_ids(state)
    return ids


async def _find(
    client: Client, desired: Mapping[str, DesiredJob], state: State, others: frozenset[str]
) -> tuple[dict[str, list[ObservedJob]], tuple[str, ...]]:
    """Platform jobs that the specs ask for already, since this state cannot know, and what to say about the search.
    `others`: ids of jobs that belong to somebody else.

    Raises `PlatformError`.
    """
    from reconciler.observe import identical
    from reconciler.transfer import as_sent

    listed: dict[str, list[ObservedJob]] = {}
    try:
        async for job in client.jobs():
            if job.name in desired and job.id not in others:
                listed.setdefault(job.name, []).append(job)
    except PlatformError as error:
        if error.status not in CANNOT_LIST:
            raise
        return {}, ("the platform cannot list its jobs: one that is there already is not found, but submitted again",)
    found: dict[str, list[ObservedJob]] = {}
    completed = {name: r.job_id for name, r in state.jobs.items() if r.status == JobStatus.COMPLETED}
    order, _ = in_order({name: want.needs for name, want in desired.items()})
    for name in order:
        request = await as_sent(client, desired[name].request, completed) if name in listed else None
        if request is not None and (same := await identical(client, name, request, listed[name])):
            found[name] = same
            if same[0].status == JobStatus.COMPLETED:
                completed[name] = same[0].id
    return found, ()
