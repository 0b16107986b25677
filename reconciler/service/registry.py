"""The pipelines: folders on disk, read once at start. `pipelines/README.md` describes the format."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from reconciler.service.clock import stamp
from reconciler.service.definition import Defaults, Definition, Fault, read
from reconciler.service.errors import ServiceError
from reconciler.service.ids import derived_id

BUNDLED = Path(__file__).parent / "pipelines"


@dataclass(frozen=True, slots=True)
class Pipeline:
    """One version of a pipeline, with the folder that its files are in."""

    id: str
    definition: Definition
    folder: Path
    changed_at: str
    org_id: str | None = None  # whose it is; None: everyone's

    @property
    def component(self) -> str:
        """The name of the one component."""
        return next(iter(self.definition.components))

    @property
    def defaults(self) -> Defaults:
        return self.definition.default_config.get(self.component, Defaults())

    def command(self) -> tuple[str, ...]:
        """The command line, with the files of the folder as absolute paths."""
        first, *rest = self.definition.components[self.component].command
        program = sys.executable if first == "python" else self._located(first)
        return (program, *map(self._located, rest))

    def _located(self, word: str) -> str:
        path = self.folder / word
        return str(path) if path.is_file() else word


@dataclass(frozen=True, slots=True)
class Registry:
    """All pipeline versions by id, by key and then newest version first."""

    pipelines: Mapping[str, Pipeline]

    def owned(self, organisation_id: Callable[[str], str]) -> Registry:
        """The same, once the ids of organisations are known by their names."""
        names = {p.id: p.definition.organisation for p in self.pipelines.values()}
        ids = {key: organisation_id(name) if name else None for key, name in names.items()}
        return Registry({p.id: replace(p, org_id=ids[p.id]) for p in self.pipelines.values()})

    def visible(self, org_id: str) -> list[Pipeline]:
        """The pipelines of everyone and of the organisation."""
        return [p for p in self.pipelines.values() if p.org_id in (None, org_id)]

    def versions(self, key: str, org_id: str) -> list[Pipeline]:
        """All versions of a pipeline that the organisation may see, newest first."""
        return [p for p in self.visible(org_id) if p.definition.pipeline_key == key]

    def find(self, key: str, version: str | None, org_id: str) -> Pipeline | None:
        """The version that is asked for, whatever its status, or the newest that is published."""
        for pipeline in self.versions(key, org_id):
            if version == pipeline.definition.pipeline_version:
                return pipeline
            if version is None and pipeline.definition.status == "published":
                return pipeline
        return None


def load(folders: Sequence[Path]) -> Registry:
    """Read every `*/pipeline.yaml` below `folders`. Raises `ServiceError` with all that is wrong, and where."""
    found: dict[str, Pipeline] = {}
    faults: list[Fault] = []
    for folder in folders:
        if not folder.is_dir():
            raise ServiceError(f"the pipelines folder {folder} does not exist", "name an existing folder")
        if misplaced := [*folder.glob("pipeline.y*ml"), *folder.glob("*/pipeline.yml")]:
            raise ServiceError(
                f"{misplaced[0]} is not where a pipeline is looked for",
                f"a pipeline is a folder below {folder}, with a pipeline.yaml in it",
            )
        for path in sorted(folder.glob("*/pipeline.yaml")):
            definition = read(path)
            if isinstance(definition, list):
                faults += definition
                continue
            pipeline = _pipeline(path, definition)
            other = found.setdefault(pipeline.id, pipeline)
            if other is not pipeline:
                same = f"{other.folder / 'pipeline.yaml'} defines the same pipeline and version"
                faults.append(Fault(path, 1, 1, f"{same}; give one of them another pipeline_version"))
    if faults:
        hint = f"{BUNDLED / 'README.md'} describes the format"
        raise ServiceError("the pipelines cannot be used", hint, [str(fault) for fault in faults])
    ordered = sorted(found.values(), key=lambda p: _version_order(p.definition.pipeline_version), reverse=True)
    ordered.sort(key=lambda p: p.definition.pipeline_key)
    return Registry({p.id: p for p in ordered})


def _pipeline(path: Path, definition: Definition) -> Pipeline:
    changed = datetime.fromtimestamp(path.stat().st_mtime, UTC)
    identity = derived_id("ppl", definition.pipeline_key, definition.pipeline_version)
    return Pipeline(identity, definition, path.parent.resolve(), stamp(changed))


def _version_order(version: str) -> tuple[tuple[int, int, str], ...]:
    """Numbers in a version count as numbers: 1.10 comes after 1.9. A tail of letters comes before none (1.0-rc1)."""
    words = re.findall(r"\d+|[a-zA-Z]+", version)
    order = [(1, int(word), "") if word.isdigit() else (-1, 0, word) for word in words]
    return (*order, (0, 0, ""))


def schema_document(pipeline: Pipeline) -> dict[str, Any]:
    """The answer of `GET /batch/registry/pipelines/{id}/schema`."""
    definition = pipeline.definition
    return {
        "id": pipeline.id,
        "pipeline_key": definition.pipeline_key,
        "pipeline_version": definition.pipeline_version,
        "user_schema": definition.user_config_schema,
        "config_schema": _parameters_schema(pipeline),
        "inputs": {name: port.model_dump() for name, port in definition.inputs.items()},
        "outputs": {name: port.model_dump() for name, port in definition.outputs.items()},
    }


def _parameters_schema(pipeline: Pipeline) -> dict[str, Any]:
    """The schema of a job's whole `parameters`."""
    most = pipeline.definition.components[pipeline.component].max_parallelism
    parallelism = {"type": "integer", "minimum": 1} | ({} if most is None else {"maximum": most})
    component = {
        "type": "object",
        "additionalProperties": False,
        "properties": {"parallelism": parallelism, "config": pipeline.definition.user_config_schema},
    }
    return {"type": "object", "additionalProperties": False, "properties": {pipeline.component: component}}


def snapshot(pipeline: Pipeline) -> dict[str, Any]:
    """`schema_document` with `pipeline_type` and `components` (names): all that is needed to check a job offline."""
    return schema_document(pipeline) | {
        "pipeline_type": pipeline.definition.pipeline_type,
        "components": list(pipeline.definition.components),
    }


def component_id(pipeline: Pipeline, name: str) -> str:
    """The `cmp_…` id of a component."""
    return derived_id("cmp", pipeline.id, name)
