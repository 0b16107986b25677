"""What a plan is made from, and how it is asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from reconciler.chains import source_names
from reconciler.guards import Guard, Limit
from reconciler.job import (
    DesiredJob,
    Gone,
    Observation,
    ObservedJob,
    RecordedJob,
    Seen,
    State,
    is_terminal,
)


@dataclass(frozen=True, slots=True)
class PlanOptions:
    """How the plan is asked for."""

    prune: bool = False
    replace: frozenset[str] = frozenset()
    follow: frozenset[str] = frozenset()
    """What takes from those of `replace`: it is replaced with them."""
    targets: frozenset[str] = frozenset()
    unprotect: frozenset[str] = frozenset()
    limits: Mapping[Guard, Limit] = field(default_factory=dict)
    command: tuple[str, ...] = ("reconciler", "apply")
    """The apply that the plan is for, as it was typed; what overrides a refusal adds to it."""
    replan: tuple[str, ...] | None = None
    """What is to be typed for another plan, when `command` carries out a saved one."""


@dataclass(frozen=True, slots=True)
class Pause:
    """The last tries to submit what has this fingerprint failed: there is no other one before a time."""

    fingerprint: str
    until: datetime
    reason: str
    """What the last one failed of."""


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
    pauses: Mapping[str, Pause] = field(default_factory=dict)
    """Jobs that are not to be submitted for some time, by name."""
    faults: Mapping[str, str] = field(default_factory=dict)
    """What the platform would refuse submissions for, as things are, by name."""


def standing(have: RecordedJob, seen: Observation | None) -> tuple[str, bool]:
    """The status of a recorded job, and whether the platform has lost it."""
    status = seen.job.status if isinstance(seen, Seen) else have.status
    return status, isinstance(seen, Gone) or (have.gone and not isinstance(seen, Seen))


def changed_secrets(want: DesiredJob, have: RecordedJob, facts: Facts) -> list[str]:
    """Variables of the environment that have another value now. One that is not known has not changed."""
    return [
        f"env.{name}"
        for name in want.env
        if have.secrets.get(name) and facts.secrets.get(name) and have.secrets[name] != facts.secrets[name]
    ]


def older_sources(want: DesiredJob, have: RecordedJob, facts: Facts) -> list[str]:
    """Jobs that the recorded job has taken from, and that are other jobs by now: it was made of what is no longer."""
    if not have.sources:
        return []
    now = {name: facts.state.jobs[name].job_id for name in source_names(want.request) if name in facts.state.jobs}
    known = frozenset(have.sources.values())
    return sorted(name for name, job_id in now.items() if known and job_id not in known)


def latest_of(want: DesiredJob, facts: Facts) -> tuple[str | None, str | None]:
    """The version to submit where the spec leaves it open, as far as it is known, and what to say of it."""
    key = want.request["pipeline_key"]
    if want.request.get("pipeline_version"):
        return None, None
    if key in facts.reviewed:
        version = facts.reviewed[key]
        return version, f"latest was {version} when planned" if version else None
    version = facts.latest.get(key)
    return version, f"latest is {version} today" if version else None


def newer_than(want: DesiredJob, have: RecordedJob, facts: Facts) -> str | None:
    """A note that the platform would take another version today. It is no change: nothing is submitted for it."""
    version = facts.latest.get(want.request["pipeline_key"])
    if want.request.get("pipeline_version") or None in (version, have.pipeline_version):
        return None
    return f"it has {have.pipeline_version}, latest is {version} today" if version != have.pipeline_version else None


def secrets_of(want: DesiredJob, facts: Facts) -> dict[str, str]:
    known = facts.secrets if facts.state.serial else {}
    return {name: known.get(name, "") for name in want.env}


def in_flight(records: Mapping[str, RecordedJob]) -> dict[str, str]:
    """Job ids by name of the records that may still change. A job that has ended is never asked for again; one that was
    gone may only have been out of sight.
    """
    return {name: r.job_id for name, r in records.items() if not is_terminal(r.status)}


def known_ids(state: State) -> frozenset[str]:
    """Every job id that the state records, those of earlier submissions included."""
    records = state.jobs.values()
    return frozenset(r.job_id for r in records) | frozenset(p.job_id for r in records for p in r.history)


def left_to_finish(records: Mapping[str, RecordedJob]) -> dict[str, str]:
    """Names by job id of the jobs that names had before, and that may still change."""
    return {
        past.job_id: name
        for name, record in records.items()
        for past in record.history
        if not is_terminal(past.status) and past.job_id != record.job_id
    }


def to_compare(desired: Mapping[str, DesiredJob], records: Mapping[str, RecordedJob]) -> dict[str, RecordedJob]:
    """The jobs, as the specs ask for them still, of which it is known what their `file_id`s stood for."""
    return {
        name: record
        for name, record in sorted(records.items())
        if record.files and name in desired and desired[name].fingerprint == record.fingerprint
    }
