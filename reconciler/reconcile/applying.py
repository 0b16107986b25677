"""Plan, review, carry out, record: the phases of `apply` in their order."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from reconciler.actions import SUBMITS, Action, Plan
from reconciler.apply import Outcome, Tools, carry_out
from reconciler.durable import reserve
from reconciler.entries import NotSubmitted, Protected, Submitted
from reconciler.errors import ExitCode, PlanRefused, ReconcilerError, StateError
from reconciler.facts import Facts, PlanOptions, known_ids
from reconciler.foresight import Foresight, tells_files
from reconciler.job import DesiredJob, FailureLog, RecordedJob, Source, State, Unreachable
from reconciler.naming import named
from reconciler.plan import make_plan
from reconciler.policies import CLOCKED, ends_by_the_clock
from reconciler.reconcile.failures import read_failures
from reconciler.reconcile.planning import PlanRequest, desired_jobs, plan_with
from reconciler.reconcile.session import Session, open_names, open_session, settle_open, unknown_hint
from reconciler.reconcile.settings import Settings
from reconciler.reconcile.watching import Hooks, observation_entries, watch_records
from reconciler.record import fold
from reconciler.signals import Stop
from reconciler.state import dumps
from reconciler.uploading import Uploading
from reconciler.waits import until_then


@dataclass(frozen=True, slots=True)
class Applied:
    """A plan that was carried out. `records` are the jobs of the specs as they are now; `left` says why it stopped."""

    plan: Plan
    outcomes: tuple[Outcome, ...] = ()
    records: Mapping[str, RecordedJob] = field(default_factory=dict)
    approved: bool = True
    left: ReconcilerError | None = None
    notes: tuple[str, ...] = ()
    asked: int = 0
    """Jobs in flight that the platform was asked about, and of them those without an answer."""
    unobserved: int = 0
    failures: Mapping[str, FailureLog] = field(default_factory=dict)
    """What the platform tells about jobs that FAILED, by name, when it was asked for."""
    serial: int = 0
    """Of the state, now."""


async def apply(
    settings: Settings,
    request: PlanRequest,
    stop: Stop,
    hooks: Hooks,
    *,
    saved: Plan | None = None,
    wait: bool = False,
    with_failures: bool = False,
) -> Applied:
    """Plan, review, carry out, record; with `wait` also observe until every job of the specs has ended.

    Raises `PlanRefused` before anything is sent: a guard refuses, or the plan is not `saved`. Failures are outcomes.
    """
    desired, _ = desired_jobs(settings, request)
    async with open_session(settings, run_jobs=wait) as session:
        made, facts = await _plan_again(session, request, desired, saved)
        approved = hooks.review(made)
        refuse(made)
        if not approved:
            return Applied(made, approved=False, notes=session.notes)
        session.state = _noted(session, made, facts)
        hooks.begin(made)
        outcomes = await _carry_out(session, made, made.ready(), stop, hooks)
        outcomes |= {a.name: held_back(a) for a in made.blocked()}
        left: ReconcilerError | None = stop.error()
        targets = frozenset(made.options["targets"])  # the names that globs stood for
        # A part of the specs, by PATH or by target, leaves the rest to be searched for.
        searched = session.state.searched or (left is None and not targets and not request.scoped)
        session.save(session.state.model_copy(update={"searched": searched}))
        names = targets or frozenset(desired) - facts.elsewhere
        later = _later(made, facts, request, names, settings.now)
        if wait and left is None:
            left = await _until_ended(session, later, names, outcomes, stop, hooks)
        outcomes |= {a.name: _still_waiting(a, desired, session.state) for a in later.waiting.values()}
        outcomes |= _unknown(session, outcomes)
        records = {n: r for n, r in sorted(session.state.jobs.items()) if n in names}
        ask = with_failures and stop.error() is None
        failures: Mapping[str, FailureLog] = await read_failures(session.client, records, stop) if ask else {}
        return Applied(
            made,
            tuple(outcomes.values()),
            records,
            left=stop.error() or left,
            notes=session.notes,
            asked=len(facts.observed),
            unobserved=sum(isinstance(seen, Unreachable) for seen in facts.observed.values()),
            failures=failures,
            serial=session.state.serial,
        )


async def _plan_again(
    session: Session, request: PlanRequest, desired: Mapping[str, DesiredJob], saved: Plan | None
) -> tuple[Plan, Facts]:
    """The plan now, and its facts. Raises `PlanRefused` when `saved` is of another record, or is another plan."""
    if saved is not None:
        _same_record(saved, session.state)
    unresolved = open_names(session.intents)
    made, facts = await plan_with(session.settings, request, desired, session.state, unresolved, session.client, saved)
    if saved is not None:
        _same_source(saved, made)
        _same_actions(saved, made)
    return made, facts


def _unknown(session: Session, outcomes: Mapping[str, Outcome]) -> dict[str, Outcome]:
    """The outcomes of submissions that could not be settled, with what to type about each."""
    unknown = {}
    for name, reason in session.unresolved.items():
        action = outcomes[name].action if name in outcomes else "keep"
        hint = unknown_hint(name)
        unknown[name] = Outcome(name, action, "unknown", error=reason, hint=hint, exit_code=ExitCode.UNKNOWN)
    return unknown


def refuse(made: Plan) -> None:
    """Raises `PlanRefused` when the plan is beyond what one apply may do."""
    if made.refusals:
        reasons = [refusal.reason for refusal in made.refusals]
        hint = f"to do it all the same: {made.refusals[0].override}"
        raise PlanRefused(f"refused, and nothing was done: {reasons[0]}", hint, reasons[1:])


def _noted(session: Session, made: Plan, facts: Facts) -> State:
    """The state with what was observed, and what the specs say anew of protection."""
    seen, _ = observation_entries(facts.observed, session.state.jobs, session.settings)
    return fold(session.state, [*seen, *_protections(made, session.state, session.settings)]).state


def _protections(made: Plan, state: State, settings: Settings) -> list[Protected]:
    """What the specs say anew about the protection of recorded jobs, and about their removal. Nothing else may come of
    it, so it is recorded.
    """
    at = settings.timestamp()
    return [
        Protected(name=a.name, at=at, job_id=record.job_id, protect=a.protected, on_remove=a.on_remove)
        for a in made.actions
        if (record := state.jobs.get(a.name)) is not None
        and (record.protect, record.on_remove) != (a.protected, a.on_remove)
    ]


def held_back(action: Action) -> Outcome:
    """A change that waits for a person is not a success: the exit code says so."""
    return Outcome(
        action.name,
        action.blocked or action.action,
        "skipped",
        action.job_id,
        action.status,
        error=action.reason,
        hint=f"to do it all the same: {action.override}",
        exit_code=ExitCode.FAILED,
    )


@dataclass(frozen=True, slots=True)
class _Later:
    """What a plan leaves for later, and what is needed to tell when its time has come: actions that are `waiting` for
    other jobs, and jobs whose runs are `timed`.
    """

    plan: Plan
    facts: Facts
    options: PlanOptions
    clock: Callable[[], datetime]
    waiting: dict[str, Action]
    timed: set[str]

    def now(self, state: State, unresolved: Mapping[str, str]) -> list[Action]:
        """The waiting actions as the plan would have them now, and the cancels of runs that take too long."""
        names = frozenset(self.waiting) | self.timed
        options = replace(self.options, targets=names, replace=self.options.replace & names)
        made = make_plan(replace(self.facts, state=state, unresolved=unresolved, now=self.clock()), options)
        return [a for a in made.pending() if a.name in self.waiting or (a.name in self.timed and a.cause in CLOCKED)]


def _later(
    made: Plan, facts: Facts, request: PlanRequest, names: frozenset[str], clock: Callable[[], datetime]
) -> _Later:
    """What `made` leaves for later. `names`: the jobs that are waited for."""
    timed = {n for n in names & facts.desired.keys() if ends_by_the_clock(facts.desired[n].policy)}
    waiting = {action.name: action for action in made.waiting()}
    return _Later(made, replace(facts, observed={}, found={}), named(facts, request.options), clock, waiting, timed)


async def _until_ended(
    session: Session, later: _Later, names: frozenset[str], outcomes: dict[str, Outcome], stop: Stop, hooks: Hooks
) -> ReconcilerError | None:
    """Observe the jobs of `names` until all have ended, and carry out what need not wait any longer meanwhile.

    What was carried out goes from `later` to `outcomes`, and is not tried again. The result says why it ended early.
    """

    def something_ready(state: State) -> bool:
        return any(not action.waits_for for action in later.now(state, open_names(session.intents)))

    while True:
        chosen = {n: r for n, r in session.state.jobs.items() if n in names}
        until = something_ready if later.waiting or later.timed else None
        left = await watch_records(session, chosen, stop, hooks.news, until=until)
        if until is None:
            return left
        actions = later.now(session.state, open_names(session.intents))
        later.waiting.update({action.name: action for action in actions if action.name in later.waiting})
        ready = [action for action in actions if not action.waits_for]
        if left is not None or not ready:
            return left
        done = await _carry_out(session, later.plan, ready, stop, hooks)
        for name, outcome in done.items():
            if later.waiting.pop(name, None) is None:
                later.timed.discard(name)
                name = f"{name}\n{outcome.action}"  # noqa: PLW2901 - beside what was done of it before
            outcomes[name] = outcome


def _still_waiting(action: Action, desired: Mapping[str, DesiredJob], state: State) -> Outcome:
    hint = until_then(action, desired, state.jobs)
    return Outcome(action.name, action.action, "skipped", action.job_id, action.status, error=action.reason, hint=hint)


async def _carry_out(
    session: Session, made: Plan, actions: Sequence[Action], stop: Stop, hooks: Hooks
) -> dict[str, Outcome]:
    """Carry out actions of the plan. What is left unknown is settled, and once more submitted if it did not happen."""
    if not actions:
        return {}
    outcomes = await one_round(session, actions, made.source, stop, hooks)
    if not session.intents or stop.event.is_set():
        return outcomes
    settled = {e.name: e for e in await settle_open(session)}
    again: list[Action] = []
    for action in actions:
        entry = settled.get(action.name)
        if isinstance(entry, Submitted):
            record = session.state.jobs[action.name]
            outcomes[action.name] = Outcome(action.name, action.action, "done", record.job_id, record.status)
        elif entry is not None:
            again.append(action.model_copy(update={"cancels": False}))  # it was cancelled before the first try
    for name in settled.keys() - {a.name for a in actions}:
        if isinstance(settled[name], NotSubmitted):  # it was open when the plan was made, so the plan left it alone
            reason = "an earlier submission of it did not happen; the next apply submits it"
            outcomes[name] = Outcome(name, "create", "skipped", error=reason, exit_code=ExitCode.TRY_LATER)
    if again:
        repeated = await one_round(session, again, made.source, stop, hooks)
        outcomes |= repeated
        for intent in session.intents:
            if intent.name in repeated:
                session.unresolved[intent.name] = repeated[intent.name].error or "no answer"
    return outcomes


async def one_round(
    session: Session, actions: Sequence[Action], source: Source | None, stop: Stop, hooks: Hooks
) -> dict[str, Outcome]:
    """Journal, act, fold, save. After a signal, what had begun is unknown and what had not is skipped."""
    settings = session.settings
    if session.on_disk is None:
        # The lineage is on the disk before the first intent is: a journal without its state could not be settled.
        session.on_disk = session.state = session.hold.save(None, session.state, ())
    session.hold.check()
    reserve_room(settings.state.parent, session.state, actions)
    if any(a.action in SUBMITS for a in actions):
        await session.client.learn_clock()
    journal = session.hold.start_journal(session.state, session.intents)
    outcomes: dict[str, Outcome] = {}

    def done(outcome: Outcome) -> None:
        outcomes[outcome.name] = outcome
        hooks.outcome(outcome)

    tools = Tools(
        client=session.client,
        journal=journal,
        lineage=session.state.lineage,
        root=settings.root,
        folder=settings.state.parent,
        now=settings.now,
        stop=stop.event,
        source=source,
        parallelism=settings.parallelism,
        known=known_ids(session.state),
        done=done,
        uploading=Uploading(asyncio.Semaphore(settings.parallelism), hooks.sent),
        foresight=Foresight(tells_files(session.state), settings.pipelines),
    )
    try:
        await stop.finish(carry_out(actions, tools))
    finally:
        journal.close()
        folded = fold(session.state, journal.entries)
        session.intents = folded.unresolved
        session.save(folded.state)
    begun = open_names(session.intents)
    return {a.name: outcomes.get(a.name) or _interrupted(a, began=a.name in begun) for a in actions}


def _interrupted(action: Action, *, began: bool) -> Outcome:
    if began:
        return Outcome(action.name, action.action, "unknown", error="interrupted; the next run settles it")
    return Outcome(action.name, action.action, "skipped", error="interrupted before it began")


def reserve_room(folder: Path, state: State, actions: Sequence[Action]) -> None:
    """Raises `StateError` when the disk is too full to write down what `actions` will do: before they begin."""
    each = [len(json.dumps(a.request)) + 4096 for a in actions if a.request is not None]
    needed = 2 * len(dumps(state)) + 3 * sum(each) + 4096 * len(actions)
    try:
        reserve(folder, needed)
    except OSError as error:
        hint = f"about {needed // 1000:,} kB are needed; free some space, and run the command again"
        raise StateError(
            f"{folder} has no room for the record: {error.strerror}; nothing was submitted", hint
        ) from error


def _same_record(saved: Plan, state: State) -> None:
    """Raises `PlanRefused` unless the state is the one that `saved` was made from."""
    moved = []
    if saved.endpoint != state.endpoint:
        moved.append(f"the endpoint: {saved.endpoint} then, {state.endpoint} now")
    elif saved.lineage is None and state.serial:
        moved.append(f"it was made for a first run, and the state has serial {state.serial} now")
    elif saved.lineage is not None and saved.lineage != state.lineage:
        moved.append(f"it was made for another state (--state, --environment): lineage {saved.lineage}")
    elif saved.serial != state.serial:
        moved.append(f"the serial of the state: {saved.serial} then, {state.serial} now")
    if moved:
        raise PlanRefused("the saved plan is stale: " + "; ".join(moved), "make a new plan and review it")


def _same_source(saved: Plan, made: Plan) -> None:
    """Raises `PlanRefused` unless the same version of this tool plans for the commit that was reviewed."""
    then, now = saved.source or Source(), made.source or Source()
    moved = []
    if then.tool_version != now.tool_version:
        moved.append(f"the version of reconciler: {then.tool_version or 'none'} then, {now.tool_version} now")
    if then.commit != now.commit:
        moved.append(f"the commit: {then.commit or 'none'} then, {now.commit or 'none'} now")
    if moved:
        raise PlanRefused("the saved plan is stale: " + "; ".join(moved), "make a new plan and review it")


def _same_actions(saved: Plan, made: Plan) -> None:
    """Raises `PlanRefused` unless planning again gives what `saved` says, naming what moved."""
    then, now = ({a.name: a for a in p.pending()} for p in (saved, made))
    blocked = {a.name: a.reason for a in made.blocked()}
    moved = []
    for name in sorted(then.keys() | now.keys()):
        old, new = then.get(name), now.get(name)
        if old is None or new is None:
            did, does = (a.action if a else "nothing" for a in (old, new))
            why = new.reason if new else blocked.get(name)
            reason = f": {why}" if why else ""
            moved.append(f"{name}: planned {did}, now {does}{reason}")
            continue
        if what := _what_moved(old, new):
            moved.append(f"{name}: {what}")
    if moved:
        shown = "; ".join(moved[:5]) + (f"; and {len(moved) - 5} more" if len(moved) > 5 else "")
        raise PlanRefused(f"the saved plan is stale: {shown}", "make a new plan and review it")


def _what_moved(old: Action, new: Action) -> str | None:
    """Why the action that was reviewed is not the one that would be planned now; None when it is."""
    if old.fingerprint != new.fingerprint:
        return "its spec has changed"
    if changed := [n for n, d in old.secrets.items() if d and new.secrets.get(n) and d != new.secrets[n]]:
        return f"env.{changed[0]} has another value"
    if (old.action, old.cancels, old.generation) != (new.action, new.cancels, new.generation):
        return f"planned {old.action}, now {new.action}: {new.reason}"
    if old.job_id != new.job_id:
        return f"its job was {old.job_id}, and is {new.job_id}"
    return f"its job was {old.status}, and is {new.status}" if old.status != new.status else None
