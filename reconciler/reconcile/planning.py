"""Load, resolve, observe, plan: everything up to the decision, and nothing that changes anything."""

from __future__ import annotations

import contextlib
import os
import shlex
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from reconciler import __version__
from reconciler.actions import Plan
from reconciler.config import FILE
from reconciler.duplicates import CODE
from reconciler.errors import Diagnostic, SpecError, StateError, UsageError
from reconciler.facts import Facts, Pause, PlanOptions, in_flight, to_compare
from reconciler.guards import GUARDS, Guard
from reconciler.job import DesiredJob, Source, State
from reconciler.naming import named
from reconciler.plan import make_plan
from reconciler.reconcile.asking import Word, ask, first_run, foreseen, told
from reconciler.reconcile.latest import may_submit_open
from reconciler.reconcile.placing import holder_note, one_machine
from reconciler.reconcile.reading import NOT_THERE, Enough, read_specs
from reconciler.reconcile.session import as_left, hidden, look_at_record, open_names
from reconciler.reconcile.settings import Settings
from reconciler.resolve import MOVE_FROM_SPEC, OPEN_VERSION
from reconciler.secrets import digests
from reconciler.source import read_source

if TYPE_CHECKING:
    from reconciler.client import Client
    from reconciler.entries import Intent

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class PlanRequest:
    """What to plan, and how."""

    paths: tuple[Path, ...]
    options: PlanOptions = PlanOptions()
    refresh: bool = True
    adopt: bool = True
    allow_empty: bool = False
    scoped: bool = False
    """`paths` are only some of the specs: jobs of specs elsewhere are none of this plan's business."""
    overrides: Mapping[Guard, str] = field(default_factory=dict)
    """Limits that were typed for this plan, as they were written: they go with it when it is saved."""
    typed: tuple[str, ...] = ()
    """The command line; what overrides the refusal of an emptied folder adds to it."""
    pauses: Mapping[str, Pause] = field(default_factory=dict)
    """Jobs that are not to be submitted for some time, by name."""


def desired_jobs(
    settings: Settings, request: PlanRequest, enough: Enough | None = None
) -> tuple[dict[str, DesiredJob], list[Diagnostic]]:
    """The desired jobs and the warnings. Raises `SpecError`."""
    desired, diagnostics, _ = read_specs(settings, request.paths, enough)
    # Of specs that are the same, of open versions and of renames the plan speaks, when one is about to be submitted.
    diagnostics = [d for d in diagnostics if d.code not in (CODE, OPEN_VERSION, MOVE_FROM_SPEC)]
    # git keeps no empty folders. One that somebody typed is another thing: it may be misspelt.
    empty = {"no-specs"} if request.scoped else NOT_THERE
    if request.allow_empty:
        diagnostics = [d for d in diagnostics if d.code not in empty]
    elif request.typed and settings.config_above is None:
        diagnostics = [_with_override(d, request.typed) if d.code in empty else d for d in diagnostics]
    if any(d.severity == "error" for d in diagnostics):
        raise SpecError(diagnostics)
    return desired, diagnostics


def _with_override(diagnostic: Diagnostic, typed: Sequence[str]) -> Diagnostic:
    line = shlex.join([*typed, "--allow-empty"])
    return replace(diagnostic, hint=f"{diagnostic.hint}; if all the specs are meant to be gone: {line}")


def plan(
    settings: Settings, request: PlanRequest, run: Callable[[Coroutine[Any, Any, Plan]], Plan]
) -> tuple[Plan, list[Diagnostic]]:
    """What apply would do now, and the warnings of the specs. Takes no lock and writes nothing.

    `run`: runs a coroutine. It is called only when the platform is to be asked.
    """
    try:
        looked = look_at_record(settings)
    except StateError:
        desired_jobs(settings, request)  # what is wrong with the specs is told first
        raise
    state, intents = as_left(looked.state, looked.leftover, settings)
    desired, warnings = desired_jobs(settings, request, _recorded(state))
    made = _made(settings, request, desired, state, intents, run)
    if any(desired[action.name].partial for action in made.actions if action.request is not None):
        # What is submitted is always read from its spec.
        desired, warnings = desired_jobs(settings, request)
        made = _made(settings, request, desired, state, intents, run)
    if looked.holder:
        made = made.model_copy(update={"warnings": (holder_note(looked.holder), *made.warnings)})
    return made, warnings


def _recorded(state: State) -> Enough:
    jobs = state.jobs

    def enough(name: str, fingerprint: str) -> bool:
        return name in jobs and jobs[name].fingerprint == fingerprint

    return enough


def _made(
    settings: Settings,
    request: PlanRequest,
    desired: Mapping[str, DesiredJob],
    state: State,
    intents: Sequence[Intent],
    run: Callable[[Coroutine[Any, Any, Plan]], Plan],
) -> Plan:
    needs_platform = request.refresh and (bool(in_flight(state.jobs)) or first_run(state, desired, adopt=request.adopt))
    worth_a_look = request.refresh and (
        bool(to_compare(desired, state.jobs)) or may_submit_open(desired, state, request.options)
    )
    unresolved = open_names(intents)
    if needs_platform or worth_a_look:
        made = run(_asking(settings, request, desired, state, unresolved, needed=needs_platform))
    else:
        made = _at_once(plan_with(settings, request, desired, state, unresolved, None))[0]
    if unresolved:
        note = "what became of an interrupted submission is not known yet: apply, status or settle finds out"
        made = made.model_copy(update={"warnings": (note, *made.warnings)})
    return made


async def _asking(
    settings: Settings,
    request: PlanRequest,
    desired: Mapping[str, DesiredJob],
    state: State,
    unresolved: Mapping[str, str],
    *,
    needed: bool,
) -> Plan:
    """The plan, with the platform's word. What is not `needed` is worth a look, but the plan does without."""
    async with contextlib.AsyncExitStack() as stack:
        client = None
        with contextlib.suppress(*() if needed else (UsageError,)):
            client = await stack.enter_async_context(settings.connect())
        made, _ = await plan_with(settings, request, desired, state, unresolved, client)
    return made


def _at_once(work: Coroutine[Any, Any, T]) -> T:
    """The result of a coroutine that waits for nothing: it needs no event loop."""
    try:
        work.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    work.close()
    raise RuntimeError("it waits for something")


async def plan_with(
    settings: Settings,
    request: PlanRequest,
    desired: Mapping[str, DesiredJob],
    state: State,
    unresolved: Mapping[str, str],
    client: Client | None,
    saved: Plan | None = None,
) -> tuple[Plan, Facts]:
    """Observe and decide: the plan, and its facts. `unresolved`: fingerprints of open submissions by name.

    `saved`: the plan that is carried out, whose pipeline versions are those to submit.
    """
    options = named(Facts(desired, state), request.options)
    word = Word()
    if client is not None:
        client.secrets = client.secrets.joined(hidden(settings, desired, state))
    if client is not None and request.refresh:
        word = await ask(client, settings, options, desired, state, unresolved, saved, adopt=request.adopt)
    variables = {name for job in desired.values() for name in job.env}
    digested = digests(state.lineage, variables, settings.environ)
    elsewhere = _elsewhere(settings, request, desired, state)
    facts = Facts(
        desired,
        state,
        word.observed,
        word.found,
        unresolved,
        elsewhere,
        digested,
        settings.now(),
        latest=word.versions.today,
        reviewed=word.versions.reviewed,
        pauses=request.pauses,
    )
    about = {
        "environment": settings.environment,
        "source": source_of(settings, desired),
        "options": _how(request, options),
    }
    made = make_plan(facts, options, **about)
    notes = one_machine(settings) + word.notes
    if faults := await foreseen(client if request.refresh else None, settings, made, state):
        # The same plan, which says it of the actions. When the time has come, it is looked at again.
        made = make_plan(replace(facts, faults={n: f.message for n, f in faults.items()}), options, **about)
        notes += tuple(told(action, faults[action.name]) for action in made.actions if action.name in faults)
    return made.model_copy(update={"warnings": (*notes, *word.versions.notes, *made.warnings)}), facts


def _how(request: PlanRequest, options: PlanOptions) -> dict[str, Any]:
    """How a plan was asked for, as it goes with the plan when it is saved."""
    return {
        "paths": [str(p) for p in request.paths],
        "prune": options.prune,
        "replace": sorted(options.replace),
        "targets": sorted(options.targets),
        "refresh": request.refresh,
        "adopt": request.adopt,
        "allow_empty": request.allow_empty,
        "scoped": request.scoped,
        "unprotect": sorted(options.unprotect),
        **{guard: request.overrides.get(guard) for guard in GUARDS},
    }


def _elsewhere(
    settings: Settings, request: PlanRequest, desired: Mapping[str, DesiredJob], state: State
) -> frozenset[str]:
    """Jobs whose spec is not in the part of the specs that was asked for."""
    if not request.scoped:
        return frozenset()
    asked = [Path(os.path.relpath(path.absolute(), settings.root)) for path in request.paths]
    places = {name: record.spec_path for name, record in state.jobs.items()}
    places |= {name: job.location.path for name, job in desired.items()}
    return frozenset(n for n, place in places.items() if not any(Path(place).is_relative_to(path) for path in asked))


def source_of(settings: Settings, desired: Mapping[str, DesiredJob]) -> Source:
    """Where the specs, and the local files that they name, come from."""
    paths = {job.location.path for job in desired.values()} | {u.path for job in desired.values() for u in job.uploads}
    return checked_out(settings, paths)


def checked_out(settings: Settings, paths: Collection[str]) -> Source:
    """What is checked out now, with the files `paths` in it, and what runs this. Of no files nobody can say whether
    they are what the commit has.
    """
    known: dict[str, Any] = {"tool_version": __version__} | ({} if paths else {"dirty": None})
    return read_source(settings.root, paths, around=(str(settings.specs), FILE)).model_copy(update=known)
