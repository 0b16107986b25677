"""The version that the platform's latest is today, for specs that leave it open: asked once, then pinned."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from reconciler.actions import SUBMITS, Plan
from reconciler.errors import PlanRefused, PlatformError
from reconciler.facts import PlanOptions
from reconciler.job import DesiredJob, State
from reconciler.registry import Version, latest, versions
from reconciler.text import one_line

if TYPE_CHECKING:
    from reconciler.client import Client


@dataclass(frozen=True, slots=True)
class Latest:
    """The latest versions by key, those of the saved plan that is carried out, and what is to be said of both."""

    today: Mapping[str, str] = field(default_factory=dict)
    reviewed: Mapping[str, str | None] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def may_submit_open(desired: Mapping[str, DesiredJob], state: State, options: PlanOptions) -> bool:
    """Whether a job may be about to be submitted whose spec leaves the version open."""
    return any(
        (have := state.jobs.get(name)) is None
        or have.fingerprint != want.fingerprint
        or bool(options.replace)
        or bool(want.env)
        or (want.policy.rerun is not None and want.policy.rerun not in have.reruns)
        for name, want in desired.items()
        if _is_open(want)
    )


async def read_latest(
    client: Client, desired: Mapping[str, DesiredJob], saved: Plan | None, *, submits: bool
) -> Latest:
    """Ask the registry, when a spec leaves its version open. Where it cannot be read the version stays open.

    `submits`: such a job may be about to be submitted, so that this is worth a note. Raises `PlanRefused` when the
    platform no longer has a version that `saved` has pinned, and `PlatformError` for a refused key.
    """
    from reconciler.reconcile.pipelines import CANNOT

    pinned = _pinned(saved) if saved is not None else {}
    keys = {str(want.request["pipeline_key"]) for want in desired.values() if _is_open(want)}
    if not keys:
        return Latest(reviewed=pinned)
    try:
        known = versions(await client.pipelines())
    except PlatformError as error:
        if error.status == 401:
            raise
        why = "it has no pipeline registry" if error.status in CANNOT else error.message
        note = f"jobs without pipeline_version get the platform's latest, and which that is cannot be told: {why}"
        return Latest(reviewed=pinned, notes=(note,) if submits else ())
    _refuse_missing(pinned, known)
    today = {key: found.version for key in sorted(keys) if (found := latest(known, key)) is not None}
    missing = [f"the platform has no published version of {_named(key)}" for key in sorted(keys - today.keys())]
    moved = [
        f"the latest version of {_named(key)} is {_named(today[key])} now; the saved plan has {_named(version)}"
        for key, version in pinned.items()
        if version is not None and today.get(key, version) != version
    ]
    return Latest(today, pinned, (*(missing if submits else ()), *moved))


def _is_open(want: DesiredJob) -> bool:
    return not want.request.get("pipeline_version")


def _pinned(saved: Plan) -> dict[str, str | None]:
    return {
        str(action.request["pipeline_key"]): action.pipeline_version
        for action in saved.actions
        if action.action in SUBMITS and action.request and not action.request.get("pipeline_version")
    }


def _refuse_missing(pinned: Mapping[str, str | None], known: list[Version]) -> None:
    """Raises `PlanRefused` when the platform would not take a pinned version. A draft's row may not be listed."""
    there = {(v.key, v.version) for v in known if v.runs}
    for key, version in pinned.items():
        if version is not None and (key, version) not in there:
            message = f"the saved plan has version {_named(version)} of {_named(key)}, and the platform has it no more"
            raise PlanRefused(message, "make a new plan and review it")


def _named(text: str) -> str:
    return one_line(text, 60)
