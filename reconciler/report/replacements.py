"""What becomes of a record when one state takes the place of another: for people, for scripts, and for a log."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal, TypeAlias

from reconciler.job import JsonObject, RecordedJob, State
from reconciler.text import one_line

Kind: TypeAlias = Literal["new", "replaced", "forgotten", "changed"]
_KINDS: tuple[Kind, ...] = ("new", "replaced", "forgotten", "changed")
_MANY = 100


def changes(before: State | None, after: State) -> Iterator[tuple[Kind, str, str, str]]:
    """What is other, by name: the kind, the name, the job id and its status; of what is forgotten, as it was."""
    old = before.jobs if before else {}
    for name in sorted(old.keys() | after.jobs.keys()):
        was, now = old.get(name), after.jobs.get(name)
        if now is None:
            yield "forgotten", name, old[name].job_id, _standing(old[name])
        elif was is None:
            yield "new", name, now.job_id, _standing(now)
        elif was.job_id != now.job_id:
            yield "replaced", name, now.job_id, _standing(now)
        elif was != now:
            yield "changed", name, now.job_id, _standing(now)


def _standing(record: RecordedJob) -> str:
    return "GONE" if record.gone else record.status


def log_text(before: State | None, after: State) -> str:
    """A line that counts, an empty one, and a line for each name."""
    found = list(changes(before, after))
    lines = [
        f"{kind}: {one_line(name, 128)} is {one_line(job, 60)}, {one_line(status, 60)}"
        for kind, name, job, status in found
    ]
    counted = [f"{count} {kind}" for kind in _KINDS if (count := sum(each == kind for each, *_ in found))]
    first = ", ".join([*counted, f"serial {after.serial}"])
    more = [f"and {len(lines) - _MANY} more"] if len(lines) > _MANY else []
    return "\n".join([first, "", *lines[:_MANY], *more]) if lines else first


def replacement_text(before: State | None, after: State, where: str) -> str:
    """What `where` holds, what it is to hold, and every name that becomes other."""
    now = f"serial {before.serial}, lineage {before.lineage}" if before else "nothing"
    counted, _, names = log_text(before, after).partition("\n")
    lines = [
        f"The state {one_line(where)}",
        f"  holds    {one_line(now)}",
        f"  gets     serial {after.serial}, lineage {one_line(after.lineage)}",
        f"  records  {counted.rpartition(', serial')[0] or 'the same jobs'}",
    ]
    return "\n".join([*lines, *(f"    {line}" for line in names.splitlines() if line)])


def replacement_json(before: State | None, after: State, where: str, *, done: bool) -> JsonObject:
    """The document of `state push` and `state migrate` with `--format json`."""
    return {
        "format_version": 1,
        "state": where,
        "done": done,
        "before": {"lineage": before.lineage, "serial": before.serial} if before else None,
        "after": {"lineage": after.lineage, "serial": after.serial},
        "changes": [
            {"change": kind, "name": name, "job_id": job, "status": status}
            for kind, name, job, status in changes(before, after)
        ],
    }
