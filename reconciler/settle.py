"""Submissions of which it is not known whether they made a job: look, wait, look again, and say which.

This is what makes a crash, a time-out and a lost answer safe. It never submits: a job that is not there is submitted
by the plan, which is told so.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from reconciler.client import Client
from reconciler.errors import PlatformError
from reconciler.job import ObservedJob, State
from reconciler.observe import identical, parse_time, same_pipeline
from reconciler.record import Intent, NotSubmitted, Submitted

_CLOCK_STEP = timedelta(seconds=2)
"""The platform tells its clock in whole seconds, so a job may seem to be made this much before its intent."""


@dataclass(frozen=True, slots=True)
class Settled:
    """What is known now, and why the rest is not: reasons by name."""

    entries: tuple[Submitted | NotSubmitted, ...]
    unresolved: dict[str, str]


async def settle(
    client: Client,
    intents: Sequence[Intent],
    state: State,
    *,
    now: Callable[[], datetime],
    sleep: Callable[[float], Awaitable[None]],
    settle_time: float,
) -> Settled:
    """Find out what became of `intents`. Two listings, `settle_time` seconds apart, must agree that there is no job."""
    first, unresolved = await _look(client, intents, state, now)
    missing = [i for i in intents if i.name not in unresolved and i.name not in first]
    second: dict[str, ObservedJob] = {}
    if missing:
        await sleep(settle_time)
        second, late = await _look(client, missing, state, now)
        unresolved |= late
    found = {**first, **second}
    at = now().strftime("%Y-%m-%dT%H:%M:%SZ")
    entries: list[Submitted | NotSubmitted] = []
    for intent in intents:
        if job := found.get(intent.name):
            entries.append(
                Submitted(name=intent.name, at=at, token=intent.token, job_id=job.id, job=job.raw, adopted=True)
            )
        elif intent.name not in unresolved:
            reason = f"two listings {settle_time:g} s apart show no such job"
            entries.append(NotSubmitted(name=intent.name, at=at, token=intent.token, refused=False, reason=reason))
    return Settled(tuple(entries), unresolved)


async def _look(
    client: Client, intents: Sequence[Intent], state: State, now: Callable[[], datetime]
) -> tuple[dict[str, ObservedJob], dict[str, str]]:
    """One listing: the job of each intent that has exactly one, and the reason for each that cannot be told."""
    known = {r.job_id for r in state.jobs.values()} | {p.job_id for r in state.jobs.values() for p in r.history}
    names = {i.name for i in intents}
    found: dict[str, ObservedJob] = {}
    unresolved: dict[str, str] = {}
    try:
        # Which fields a search matches is not documented, so a job that it does not find could still be there:
        # only a walk over all jobs can say that there is none.
        listed = [j async for j in client.jobs() if j.name in names and j.id not in known]
        for intent in intents:
            since = _since(intent, client, now)
            recent = [j for j in listed if j.name == intent.name and (parse_time(j.created_at) or since) >= since]
            same = await identical(client, intent.name, intent.request, recent)
            if len(same) == 1:
                found[intent.name] = same[0]
            elif same:
                ids = ", ".join(j.id for j in same)
                unresolved[intent.name] = f"{len(same)} jobs fit: {ids}"
            elif near := [j for j in recent if same_pipeline(j, intent.request)]:
                # The platform may show values in another way than it was given them: that is no proof of absence.
                ids = ", ".join(j.id for j in near)
                unresolved[intent.name] = f"made since, with that name, but not quite what was submitted: {ids}"
    except PlatformError as error:
        for intent in intents:
            unresolved.setdefault(intent.name, f"the platform could not be searched: {error.message}")
        found = {}
    return found, unresolved


def _since(intent: Intent, client: Client, now: Callable[[], datetime]) -> datetime:
    """When the intent was, by the platform's clock. What was created before cannot be its job."""
    noted = parse_time(intent.platform_time)
    if noted is None:
        ours = parse_time(intent.at) or now()
        theirs = client.platform_now()
        noted = ours + (theirs - now()) if theirs else ours
    return noted - _CLOCK_STEP
