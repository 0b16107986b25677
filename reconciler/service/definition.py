"""What a `pipeline.yaml` may say, and where in it something is wrong. `pipelines/README.md` describes the format."""

from __future__ import annotations

import difflib
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import yaml
from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import ErrorDetails
from referencing import Registry as NoRemoteSchemas
from referencing.exceptions import Unresolvable

from reconciler.service import strictjson


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Component(_Strict):
    """What runs. `python` as the first word is the service's own interpreter."""

    command: list[str] = Field(min_length=1)
    max_parallelism: int | None = Field(default=None, ge=1)


class Defaults(_Strict):
    """What a component gets when the job does not say otherwise."""

    parallelism: int = Field(default=1, ge=1)
    config: dict[str, Any] = Field(default_factory=dict)


class InputPort(_Strict):
    """What a job may put in."""

    name: str
    description: str = ""
    mode: Literal["plain_file_list", "n_shot_file_list", "checkpoint"] = "plain_file_list"
    distribute: Literal["scatter", "replicate"] = "scatter"
    required: bool = True
    tracked: bool = True


class OutputPort(_Strict):
    """What a job gives back."""

    name: str
    description: str = ""


class RetryPolicy(_Strict):
    """Which failed attempts are followed by another: up to `max_retries`, after `backoff_seconds`, doubled each time.

    `retry_on` lists codes of errors; without it every failure counts.
    """

    max_retries: int = Field(default=0, ge=0, le=100)
    backoff_seconds: float = Field(default=0, ge=0, le=86_400, strict=False)
    retry_on: list[str] | None = None


class Resources(_Strict):
    """The most that one index may use; the system enforces it. None: no limit."""

    memory_mb: int | None = Field(default=8192, ge=64)
    cpu_seconds: int | None = Field(default=None, ge=1)
    file_mb: int | None = Field(default=8192, ge=1)
    open_files: int = Field(default=1024, ge=16)


class Definition(_Strict):
    """The content of a `pipeline.yaml`."""

    pipeline_key: str = Field(min_length=1)
    pipeline_version: str = Field(min_length=1)
    pipeline_type: Literal["batch", "training"]
    status: Literal["draft", "published", "deactivated"] = "published"
    organisation: str | None = None
    name: str
    description: str = ""
    components: dict[str, Component] = Field(min_length=1, max_length=1)
    default_config: dict[str, Defaults] = Field(default_factory=dict)
    user_config_schema: dict[str, Any]
    inputs: dict[str, InputPort]
    outputs: dict[str, OutputPort]
    priority: int = Field(default=0, ge=-1000, le=1000)
    timeout_seconds: float | None = Field(default=None, gt=0, strict=False)
    heartbeat_seconds: float | None = Field(default=None, gt=0, strict=False)
    retry_policy: RetryPolicy = RetryPolicy()
    resources: Resources = Resources()
    fail_job_on: Literal["any_input", "all_inputs", "never"] = "any_input"
    resume: bool = False


_Found: TypeAlias = tuple[Sequence[str | int], str]
"""Where in the document, and what."""
_KEYS = {
    key
    for model in (Definition, Component, Defaults, InputPort, OutputPort, RetryPolicy, Resources)
    for key in model.model_fields
}
_ABOUT_VALUES = frozenset(
    {"type", "enum", "const", "pattern", "minLength", "maxLength", "minItems", "maxItems"}
    | {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"}
)
_SCRIPT = re.compile(r"^[^-].*\.(py|sh|bash|js|mjs|ts|rb|pl|R|jl|lua|php)$")


@dataclass(frozen=True, slots=True)
class Fault:
    """Something wrong in a file, at a line and column from 1."""

    path: Path
    line: int
    column: int
    message: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}:{self.column}: {self.message}"


def read(path: Path) -> Definition | list[Fault]:
    """The definition in the file, or everything that is wrong with it."""
    try:
        text = path.read_text("utf-8")
        node = yaml.compose(text, yaml.CSafeLoader)
    except OSError as error:
        return [Fault(path, 1, 1, f"it cannot be read: {error.strerror}")]
    except UnicodeDecodeError:
        return [Fault(path, 1, 1, "it is not UTF-8")]
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        return [Fault(path, line, column, getattr(error, "problem", None) or "it is not YAML")]
    if not isinstance(node, yaml.MappingNode):
        return [Fault(path, 1, 1, "a pipeline is a mapping with pipeline_key, pipeline_version, …")]
    faults = [Fault(path, *_position(key), f"the key {key.value!r} stands here twice") for key in _duplicates(node)]
    try:
        value = yaml.load(text, yaml.CSafeLoader)
        strictjson.check(value)
        definition = Definition.model_validate(value)
    except ValidationError as error:
        found: list[_Found] = [(each["loc"], _words(each)) for each in error.errors()]
    except (ValueError, yaml.YAMLError) as error:
        return [*faults, Fault(path, 1, 1, str(error))]
    else:
        found = list(_sense(definition, path.parent))
    faults += [Fault(path, *_locate(node, loc), _sentence(loc, message)) for loc, message in found]
    return sorted(faults, key=lambda fault: (fault.line, fault.column)) or definition


def _words(found: ErrorDetails) -> str:
    """What pydantic found, for who writes YAML."""
    match found["type"]:
        case "extra_forbidden":
            near = difflib.get_close_matches(str(found["loc"][-1]), _KEYS, 1)
            return "unknown key" + (f" (did you mean {near[0]!r}?)" if near else "")
        case "missing":
            return "this key is required"
        case "string_type" if isinstance(found["input"], int | float):
            return f"it must be text: put it in quotes, '{found['input']}'"
        case _:
            return found["msg"]


def _sense(definition: Definition, folder: Path) -> Iterator[_Found]:
    """What each value allows, but all together do not."""
    for name, defaults in definition.default_config.items():
        if name not in definition.components:
            yield ("default_config", name), f"it is no component; the component is {next(iter(definition.components))}"
        elif (most := definition.components[name].max_parallelism) and defaults.parallelism > most:
            yield ("default_config", name, "parallelism"), f"it is more than max_parallelism, which is {most}"
    yield from _schema_sense(definition)
    for name, component in definition.components.items():
        program = component.command[0]
        if program != "python" and not (folder / program).is_file() and shutil.which(program) is None:
            yield ("components", name, "command", 0), f"there is no program {program!r}, here or on the PATH"
        for number, word in enumerate(component.command[1:], start=1):
            if _SCRIPT.search(word) and not Path(word).is_absolute() and not (folder / word).is_file():
                yield ("components", name, "command", number), f"there is no file {word!r} in this folder"


def _schema_sense(definition: Definition) -> Iterator[_Found]:
    """The schema is one, and no default value is wrong by it. What a job has yet to add is not missed here."""
    try:
        Draft202012Validator.check_schema(definition.user_config_schema)
    except SchemaError as error:
        yield ("user_config_schema", *error.absolute_path), f"it is no JSON Schema: {error.message}"
        return
    validator = Draft202012Validator(definition.user_config_schema, registry=NoRemoteSchemas())
    named = definition.user_config_schema.get("properties", {})
    for name, defaults in definition.default_config.items():
        values = {key: value for key, value in defaults.config.items() if key in named}
        try:
            for fault in validator.iter_errors(values):
                if fault.validator in _ABOUT_VALUES:
                    where = ("default_config", name, "config", *fault.absolute_path)
                    yield where, f"user_config_schema refuses this default: {fault.message}"
        except Unresolvable as error:
            yield ("user_config_schema",), f"it refers to what is not in it: {error}"


def _sentence(loc: Sequence[str | int], message: str) -> str:
    return f"{'.'.join(map(str, loc)) or 'the document'}: {message}"


def _position(node: yaml.Node) -> tuple[int, int]:
    return node.start_mark.line + 1, node.start_mark.column + 1


def _locate(node: yaml.Node, loc: Sequence[str | int]) -> tuple[int, int]:
    """The position of the value at `loc`, or of the nearest one around it."""
    place = node
    for word in loc:
        if isinstance(node, yaml.MappingNode):
            pair = next(((key, value) for key, value in node.value if key.value == str(word)), None)
            if pair is None:
                break
            place, node = pair
        elif isinstance(node, yaml.SequenceNode) and isinstance(word, int) and word < len(node.value):
            place = node = node.value[word]
        else:
            break
    return _position(place)


def _duplicates(node: yaml.Node) -> Iterator[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        seen = set()
        for key, value in node.value:
            if key.value in seen:
                yield key
            seen.add(key.value)
            yield from _duplicates(value)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            yield from _duplicates(value)
