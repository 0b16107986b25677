"""What a plan warns of: drift, work that is asked for twice, and what cannot be compared. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from reconciler.actions import SUBMITS, Action
from reconciler.check import did_you_mean
from reconciler.compare import declared_in
from reconciler.duplicates import Asked, listed, same_work
from reconciler.errors import Location
from reconciler.facts import Facts
from reconciler.job import (
    Gone,
    ObservedJob,
    RecordedJob,
    Seen,
    Unreachable,
)
from reconciler.text import plural


def duplicates(actions: Sequence[Action], facts: Facts) -> Iterator[str]:
    """Specs that ask for the same work, one of which at least is about to be submitted."""
    submits = {a.name for a in actions if a.action in SUBMITS}
    if not submits:
        return
    others = {n: facts.state.jobs[n] for n in facts.elsewhere & facts.state.jobs.keys() - facts.desired.keys()}
    known = [Asked(Location(r.spec_path, r.line or 0), name, r.fingerprint) for name, r in others.items()]
    for group in same_work(facts.desired.values(), known):
        if count := sum(job.name in submits for job in group):
            yield f"{len(group):,} specs ask for the same work, and {count:,} would be submitted: {listed(group)}"


def not_set(names: Sequence[str], facts: Facts) -> Iterator[str]:
    """Variables of the environment that recorded jobs were submitted with, and that are not there to compare."""
    missing: dict[str, int] = {}
    for name in names:
        want, have = facts.desired.get(name), facts.state.jobs.get(name)
        for variable in want.env if want and have else ():
            if variable not in facts.secrets:
                missing[variable] = missing.get(variable, 0) + 1
    for variable, count in missing.items():
        yield f"env.{variable} is not set here, so whether it changed is not known; it stands in {plural(count, 'job')}"


def warnings(name: str, facts: Facts, replaced: Collection[str] = ()) -> Iterator[str]:
    """What is to be said of one job. `replaced`: the names that --replace was given for."""
    want, have, seen = facts.desired.get(name), facts.state.jobs.get(name), facts.observed.get(name)
    if len(found := facts.found.get(name, ())) > 1 and have is None:
        others = ", ".join(job.id for job in found[1:4]) + (", …" if len(found) > 4 else "")
        yield f"{name}: {len(found)} identical jobs are on the platform; the newest is adopted, not {others}"
    if have is None:
        if not found:
            yield from _not_moved(name, facts)
        return
    if isinstance(seen, Gone) or (have.gone and not isinstance(seen, Seen)):
        way_out = "" if name in replaced else "; --replace submits it again"
        yield f"{name}: the platform has no job {have.job_id} (drift){way_out}"
    elif isinstance(seen, Unreachable):
        yield f"{name}: {have.job_id} was not observed: {seen.reason}"
    elif isinstance(seen, Seen) and want is not None:
        yield from (f"{name}: {drift}" for drift in _drift(have, seen.job))


def _not_moved(name: str, facts: Facts) -> Iterator[str]:
    """That there is no record to go on with under the new name, though the spec says so."""
    want, records = facts.desired.get(name), facts.state.jobs
    old = want.policy.moved_from if want is not None else None
    if want is None or old is None or old == name or name in facts.unresolved:
        return
    free = sorted(records.keys() - facts.desired.keys() - facts.elsewhere)
    # A record that asks for the same goes on under the new name all the same: then nothing is submitted.
    as_new = "" if any(records[n].fingerprint == want.fingerprint for n in free) else "; the job is taken as new"
    if old in facts.desired:
        place = facts.desired[old].location
        where = Location(place.path, place.line)
        yield f"{name}: moved_from: {old!r} is a spec that is there ({where}), and keeps its record{as_new}"
    elif old not in records and old not in facts.unresolved:
        later = next((n for n, r in records.items() if old in {m.moved_from for m in r.moves}), None)
        told = f"it was renamed to {later!r} before" if later else did_you_mean(old, free)
        yield f"{name}: moved_from: no record has the name {old!r}" + (f" ({told})" if told else "") + as_new


def _drift(have: RecordedJob, job: ObservedJob) -> Iterator[str]:
    if job.parameters and not declared_in(have.request.get("parameters") or {}, job.parameters):
        yield f"the parameters of {job.id} on the platform are not those that were submitted (drift)"
    pinned = have.request.get("pipeline_version")
    if pinned and job.pipeline_version and pinned != job.pipeline_version:
        yield f"{job.id} runs version {job.pipeline_version}, not {pinned} (drift)"
