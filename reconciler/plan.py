"""Desired, recorded and observed jobs → a plan of actions, each with its reason.

Pure: it reads no file, no clock and no platform, and its result does not depend on the order of its input. The
decision table is section 4 of the contract; `_decide` follows it row by row.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from reconciler.chains import source_names
from reconciler.check import did_you_mean
from reconciler.compare import Change, compare, declared_in
from reconciler.duplicates import Asked, asked, listed, same_work
from reconciler.errors import Location, PlanRefused
from reconciler.globs import expand
from reconciler.guards import Extent, Guard, Limit, Refusal, refusals, with_name
from reconciler.job import (
    CancelCause,
    DesiredJob,
    Gone,
    JobStatus,
    JsonObject,
    Observation,
    ObservedJob,
    OnRemove,
    RecordedJob,
    Seen,
    Source,
    State,
    Unreachable,
    Upload,
    is_terminal,
)
from reconciler.policies import Ending, again, ending
from reconciler.text import plural

ActionKind: TypeAlias = Literal["create", "replace", "retry", "cancel", "adopt", "move", "forget", "orphan", "keep"]
SUBMITS = frozenset({"create", "replace"})
PASSIVE = frozenset({"keep", "orphan"})
"""Actions that do nothing."""


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True)


class Action(_Value):
    """What will be done about one job, and why. The fields from `request` on are what apply needs to do it."""

    name: str
    action: ActionKind
    reason: str
    note: str | None = Field(None, description="What is good to know as well. It changes nothing.")
    spec_path: str | None = None
    line: int | None = None
    job_id: str | None = None
    status: str | None = None
    fingerprint: str | None = None
    changes: tuple[Change, ...] = ()
    request: JsonObject | None = Field(None, description="The body to submit, without `name`.")
    pipeline_version: str | None = Field(
        None, description="The version to submit where `request` names none: the latest when the plan was made."
    )
    secrets: dict[str, str] = Field(
        default_factory=dict,
        description="Variables of the environment that `request` names, and digests of what they have; empty where "
        "that is not known, or the state has no history yet.",
    )
    uploads: tuple[Upload, ...] = Field((), description="Local files that the platform needs first.")
    cancels: bool = Field(default=False, description="The job `job_id` is cancelled first.")
    generation: int | None = Field(None, description="Which deliberate submission of this name it is.")
    attempt: int | None = Field(None, description="Which run of the submission a retry starts, or a cancel ends.")
    by_hand: bool = Field(default=False, description="A person asked for it.")
    cause: CancelCause | None = Field(None, description="Why a job is cancelled that stays on record.")
    on_remove: OnRemove = Field("prune", description="`reconcile.on_remove` of its spec, or of its record without one.")
    rerun: str | None = Field(None, description="The text of `reconcile.rerun` that this submission is for.")
    moved_from: str | None = None
    protected: bool = Field(default=False, description="`reconcile.protect` of its spec, or of its record without one.")
    blocked: ActionKind | None = Field(None, description="What is not done, since the job is protected.")
    override: str | None = Field(None, description="The command line that does what is blocked all the same.")
    observed: JsonObject | None = Field(None, description="The platform job to adopt.")
    waits_for: tuple[str, ...] = Field((), description="Jobs that must have COMPLETED before this is done.")
    sources: dict[str, str] = Field(
        default_factory=dict, description="Ids of the COMPLETED jobs whose outputs `request` takes, by name."
    )

    @property
    def unchanged(self) -> bool:
        """There is nothing to say of it but how many are like it."""
        return self.action == "keep" and self.blocked is None

    @property
    def told(self) -> str:
        """The reason and the note, for people."""
        return f"{self.reason}; {self.note}" if self.note else self.reason

    @property
    def pinned(self) -> JsonObject | None:
        """`request` with the version of the pipeline."""
        if self.request is None or self.pipeline_version is None:
            return self.request
        return {**self.request, "pipeline_version": self.pipeline_version}


class Plan(_Value):
    """What apply would do. It is data: it can be printed, saved, compared, refused or carried out."""

    format_version: Literal[1] = 1
    lineage: str | None = Field(None, description="Null on a first run: the state has no history yet.")
    serial: int = 0
    endpoint: str
    environment: str | None = Field(None, description="The environment of `reconciler.yaml` that it is for.")
    source: Source | None = Field(None, description="Where the specs come from.")
    options: dict[str, Any] = Field(default_factory=dict, description="How the plan was asked for.")
    actions: tuple[Action, ...] = ()
    warnings: tuple[str, ...] = ()
    refusals: tuple[Refusal, ...] = Field((), description="Why apply refuses all of it, if it does.")
    unsettled: tuple[str, ...] = Field((), description="Names with a submission whose outcome is unknown.")

    def pending(self) -> tuple[Action, ...]:
        """The actions that do something."""
        return tuple(a for a in self.actions if a.action not in PASSIVE)

    def ready(self) -> tuple[Action, ...]:
        """The actions that do something now."""
        return tuple(a for a in self.pending() if not a.waits_for)

    def waiting(self) -> tuple[Action, ...]:
        """The actions that do something when other jobs have COMPLETED."""
        return tuple(a for a in self.pending() if a.waits_for)

    def blocked(self) -> tuple[Action, ...]:
        """The protected jobs about which something else would be done."""
        return tuple(a for a in self.actions if a.blocked)

    def summary(self) -> dict[str, int]:
        """How many actions there are of each kind, kinds without any left out, in the order of the plan."""
        counts: dict[str, int] = {}
        for action in self.actions:
            counts[action.action] = counts.get(action.action, 0) + 1
        return counts


@dataclass(frozen=True, slots=True)
class PlanOptions:
    """How the plan is asked for."""

    prune: bool = False
    replace: frozenset[str] = frozenset()
    targets: frozenset[str] = frozenset()
    unprotect: frozenset[str] = frozenset()
    limits: Mapping[Guard, Limit] = field(default_factory=dict)
    command: tuple[str, ...] = ("reconciler", "apply")
    """The apply that the plan is for, as it was typed; what overrides a refusal adds to it."""
    replan: tuple[str, ...] | None = None
    """What is to be typed for another plan, when `command` carries out a saved one."""


@dataclass(frozen=True, slots=True)
class Facts:
    """Everything that a plan is made from."""

    desired: Mapping[str, DesiredJob]
    state: State
    observed: Mapping[str, Observation] = field(default_factory=dict)
    found: Mapping[str, Sequence[ObservedJob]] = field(default_factory=dict)
    """Platform jobs identical to a desired one that has no record, newest first; looked for on a first run only."""
    unresolved: Mapping[str, str] = field(default_factory=dict)
    """Fingerprints of submissions whose outcome is unknown, by name."""
    elsewhere: frozenset[str] = frozenset()
    """Jobs whose specs were not asked for: nothing is done about them."""
    secrets: Mapping[str, str] = field(default_factory=dict)
    """Digests of what the environment has now, by variable."""
    now: datetime | None = None
    """For policies that have to do with time; None leaves them out."""
    latest: Mapping[str, str] = field(default_factory=dict)
    """The latest version of each pipeline that the platform was asked about, by key."""
    reviewed: Mapping[str, str | None] = field(default_factory=dict)
    """What was the latest in the saved plan that is carried out, by key; None where it was not known."""


def make_plan(facts: Facts, how: PlanOptions = PlanOptions(), /, **about: Any) -> Plan:
    """Decide about every desired and every recorded job. `about` fills the plan's other fields.

    Raises `PlanRefused` when an option names a job that does not exist.
    """
    how = named(facts, how)
    moves = _moves(facts)
    names = sorted((facts.desired.keys() | facts.state.jobs.keys()) - moves.keys() - facts.elsewhere)
    if how.targets:
        sources = {new: old for old, new in moves.items()}
        names = [n for n in names if n in how.targets or sources.get(n) in how.targets]
    sources = {new: old for old, new in moves.items()}
    actions = [_decide(name, facts, how, sources.get(name)) for name in names]
    by_name = {action.name: action for action in actions}
    actions = [_waiting(action, by_name, facts) for action in actions]
    return Plan(
        lineage=facts.state.lineage if facts.state.serial else None,
        serial=facts.state.serial,
        endpoint=facts.state.endpoint,
        actions=tuple(sorted(actions, key=lambda a: (_rank(a), a.name))),
        warnings=(
            *_duplicates(actions, facts),
            *_not_set(names, facts),
            *(w for name in names for w in _warnings(name, facts)),
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


def named(facts: Facts, options: PlanOptions) -> PlanOptions:
    """`options` with the names that its globs stand for. Protection is lifted by name only.

    Raises `PlanRefused` when an option names a job that does not exist.
    """
    known = facts.desired.keys() | facts.state.jobs.keys()
    hint = "names are those in the specs"

    def meant(option: str, typed: frozenset[str], possible: Collection[str]) -> frozenset[str]:
        return frozenset(expand(sorted(typed), possible, lambda one: f"{option} {one!r}: no spec has this name", hint))

    targets = meant("--target", options.targets, known)
    again = meant("--replace", options.replace, facts.desired.keys())
    for name in sorted(options.unprotect - known):
        raise PlanRefused(f"--unprotect {name!r}: no spec has this name", did_you_mean(name, sorted(known)) or hint)
    if targets and (left_out := sorted(again - targets)):
        raise PlanRefused(f"--replace {left_out[0]!r}: it is not among the targets", "give it as a --target too")
    return replace(options, targets=targets, replace=again)


def _moves(facts: Facts) -> dict[str, str]:
    """Removed name → new name with the same fingerprint. Equal fingerprints are interchangeable: pair them in order."""
    moves = {
        old: want.name
        for want in facts.desired.values()
        if (old := want.policy.moved_from) is not None
        and old in facts.state.jobs.keys() - facts.desired.keys() - facts.unresolved.keys()
        and want.name not in facts.state.jobs.keys() | facts.unresolved.keys()
    }
    removed: dict[str, list[str]] = {}
    for name in sorted(facts.state.jobs.keys() - facts.desired.keys() - facts.unresolved.keys() - facts.elsewhere):
        if name not in moves:
            removed.setdefault(facts.state.jobs[name].fingerprint, []).append(name)
    moved = set(moves.values())
    for name in sorted(facts.desired.keys() - facts.state.jobs.keys() - facts.unresolved.keys()):
        same = removed.get(facts.desired[name].fingerprint)
        if same and name not in moved:
            moves[same.pop(0)] = name
    return moves


def _refusals(actions: Sequence[Action], facts: Facts, options: PlanOptions) -> tuple[Refusal, ...]:
    """What is beyond the limits that the plan was asked to keep to."""
    old_names = [a.moved_from or a.name for a in actions]
    standing = [_standing(facts.state.jobs[n], facts.observed.get(n)) for n in old_names if n in facts.state.jobs]
    in_flight = sum(not gone and not is_terminal(status) for status, gone in standing)
    submitted = sorted(a.name for a in actions if a.action in ("create", "replace", "retry"))
    cancelled = sorted(a.name for a in actions if a.cancels)
    extents: Mapping[Guard, Extent] = {
        "max_submissions": Extent(submitted, len(standing)),
        "max_cancellations": Extent(cancelled, in_flight),
    }
    return refusals(options.limits, extents, options.command)


def _standing(have: RecordedJob, seen: Observation | None) -> tuple[str, bool]:
    """The status of a recorded job, and whether the platform has lost it."""
    status = seen.job.status if isinstance(seen, Seen) else have.status
    return status, isinstance(seen, Gone) or (have.gone and not isinstance(seen, Seen))


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
    status, gone = _standing(have, seen)
    if want is None:
        return _decide_removed(name, have, status, options, gone=gone)
    if _differs(want, have, facts) or name in options.replace:
        return _replace(want, have, status, facts, options, gone=gone)
    return _decide_same(want, have, status, facts, options, gone=gone)


def _decide_moved(want: DesiredJob, old: str, facts: Facts, options: PlanOptions) -> Action:
    have = facts.state.jobs[old]
    if not _differs(want, have, facts) and want.name not in options.replace:
        reason = f"renamed from {old}; nothing is submitted"
        return _action(want.name, "move", reason, want, have, moved_from=old)
    status, gone = _standing(have, facts.observed.get(old))
    action = _replace(want, have, status, facts, options, gone=gone)
    update: dict[str, Any] = {"moved_from": old, "reason": f"renamed from {old}; {action.reason}"}
    if action.generation is not None:  # the record brings its generations along
        update["generation"] = max(action.generation, facts.state.generations.get(old, 0) + 1)
    return action.model_copy(update=update)


def _differs(want: DesiredJob, have: RecordedJob, facts: Facts) -> bool:
    """Whether the spec asks for another job than the recorded one."""
    rerun = want.policy.rerun is not None and want.policy.rerun not in have.reruns
    return want.fingerprint != have.fingerprint or rerun or bool(_changed_secrets(want, have, facts))


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
            secrets=_secrets(want, facts),
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
        return _action(want.name, "keep", "up to date", want, have, status=status, note=_newer(want, have, facts))
    job = seen.job.raw if isinstance(seen, Seen) else have.observed
    if not is_terminal(status):
        if end := ending(want.policy, have, status, job, facts.now):
            return _ended(want, have, status, end, options)
        return _action(want.name, "keep", "in progress", want, have, status=status, note=_newer(want, have, facts))
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


def _changed_secrets(want: DesiredJob, have: RecordedJob, facts: Facts) -> list[str]:
    """Variables of the environment that have another value now. One that is not known has not changed."""
    return [
        f"env.{name}"
        for name in want.env
        if have.secrets.get(name) and facts.secrets.get(name) and have.secrets[name] != facts.secrets[name]
    ]


def _waiting(action: Action, actions: Mapping[str, Action], facts: Facts) -> Action:
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
    status, gone = _standing(have, facts.observed.get(name))
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
    status, gone = _standing(have, facts.observed.get(name))
    return "gone" if gone else status if not is_terminal(status) or status != JobStatus.COMPLETED else "changed"


def _suspended(want: DesiredJob, have: RecordedJob, status: str, options: PlanOptions, *, in_flight: bool) -> Action:
    """What would be submitted anew is not; what is in flight is cancelled."""
    if in_flight:
        return _ended(want, have, status, Ending("suspend", f"suspended; cancels {have.job_id} ({status})"), options)
    return _action(want.name, "keep", "changed, but suspended; it is not submitted", want, have, status=status)


def _why_replaced(want: DesiredJob, have: RecordedJob, changes: int, facts: Facts, options: PlanOptions) -> str:
    if want.name in options.replace:
        also = f"; {plural(changes, 'field')} changed" if changes else ""
        return f"asked for with --replace{also}"
    if want.fingerprint == have.fingerprint and not _changed_secrets(want, have, facts):
        return f"asked for with rerun: {want.policy.rerun}"
    if want.fingerprint == have.fingerprint:
        return f"another value of {', '.join(_changed_secrets(want, have, facts))}"
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
        reason += f"; cancels {have.job_id} ({status})"
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


def _latest(want: DesiredJob, facts: Facts) -> tuple[str | None, str | None]:
    """The version to submit where the spec leaves it open, as far as it is known, and what to say of it."""
    key = want.request["pipeline_key"]
    if want.request.get("pipeline_version"):
        return None, None
    if key in facts.reviewed:
        version = facts.reviewed[key]
        return version, f"latest was {version} when planned" if version else None
    version = facts.latest.get(key)
    return version, f"latest is {version} today" if version else None


def _newer(want: DesiredJob, have: RecordedJob, facts: Facts) -> str | None:
    """A note that the platform would take another version today. It is no change: nothing is submitted for it."""
    version = facts.latest.get(want.request["pipeline_key"])
    if want.request.get("pipeline_version") or None in (version, have.pipeline_version):
        return None
    return f"it has {have.pipeline_version}, latest is {version} today" if version != have.pipeline_version else None


def _submission(want: DesiredJob, facts: Facts) -> dict[str, Any]:
    generation = facts.state.generations.get(want.name, 0) + 1
    version, note = _latest(want, facts)
    return {
        "note": note,
        "request": want.request,
        "pipeline_version": version,
        "secrets": _secrets(want, facts),
        "uploads": want.uploads,
        "generation": generation,
        "rerun": want.policy.rerun,
    }


def _secrets(want: DesiredJob, facts: Facts) -> dict[str, str]:
    known = facts.secrets if facts.state.serial else {}
    return {name: known.get(name, "") for name in want.env}


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


def _duplicates(actions: Sequence[Action], facts: Facts) -> Iterator[str]:
    """Specs that ask for the same work, one of which at least is about to be submitted."""
    submits = {a.name for a in actions if a.action in SUBMITS}
    others = {n: facts.state.jobs[n] for n in facts.elsewhere & facts.state.jobs.keys() - facts.desired.keys()}
    known = [Asked(Location(r.spec_path, r.line or 0), name, r.fingerprint) for name, r in others.items()]
    for group in same_work([*map(asked, facts.desired.values()), *known]):
        if count := sum(job.name in submits for job in group):
            yield f"{len(group):,} specs ask for the same work, and {count:,} would be submitted: {listed(group)}"


def _not_set(names: Sequence[str], facts: Facts) -> Iterator[str]:
    """Variables of the environment that recorded jobs were submitted with, and that are not there to compare."""
    missing: dict[str, int] = {}
    for name in names:
        want, have = facts.desired.get(name), facts.state.jobs.get(name)
        for variable in want.env if want and have else ():
            if variable not in facts.secrets:
                missing[variable] = missing.get(variable, 0) + 1
    for variable, count in missing.items():
        yield f"env.{variable} is not set here, so whether it changed is not known; it stands in {plural(count, 'job')}"


def _warnings(name: str, facts: Facts) -> Iterator[str]:
    want, have, seen = facts.desired.get(name), facts.state.jobs.get(name), facts.observed.get(name)
    if len(found := facts.found.get(name, ())) > 1 and have is None:
        others = ", ".join(job.id for job in found[1:4]) + (", …" if len(found) > 4 else "")
        yield f"{name}: {len(found)} identical jobs are on the platform; the newest is adopted, not {others}"
    if have is None:
        return
    if isinstance(seen, Gone) or (have.gone and not isinstance(seen, Seen)):
        yield f"{name}: the platform has no job {have.job_id} (drift); --replace submits it again"
    elif isinstance(seen, Unreachable):
        yield f"{name}: {have.job_id} was not observed: {seen.reason}"
    elif isinstance(seen, Seen) and want is not None:
        yield from (f"{name}: {drift}" for drift in _drift(have, seen.job))


def _drift(have: RecordedJob, job: ObservedJob) -> Iterator[str]:
    if job.parameters and not declared_in(have.request.get("parameters") or {}, job.parameters):
        yield f"the parameters of {job.id} on the platform are not those that were submitted (drift)"
    pinned = have.request.get("pipeline_version")
    if pinned and job.pipeline_version and pinned != job.pipeline_version:
        yield f"{job.id} runs version {job.pipeline_version}, not {pinned} (drift)"
