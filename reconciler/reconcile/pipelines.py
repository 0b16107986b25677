"""The platform's pipeline registry, and the snapshots of it that specs are checked against."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

from reconciler.durable import replace_file
from reconciler.errors import PlatformError
from reconciler.job import JsonObject
from reconciler.reconcile.settings import Settings


async def pipelines(settings: Settings) -> list[JsonObject]:
    """The registry's rows, one a pipeline version. Raises `PlatformError`."""
    async with settings.connect() as client:
        return await client.pipelines()


async def pull_pipelines(settings: Settings, keys: Sequence[str], folder: Path) -> list[Path]:
    """Write a snapshot of every pipeline version, or of those with one of `keys`. Raises `PlatformError`."""
    async with settings.connect() as client:
        rows = [row for row in await client.pipelines() if not keys or row.get("pipeline_key") in keys]
        if missing := sorted(set(keys) - {str(row.get("pipeline_key")) for row in rows}):
            raise PlatformError(f"the platform has no pipeline {missing[0]!r}", "see 'reconciler pipelines list'")
        snapshots = [_snapshot(row, await client.pipeline_schema(str(row.get("id")))) for row in rows]
    return [_write(folder, snapshot) for snapshot in snapshots]


def _snapshot(row: JsonObject, schema: JsonObject) -> JsonObject:
    """What `load` needs to check a spec: the registry's schema, with the components and their defaults."""
    return {
        "pipeline_key": schema.get("pipeline_key") or row.get("pipeline_key"),
        "pipeline_version": schema.get("pipeline_version") or row.get("pipeline_version"),
        "pipeline_type": row.get("pipeline_type"),
        "components": sorted(row.get("components") or {}),
        "default_config": row.get("default_config") or {},
        "user_schema": schema.get("user_schema") or {},
        "inputs": schema.get("inputs") or {},
        "outputs": schema.get("outputs") or {},
    }


def _write(folder: Path, snapshot: JsonObject) -> Path:
    name = re.sub(r"[^A-Za-z0-9._@-]", "_", f"{snapshot['pipeline_key']}@{snapshot['pipeline_version']}")
    path = folder / f"{name.lstrip('.')}.json"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        replace_file(path, json.dumps(snapshot, indent=2, ensure_ascii=False).encode() + b"\n", mode=0o644)
    except OSError as error:
        raise PlatformError(f"the snapshot {path} cannot be written: {error.strerror}") from error
    return path
