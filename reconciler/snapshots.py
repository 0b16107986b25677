"""Pipeline snapshots (`schemas/pipelines/*.json`) → what specs are checked against. No network is touched."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from reconciler.check import Checker, SchemaError, route_text
from reconciler.pipeline import Pipeline, Port
from reconciler.registry import PUBLISHED, age

UNUSABLE = (OSError, ValueError, RecursionError)
"""What reading a snapshot can raise; `reason` puts it into words."""


class _Component(BaseModel):
    config: dict[str, Any] | None = None


class _Bounds(BaseModel):
    minimum: int | None = None
    maximum: int | None = None


class _Snapshot(BaseModel):
    """Fields with a default are not in the snapshots of earlier versions, or not told by every platform."""

    model_config = ConfigDict(hide_input_in_errors=True)

    pipeline_key: str
    pipeline_version: str
    pipeline_type: str | None = None
    status: str = PUBLISHED
    inputs: dict[str, Port]
    outputs: dict[str, Any] | None = None
    components: list[str]
    default_config: dict[str, _Component]
    user_schema: dict[str, Any]
    parallelism: dict[str, _Bounds] = {}


class Snapshots:
    """The snapshots in a folder, by key and version. `faults` names the files that cannot be used, and why."""

    def __init__(self, folder: Path | None) -> None:
        self.faults: list[tuple[Path, str]] = []
        self._pipelines: dict[str, list[Pipeline]] = {}
        for path in sorted(folder.glob("*.json")) if folder is not None else ():
            try:
                pipeline = _pipeline(_document(path), str(path))
            except UNUSABLE as error:
                self.faults.append((path, reason(error)))
            else:
                self._pipelines.setdefault(pipeline.key, []).append(pipeline)
        for versions in self._pipelines.values():  # only what is published is anybody's latest
            versions.sort(key=lambda p: (p.status == PUBLISHED, age(p.version)))

    @property
    def keys(self) -> Collection[str]:
        return self._pipelines.keys()

    def find(self, key: str, version: str | None) -> Pipeline | None:
        """The snapshot of a version, or, without one, of the newest that is here."""
        versions = [p for p in self._pipelines.get(key, []) if version is None or p.version == version]
        return versions[-1] if versions else None


def check(document: Any) -> None:
    """Raises one of `UNUSABLE` when `document` is no snapshot that specs can be checked against."""
    _pipeline(document, "")


def _document(path: Path) -> Any:
    if not path.is_file():
        raise OSError("not a regular file")
    return json.loads(path.read_bytes())


def _pipeline(document: Any, path: str) -> Pipeline:
    snapshot = _Snapshot.model_validate(document)
    return Pipeline(
        key=snapshot.pipeline_key,
        version=snapshot.pipeline_version,
        type=snapshot.pipeline_type,
        status=snapshot.status,
        inputs=snapshot.inputs,
        outputs=None if snapshot.outputs is None else tuple(snapshot.outputs),
        components=snapshot.components,
        defaults={name: component.config or {} for name, component in snapshot.default_config.items()},
        parallelism={
            name: Checker(bounds.model_dump(exclude_none=True), ours=True)
            for name, bounds in snapshot.parallelism.items()
        },
        config=Checker(snapshot.user_schema),
        path=path,
    )


def reason(error: Exception) -> str:
    """Why a snapshot cannot be used."""
    if isinstance(error, ValidationError):
        first = error.errors(include_input=False, include_url=False)[0]
        return f"{route_text(first['loc']) or 'the document'}: {first['msg']}"
    if isinstance(error, SchemaError):
        return f"{route_text(('user_schema', *error.route))}: {error.message}"
    return str(error).partition("\n")[0]
