"""The pipelines: folders on disk, read once at start. `pipelines/README.md` describes the format."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import yaml
from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from reconciler.service.clock import stamp
from reconciler.service.errors import ServiceError
from reconciler.service.ids import derived_id

BUNDLED = Path(__file__).parent / "pipelines"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Component(_Strict):
    """What runs. `python` as the first word is the service's own interpreter."""

    command: list[str] = Field(min_length=1)


class Defaults(_Strict):
    """What a component gets when the job does not say otherwise."""

    parallelism: int = Field(default=1, ge=1)
    config: dict[str, Any] = Field(default_factory=dict)


class InputPort(_Strict):
    """What a job may put in."""

    name: str
    description: str = ""
    mode: Literal["plain_file_list", "n_shot_file_list"] = "plain_file_list"
    distribute: Literal["scatter", "replicate"] = "scatter"
    required: bool = True
    tracked: bool = True


class OutputPort(_Strict):
    """What a job gives back."""

    name: str
    description: str = ""


class Definition(_Strict):
    """The content of a `pipeline.yaml`."""

    pipeline_key: str = Field(min_length=1)
    pipeline_version: str = Field(min_length=1)
    pipeline_type: Literal["batch", "training"]
    name: str
    description: str = ""
    components: dict[str, Component] = Field(min_length=1, max_length=1)
    default_config: dict[str, Defaults] = Field(default_factory=dict)
    user_config_schema: dict[str, Any]
    inputs: dict[str, InputPort]
    outputs: dict[str, OutputPort]

    @model_validator(mode="after")
    def _known_components(self) -> Definition:
        unknown = sorted(set(self.default_config) - set(self.components))
        if unknown:
            raise ValueError(f"default_config names {unknown[0]!r}, which is no component")
        return self


@dataclass(frozen=True, slots=True)
class Pipeline:
    """One version of a pipeline, with the folder that its files are in."""

    id: str
    definition: Definition
    folder: Path
    changed_at: str

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

    def versions(self, key: str) -> list[Pipeline]:
        """All versions of a pipeline, newest first."""
        return [p for p in self.pipelines.values() if p.definition.pipeline_key == key]

    def find(self, key: str, version: str | None) -> Pipeline | None:
        """The version that is asked for, or the newest."""
        wanted = (p for p in self.versions(key) if version in (None, p.definition.pipeline_version))
        return next(wanted, None)


def load(folders: Sequence[Path]) -> Registry:
    """Read every `*/pipeline.yaml` below `folders`. Raises `ServiceError` for what cannot be used."""
    found: dict[str, Pipeline] = {}
    for folder in folders:
        if not folder.is_dir():
            raise ServiceError(f"the pipelines folder {folder} does not exist", "name an existing folder")
        for path in sorted(folder.glob("*/pipeline.yaml")):
            pipeline = _read(path)
            other = found.setdefault(pipeline.id, pipeline)
            if other is not pipeline:
                raise ServiceError(
                    f"{path} defines the same pipeline and version as {other.folder / 'pipeline.yaml'}",
                    "give one of them another pipeline_version",
                )
    ordered = sorted(found.values(), key=lambda p: _version_order(p.definition.pipeline_version), reverse=True)
    ordered.sort(key=lambda p: p.definition.pipeline_key)
    return Registry({p.id: p for p in ordered})


def _read(path: Path) -> Pipeline:
    hint = "see the README of the bundled pipelines for the format"
    try:
        definition = Definition.model_validate(yaml.load(path.read_text("utf-8"), yaml.CSafeLoader))
        Draft202012Validator.check_schema(definition.user_config_schema)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ServiceError(f"{path} cannot be read: {error}", hint) from error
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, e['loc'])) or 'the document'}: {e['msg']}" for e in error.errors()]
        raise ServiceError(f"{path} is not a pipeline: {'; '.join(faults)}", hint) from error
    except SchemaError as error:
        raise ServiceError(f"{path}: user_config_schema is no JSON Schema: {error.message}", hint) from error
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
        "config_schema": definition.user_config_schema,
        "inputs": {name: port.model_dump() for name, port in definition.inputs.items()},
        "outputs": {name: port.model_dump() for name, port in definition.outputs.items()},
    }


def snapshot(pipeline: Pipeline) -> dict[str, Any]:
    """`schema_document` with `pipeline_type` and `components` (names): all that is needed to check a job offline."""
    return schema_document(pipeline) | {
        "pipeline_type": pipeline.definition.pipeline_type,
        "components": list(pipeline.definition.components),
    }


def component_id(pipeline: Pipeline, name: str) -> str:
    """The `cmp_…` id of a component."""
    return derived_id("cmp", pipeline.id, name)
