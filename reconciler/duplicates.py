"""Specs that ask for the same work under different names: each is submitted, and paid for, on its own. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain

from reconciler.errors import Diagnostic, Location
from reconciler.job import DesiredJob
from reconciler.text import one_line

CODE = "duplicate-job"
_NAMED = 3  # specs that a message names, however many are the same


@dataclass(frozen=True, slots=True, order=True)
class Asked:
    """One name, where it is written, and the fingerprint of what it asks for."""

    location: Location
    name: str
    fingerprint: str


def same_work(jobs: Iterable[DesiredJob], others: Iterable[Asked] = ()) -> list[list[Asked]]:
    """Groups of two or more with one fingerprint, in the order of their files."""
    groups: dict[str, list[DesiredJob | Asked]] = {}
    for job in chain[DesiredJob | Asked](jobs, others):
        groups.setdefault(job.fingerprint, []).append(job)
    several = [group for group in groups.values() if len(group) > 1]
    return sorted(sorted(Asked(j.location, j.name, j.fingerprint) for j in group) for group in several)


def listed(group: Sequence[Asked]) -> str:
    """The first of `group` with their places, and how many more there are."""
    parts = [f"{one_line(job.name, 60)} ({Location(job.location.path, job.location.line)})" for job in group[:_NAMED]]
    if (more := len(group) - _NAMED) > 0:
        return ", ".join(parts) + f" and {more:,} more"
    return ", ".join(parts[:-1]) + f" and {parts[-1]}"


def duplicate_jobs(jobs: Iterable[DesiredJob]) -> list[Diagnostic]:
    """A warning for each group, at its second spec."""
    hint = "each is submitted and paid for on its own: remove what is not meant to run"
    return [
        Diagnostic(
            CODE,
            f"{len(group):,} specs ask for the same work: {listed(group)}",
            group[1].location,
            "warning",
            hint=hint,
        )
        for group in same_work(jobs)
    ]
