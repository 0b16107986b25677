"""The platform's pipeline registry: its rows → versions, which of them is the latest, and a snapshot of one. Pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from reconciler.errors import PlatformError
from reconciler.findings import did_you_mean
from reconciler.job import JsonObject, parse_time

DRAFT = "draft"
PUBLISHED = "published"
_USABLE = frozenset({PUBLISHED, DRAFT})
_TEXT = 200  # characters of a key or a version; nobody means a longer one
_NAME = 180  # characters of a file's name, which file systems count in bytes
_LISTED = 8

Change: TypeAlias = Literal["new", "changed", "unchanged", "gone", "skipped"]


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a pipeline. `row` is what the registry's list says of it."""

    key: str
    version: str
    status: str
    row: JsonObject

    @property
    def runs(self) -> bool:
        """Whether the platform takes jobs of it, at least of those that name it."""
        return self.status in _USABLE

    def __str__(self) -> str:
        return f"{self.key} {self.version}"


@dataclass(frozen=True, slots=True)
class Pulled:
    """What a snapshot is, or was, against what the platform says. `why` is for people."""

    path: str
    key: str
    version: str
    change: Change
    why: str | None = None


def versions(rows: Iterable[Mapping[str, Any]]) -> list[Version]:
    """Every row that names a version, each once. A platform that tells no status means that it is published."""
    found: dict[tuple[str, str], Version] = {}
    for row in rows:
        key, version = row.get("pipeline_key"), row.get("pipeline_version")
        if isinstance(key, str) and isinstance(version, str) and 0 < len(key) <= _TEXT and 0 < len(version) <= _TEXT:
            status = row.get("status")
            known = Version(key, version, status if isinstance(status, str) and status else PUBLISHED, dict(row))
            found.setdefault((key, version), known)
    return sorted(found.values(), key=lambda v: (v.key, age(v.version)))


def latest(known: Iterable[Version], key: str) -> Version | None:
    """The version that the platform takes when a job names none: the highest published one.

    Versions are free text. Where they are not all numbers, it is the one that was made last.
    """
    published = [v for v in known if v.key == key and v.status == PUBLISHED]
    made = {v.version: parse_time(v.row.get("created_at")) for v in published}
    numbers = all(re.fullmatch(r"v?[0-9]{1,18}(\.[0-9]{1,18})*", v.version) for v in published)
    times = [moment for moment in made.values() if moment is not None]
    if not numbers and len(set(times)) == len(published):
        return max(published, key=lambda v: made[v.version] or times[0])
    return max(published, key=lambda v: age(v.version), default=None)


def age(version: str) -> tuple[list[int], bool, str]:
    """Sorts versions by age: numbers as numbers, a pre-release (`1.2-rc1`) before its release."""
    release, _, pre = version.partition("-")
    numbers = [int(n) if re.fullmatch(r"[0-9]{1,18}", n) else -1 for n in release.removeprefix("v").split(".")]
    return numbers, not pre, version


def chosen(known: Sequence[Version], wanted: Sequence[str], *, drafts: bool) -> list[Version]:
    """The versions that `wanted` names, `KEY` or `KEY@VERSION`; without any, all that are published.

    `KEY` stands for what is published of it, with `drafts` also for its drafts; `KEY@VERSION` for that version,
    whatever its status. Raises `PlatformError` for one that the platform does not have.
    """
    statuses = {PUBLISHED, DRAFT} if drafts else {PUBLISHED}
    if not wanted:
        return [v for v in known if v.status in statuses]
    found: dict[tuple[str, str], Version] = {}
    for name in wanted:
        here = [v for v in known if v.key == name and v.status in statuses]
        here = here or [v for v in known if f"{v.key}@{v.version}" == name and v.status != "deleted"]
        if not here:
            raise _unknown(name, known)
        found |= {(v.key, v.version): v for v in here}
    return list(found.values())


def _unknown(name: str, known: Sequence[Version]) -> PlatformError:
    for key in (name, name.rpartition("@")[0]):
        if mine := [f"{v.version} ({v.status})" for v in known if v.key == key]:
            hint = f"its versions: {', '.join(mine[:_LISTED])}" + (", …" if len(mine) > _LISTED else "")
            what = f"no published version of pipeline {key!r}" if key == name else f"no pipeline version {name!r}"
            return PlatformError(f"the platform has {what}", hint)
    near = did_you_mean(name.rpartition("@")[0] or name, {v.key for v in known})
    return PlatformError(f"the platform has no pipeline {name!r}", near or "see 'reconciler pipelines list'")


def snapshot(version: Version, schema: JsonObject | None) -> JsonObject | None:
    """What is needed to check a spec offline, from the registry's schema or, without it, from its row.

    None when neither tells the ports: a snapshot without them would find fault with every spec.
    """
    row = version.row
    told = schema or {}
    inputs, outputs = (told.get(name, row.get(name)) for name in ("inputs", "outputs"))
    if not isinstance(inputs, dict):
        return None
    components = sorted(row.get("components") or row.get("default_config") or {})
    full = told.get("config_schema") or row.get("config_schema")
    made = {
        "pipeline_key": version.key,
        "pipeline_version": version.version,
        "pipeline_type": row.get("pipeline_type"),
        "components": components,
        "default_config": row.get("default_config") or {},
        "user_schema": told.get("user_schema") or row.get("user_config_schema") or {},
        "parallelism": {name: bounds for name in components if (bounds := _bounds(full, name))},
        "inputs": inputs,
    }
    if isinstance(outputs, dict):
        made["outputs"] = outputs
    if version.status != PUBLISHED:
        made["status"] = version.status
    return made


def _bounds(schema: Any, component: str) -> JsonObject:
    """The limits of a component's `parallelism`, where the full schema is of all parameters, or of a component."""
    for route in (("properties", component, "properties", "parallelism"), ("properties", "parallelism")):
        below = _at(schema, route)
        if limits := {k: below[k] for k in ("minimum", "maximum") if type(below.get(k)) is int}:
            return limits
    return {}


def _at(value: Any, route: Sequence[str]) -> JsonObject:
    """The object at `route` in `value`; an empty one where there is none."""
    for step in route:
        value = value.get(step) if isinstance(value, dict) else None
    return value if isinstance(value, dict) else {}


def file_name(version: Version) -> str:
    """The file of a version's snapshot. Names that are not safe as they are get a digest: no two are the same."""
    name = f"{version.key}@{version.version}"
    safe = re.sub(r"[^A-Za-z0-9._@-]", "_", name).lstrip(".")[:_NAME]
    return f"{safe}.json" if safe == name else f"{safe}-{hashlib.sha256(name.encode()).hexdigest()[:8]}.json"
