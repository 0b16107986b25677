"""The platform's pipeline registry, and the snapshots of it that specs are checked against."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from reconciler.client import Client
from reconciler.durable import make_folder, read_file, replace_file
from reconciler.errors import PlatformError
from reconciler.job import JsonObject
from reconciler.reconcile.settings import Settings
from reconciler.registry import DRAFT, Pulled, Version, chosen, file_name, latest, snapshot, versions
from reconciler.snapshots import UNUSABLE, check, reason

CANNOT = frozenset({404, 405, 501})
"""What a platform answers that has no registry, or no schemas in it. Any other failure may be over in a minute."""


async def pipelines(settings: Settings) -> list[JsonObject]:
    """The registry's rows, one a pipeline version. Raises `PlatformError`."""
    async with settings.connect() as client:
        return await client.pipelines()


async def pull_pipelines(
    settings: Settings, wanted: Sequence[str], folder: Path, *, drafts: bool = False, only_check: bool = False
) -> list[Pulled]:
    """Write a snapshot of every published version, or of what `wanted` names, `KEY` or `KEY@VERSION`.

    `only_check` writes nothing, and without `wanted` looks at the snapshots that are there, and for versions newer than
    those. Files of versions that the platform no longer has stay, and are told. Raises `PlatformError`, before anything
    is written; then each file is replaced as a whole.
    """
    here = _present(folder)
    async with settings.connect() as client:
        known = await _known(client, drafts=drafts or any("@" in w for w in wanted) or _has_drafts(here))
        checked = only_check and not wanted
        picked = _to_check(known, here, folder) if checked else chosen(known, wanted, drafts=drafts)
        schemas = await asyncio.gather(*(_schema(client, version) for version in picked))
    made = [_made(version, schema, folder, here) for version, schema in zip(picked, schemas, strict=True)]
    written = {each.told.path for each in made if each.told.change != "skipped"}
    gone = list(_gone(known, wanted, {path: each for path, each in here.items() if str(path) not in written}))
    if not only_check:
        for each in made:
            if each.told.change in ("new", "changed"):
                _write(Path(each.told.path), each.data)
    return sorted([*(each.told for each in made), *gone], key=lambda p: p.path)


@dataclass(frozen=True, slots=True)
class _Here:
    """A snapshot file that is there. Of one that cannot be used, key and version are empty."""

    data: bytes
    key: str = ""
    version: str = ""
    status: str = ""


@dataclass(frozen=True, slots=True)
class _Made:
    told: Pulled
    data: bytes = b""


def _present(folder: Path) -> dict[Path, _Here]:
    """The snapshots in `folder`. Raises `PlatformError` when it cannot be read."""
    found = {}
    try:
        for path in sorted(folder.glob("*.json")):
            data = read_file(path) or b""
            try:
                raw = json.loads(data)
                texts = {name: raw.get(f"pipeline_{name}") for name in ("key", "version")}
                known = all(isinstance(text, str) for text in texts.values())
                found[path] = _Here(data, **texts, status=str(raw.get("status", ""))) if known else _Here(data)
            except (ValueError, AttributeError, RecursionError):
                found[path] = _Here(data)
    except OSError as error:
        raise PlatformError(f"the snapshots in {folder} cannot be read: {error.strerror}") from error
    return found


def _has_drafts(here: Mapping[Path, _Here]) -> bool:
    return any(each.status == DRAFT for each in here.values())


async def _known(client: Client, *, drafts: bool) -> list[Version]:
    """The registry's versions. What its list leaves out unless asked for is not documented. Raises `PlatformError`."""
    try:
        rows = await client.pipelines()
    except PlatformError as error:
        if error.status in CANNOT:
            raise PlatformError("the platform has no pipeline registry", status=error.status) from error
        raise
    if drafts and not any(row.get("status") == DRAFT for row in rows):
        try:
            rows += await client.pipelines(status=DRAFT)
        except PlatformError as error:
            if error.status is None or not 400 <= error.status < 500:
                raise
    return versions(rows)


async def _schema(client: Client, version: Version) -> JsonObject | None:
    """The registry's schema of a version; None when it has none. Raises `PlatformError`."""
    identity = version.row.get("id")
    if not isinstance(identity, str) or not identity:
        return None
    try:
        return await client.pipeline_schema(identity)
    except PlatformError as error:
        if error.status not in CANNOT:
            raise
        return None


def _to_check(known: Sequence[Version], here: Mapping[Path, _Here], folder: Path) -> list[Version]:
    """The versions that are there as snapshots, by what a file holds or by its name, and the latest of each such
    pipeline.
    """
    there = {(each.key, each.version) for each in here.values()}
    there |= {(v.key, v.version) for v in known if folder / file_name(v) in here}
    newest = [latest(known, key) for key in {key for key, _ in there}]
    there |= {(v.key, v.version) for v in newest if v is not None}
    return [v for v in known if (v.key, v.version) in there and v.runs]


def _made(version: Version, schema: JsonObject | None, folder: Path, here: Mapping[Path, _Here]) -> _Made:
    """The snapshot of `version`, and what it is against the one that is there."""
    path = folder / file_name(version)
    document = snapshot(version, schema)

    def told(change: Any, why: str | None = None) -> Pulled:
        return Pulled(str(path), version.key, version.version, change, why)

    if document is None:
        return _Made(told("skipped", "the platform tells neither its schema nor its ports"))
    try:
        check(document)
    except UNUSABLE as error:
        return _Made(told("skipped", f"what the platform tells cannot be used: {reason(error)}"))
    data = json.dumps(document, indent=2, ensure_ascii=False, sort_keys=True).encode() + b"\n"
    if path not in here:
        others = {each.version for each in here.values() if each.key == version.key} - {version.version}
        return _Made(told("new", f"here is {', '.join(sorted(others))}" if others else None), data)
    was = here[path]
    if (was.key, was.version) == (version.key, version.version):
        return _Made(told("unchanged" if was.data == data else "changed"), data)
    return _Made(told("changed", f"found {f'{was.key} {was.version}' if was.key else 'no snapshot'} in it"), data)


def _gone(known: Sequence[Version], wanted: Sequence[str], here: Mapping[Path, _Here]) -> Iterator[Pulled]:
    """Snapshots of versions that jobs cannot have any more, as far as they were asked about."""
    by_name = {(v.key, v.version): v for v in known}
    for path, each in here.items():
        if wanted and each.key not in wanted and f"{each.key}@{each.version}" not in wanted:
            continue
        version = by_name.get((each.key, each.version))
        if not each.key:
            yield Pulled(str(path), "", "", "gone", "not a snapshot; remove it")
        elif version is not None and version.runs and path.name != file_name(version):
            why = f"it holds {version}, which belongs into {file_name(version)}; remove it"
            yield Pulled(str(path), each.key, each.version, "gone", why)
        elif version is None:
            why = "the platform no longer has it; remove the file when no spec names it"
            yield Pulled(str(path), each.key, each.version, "gone", why)
        elif not version.runs:
            why = f"the platform has it as {version.status}; remove the file when no spec names it"
            yield Pulled(str(path), each.key, each.version, "gone", why)


def _write(path: Path, data: bytes) -> None:
    try:
        make_folder(path.parent)
        replace_file(path, data, mode=0o644)
    except OSError as error:
        raise PlatformError(f"the snapshot {path} cannot be written: {error.strerror}") from error
