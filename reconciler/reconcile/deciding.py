"""`settle` and `import`: what a person decides about an unknown outcome, or about a job that is there already."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from reconciler.chains import source_names
from reconciler.check import did_you_mean
from reconciler.entries import Adopted, Intent, NotSubmitted, Submitted
from reconciler.errors import PlanRefused, PlatformUnavailable
from reconciler.job import DesiredJob, Gone, JobStatus, JsonObject, ObservedJob, Source, Unreachable
from reconciler.observe import difference
from reconciler.reconcile.planning import PlanRequest, desired_jobs, source_of
from reconciler.reconcile.session import Session, open_session
from reconciler.reconcile.settings import Settings
from reconciler.reconcile.watching import Status
from reconciler.transfer import as_sent


async def settle_by_hand(settings: Settings, names: Sequence[str], *, not_submitted: bool) -> Status:
    """Look for the jobs of open submissions; with `not_submitted`, take a person's word that `names` have none.

    Raises `PlanRefused` for a name without an open submission.
    """
    async with open_session(settings) as session:
        unresolved = session.unresolved
        if not_submitted:
            intents = [_open_intent(session, name) for name in names]
            at, reason = settings.timestamp(), "a person said so"
            session.take(
                [NotSubmitted(name=i.name, at=at, token=i.token, refused=False, reason=reason) for i in intents]
            )
            for name in names:
                session.unresolved.pop(name, None)
        notes = session.notes + tuple(f"{name}: taken as not submitted" for name in names if not_submitted)
        open_ones = {n: r for n, r in unresolved.items() if not names or n in names}
        return Status({}, open_ones, notes)


def _open_intent(session: Session, name: str) -> Intent:
    for intent in session.intents:
        if intent.name == name:
            return intent
    hint = did_you_mean(name, [i.name for i in session.intents]) or "'reconciler settle' says what is open"
    raise PlanRefused(f"no submission of {name!r} is open: its outcome is known", hint)


async def import_job(
    settings: Settings, paths: Sequence[Path], name: str, job_id: str, *, force: bool = False
) -> Status:
    """Record `job_id` as the job of the spec `name`. It must be what the spec, or the open submission, asked for; with
    `force` only its name and its pipeline must.

    Raises `PlanRefused` when it is not, `SpecError` for broken specs, `PlatformError`.
    """
    desired, _ = desired_jobs(settings, PlanRequest(tuple(paths)))
    async with open_session(settings) as session:
        intent = next((i for i in session.intents if i.name == name), None)
        if intent is None and name not in desired:
            swapped = f"NAME comes first: reconciler import {shlex.quote(job_id)} JOB_ID" if job_id in desired else None
            hint = swapped or did_you_mean(name, desired) or "names are those in the specs"
            raise PlanRefused(f"no spec has the name {name!r}", hint)
        _refuse_recorded(session, name, job_id, is_open=intent is not None)
        request = (intent.sent or intent.request) if intent else await _sent(session, desired[name])
        job = await _fitting(session, name, request, job_id, force=force)
        at = settings.timestamp()
        if intent is not None:
            session.take([_answered(intent, at, job)])
            session.unresolved.pop(name, None)
        else:
            source = source_of(settings, desired)
            session.take([_adopted(desired[name], at, job, source, "imported with --force" if force else "imported")])
        return Status({name: session.state.jobs[name]}, session.unresolved, session.notes)


async def _sent(session: Session, want: DesiredJob) -> JsonObject:
    completed = {n: r.job_id for n, r in session.state.jobs.items() if r.status == JobStatus.COMPLETED}
    request = await as_sent(session.client, want.request, completed)
    if request is None:
        missing = sorted(source_names(want.request) - completed.keys())
        message = f"{want.name!r} takes from {missing[0]!r}, which is not recorded as COMPLETED"
        raise PlanRefused(message, "import that first")
    return request


def _answered(intent: Intent, at: str, job: ObservedJob) -> Submitted:
    why = "the answer was lost, and a person said which job it is"
    return Submitted(name=intent.name, at=at, token=intent.token, job_id=job.id, job=job.raw, adopted=True, why=why)


def _adopted(want: DesiredJob, at: str, job: ObservedJob, source: Source, why: str) -> Adopted:
    return Adopted(
        name=want.name,
        at=at,
        job_id=job.id,
        fingerprint=want.fingerprint,
        request=want.request,
        spec_path=want.location.path,
        job=job.raw,
        line=want.location.line,
        source=source,
        why=why,
        protect=want.policy.protect,
        on_remove=want.policy.on_remove,
        rerun=want.policy.rerun,
    )


def _refuse_recorded(session: Session, name: str, job_id: str, *, is_open: bool) -> None:
    record = session.state.jobs.get(name)
    if record is not None and not is_open:
        hint = "nothing is to be imported; to submit it anew: reconciler apply --replace NAME"
        raise PlanRefused(f"{name!r} is recorded already, as {record.job_id}", hint)
    for other, theirs in session.state.jobs.items():
        if job_id == theirs.job_id or job_id in {p.job_id for p in theirs.history}:
            raise PlanRefused(f"{job_id} is recorded already, for {other!r}", "a job belongs to one spec")


async def _fitting(session: Session, name: str, request: JsonObject, job_id: str, *, force: bool) -> ObservedJob:
    seen = await session.client.observe(job_id)
    if isinstance(seen, Gone):
        raise PlanRefused(f"the platform has no job {job_id}", "check the id and the endpoint")
    if isinstance(seen, Unreachable):
        raise PlatformUnavailable(f"{job_id} could not be read: {seen.reason}", "try again later")
    what = await difference(session.client, name, request, seen.job)
    if what in ("name", "pipeline"):
        raise PlanRefused(f"{job_id} is not the job of {name!r}: it has another {what}")
    if what is not None and not force:
        hint = "if the platform only shows them in another way, record it with --force"
        raise PlanRefused(f"{job_id} is not the job of {name!r}: it has other {what}", hint)
    return seen.job
