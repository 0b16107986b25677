"""Pipeline snapshots (`schemas/pipelines/*.json`) → what specs are checked against. No network is touched."""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from reconciler.check import Checker, SchemaError, route_text
from reconciler.resolve import Pipeline, Port


class _Component(BaseModel):
    config: dict[str, Any] | None = None


class _Snapshot(BaseModel):
    model_config = ConfigDict(hide_input_in_errors=True)

    pipeline_key: str
    pipeline_version: str
    inputs: dict[str, Port]
    components: list[str]
    default_config: dict[str, _Component]
    user_schema: dict[str, Any]


class Snapshots:
    """The snapshots in a folder, by key and version. `faults` names the files that cannot be used, and why."""

    def __init__(self, folder: Path | None) -> None:
        self.faults: list[tuple[Path, str]] = []
        self._pipelines: dict[str, list[Pipeline]] = {}
        for path in sorted(folder.glob("*.json")) if folder is not None else ():
            try:
                pipeline = _pipeline(path)
            except (OSError, ValueError, RecursionError, SchemaError) as error:
                self.faults.append((path, _reason(error)))
            else:
                self._pipelines.setdefault(pipeline.key, []).append(pipeline)
        for versions in self._pipelines.values():
            versions.sort(key=lambda p: _age(p.version))

    @property
    def keys(self) -> Collection[str]:
        return self._pipelines.keys()

    def find(self, key: str, version: str | None) -> Pipeline | None:
        """The snapshot of a version, or, without one, of the newest that is here."""
        versions = [p for p in self._pipelines.get(key, []) if version is None or p.version == version]
        return versions[-1] if versions else None


def _pipeline(path: Path) -> Pipeline:
    if not path.is_file():
        raise OSError("not a regular file")
    snapshot = _Snapshot.model_validate(json.loads(path.read_bytes()))
    return Pipeline(
        key=snapshot.pipeline_key,
        version=snapshot.pipeline_version,
        inputs=snapshot.inputs,
        components=snapshot.components,
        defaults={name: component.config or {} for name, component in snapshot.default_config.items()},
        config=Checker(snapshot.user_schema),
        path=str(path),
    )


def _reason(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors(include_input=False, include_url=False)[0]
        return f"{route_text(first['loc']) or 'the document'}: {first['msg']}"
    if isinstance(error, SchemaError):
        return f"{route_text(('user_schema', *error.absolute_path))}: {error.message}"
    return str(error).partition("\n")[0]


def _age(version: str) -> tuple[list[int], bool, str]:
    """Sorts versions by age: numbers as numbers, a pre-release (`1.2-rc1`) before its release."""
    release, _, pre = version.partition("-")
    numbers = [int(part) if re.fullmatch(r"[0-9]{1,18}", part) else -1 for part in release.split(".")]
    return numbers, not pre, version
