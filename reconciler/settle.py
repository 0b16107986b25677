"""Submissions of which it is not known whether they made a job: look, wait, look again, and say which.

This is what makes a crash, a time-out and a lost answer safe. It never submits: a job that is not there is submitted
by the plan, which is told so.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from reconciler.client import Client
from reconciler.entries import Intent, NotSubmitted, Submitted
from reconciler.errors import PlatformError
from reconciler.facts import known_ids
from reconciler.job import ObservedJob, State, is_terminal, parse_time, timestamp
from reconciler.observe import identical

_CLOCKS = timedelta(seconds=60)
"""How far apart the clocks of a platform's hosts may be: the one that tells the time, and the one that stamps jobs."""
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
    if not intents:
        return Settled((), {})
    first, unresolved = await _look(client, intents, state, now)
    missing = [i for i in intents if i.name not in unresolved and i.name not in first]
    second: dict[str, ObservedJob] = {}
    if missing:
        await sleep(settle_time)
        second, late = await _look(client, missing, state, now)
        unresolved |= late
    found = {**first, **second}
    at = timestamp(now())
    entries: list[Submitted | NotSubmitted] = []
    for intent in intents:
        if job := found.get(intent.name):
            entries.append(_found(intent, at, job))
        elif intent.name not in unresolved:
            reason = f"two listings {settle_time:g} s apart show no such job"
            entries.append(NotSubmitted(name=intent.name, at=at, token=intent.token, refused=False, reason=reason))
    return Settled(tuple(entries), unresolved)


def _found(intent: Intent, at: str, job: ObservedJob) -> Submitted:
    why = "the answer was lost, and its job was found on the platform"
    return Submitted(name=intent.name, at=at, token=intent.token, job_id=job.id, job=job.raw, adopted=True, why=why)


async def _look(
    client: Client, intents: Sequence[Intent], state: State, now: Callable[[], datetime]
) -> tuple[dict[str, ObservedJob], dict[str, str]]:
    """One listing: the job of each intent that has exactly one, and the reason for each that cannot be told."""
    known = known_ids(state)
    names = {_folded(i.name) for i in intents}
    found: dict[str, ObservedJob] = {}
    unresolved: dict[str, str] = {}
    try:
        # Which fields a search matches is not documented, so a job that it does not find could still be there:
        # only a walk over all jobs can say that there is none.
        listed = [j async for j in client.jobs() if _folded(j.name) in names and j.id not in known]
        for intent in intents:
            since = _since(intent, client, now)
            mine = [j for j in listed if j.name == intent.name]
            recent = [j for j in mine if (parse_time(j.created_at) or since) >= since]
            same = await identical(client, intent.name, intent.sent or intent.request, recent)
            if len(same) == 1:
                found[intent.name] = same[0]
            elif same:
                unresolved[intent.name] = f"{len(same)} jobs fit: {_ids(same)}"
            elif near := _nearly(intent, listed, since):
                unresolved[intent.name] = f"there is one that nearly fits: {_ids(near)}"
    except PlatformError as error:
        for intent in intents:
            unresolved.setdefault(intent.name, f"the platform could not be searched: {error.message}")
        found = {}
    return found, unresolved


def _nearly(intent: Intent, listed: Sequence[ObservedJob], since: datetime) -> list[ObservedJob]:
    """Jobs that are no proof of absence: the platform may show a name, a version or a value in another way than it was
    given, and its clocks need not agree with each other.
    """
    near = []
    for job in listed:
        made = parse_time(job.created_at) or since
        of_time = made >= since or (made >= since - _CLOCKS and not is_terminal(job.status))
        same_name = _folded(job.name) == _folded(intent.name)
        if of_time and same_name and job.pipeline_key in ("", intent.request.get("pipeline_key")):
            near.append(job)
    return near


def _folded(name: str) -> str:
    return unicodedata.normalize("NFKC", name).strip().casefold()


def _ids(jobs: Sequence[ObservedJob]) -> str:
    return ", ".join(j.id for j in jobs[:5]) + (", …" if len(jobs) > 5 else "")


def _since(intent: Intent, client: Client, now: Callable[[], datetime]) -> datetime:
    """When the intent was, by the platform's clock. What was created before cannot be its job."""
    noted = parse_time(intent.platform_time)
    if noted is None:
        ours = parse_time(intent.at) or now()
        theirs = client.platform_now()
        noted = ours + (theirs - now()) if theirs else ours
    return noted - _CLOCK_STEP
