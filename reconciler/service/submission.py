"""From the body of a request to a job that can run: every fault is found, then all are said at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match
from referencing import Registry as NoRemoteSchemas

from reconciler.service.definition import InputPort
from reconciler.service.errors import ApiError, Fault, refuse
from reconciler.service.registry import Pipeline, Registry
from reconciler.service.wire import ComponentParameters, CreateJob, InputItem


def choose_pipeline(registry: Registry, body: CreateJob, org_id: str) -> Pipeline:
    """The pipeline version that the job asks for. Raises `ApiError` 404, or 400 when it is of another type."""
    pipeline = registry.find(body.pipeline_key, body.pipeline_version, org_id)
    if pipeline is None:
        raise _no_pipeline(registry, body, org_id)
    if pipeline.definition.status == "deactivated":
        what = f"version {body.pipeline_version!r} of pipeline {body.pipeline_key!r} is deactivated"
        raise refuse(404, "pipeline_not_found", what, "name another version, or none for the latest")
    if pipeline.definition.pipeline_type != body.pipeline_type:
        raise refuse(
            400,
            "invalid_parameter",
            f"pipeline_type: {body.pipeline_key} is a {pipeline.definition.pipeline_type} pipeline,"
            f" not a {body.pipeline_type} pipeline",
        )
    return pipeline


def _no_pipeline(registry: Registry, body: CreateJob, org_id: str) -> ApiError:
    known = registry.versions(body.pipeline_key, org_id)
    versions = ", ".join(f"{p.definition.pipeline_version} ({p.definition.status})" for p in known)
    if known and body.pipeline_version is None:
        what = f"pipeline {body.pipeline_key!r} has no published version"
        return refuse(404, "pipeline_not_found", what, f"name one of its versions: {versions}")
    if known:
        what = f"pipeline {body.pipeline_key!r} has no version {body.pipeline_version!r}"
        return refuse(404, "pipeline_not_found", what, f"versions: {versions}")
    keys = sorted({p.definition.pipeline_key for p in registry.visible(org_id)})
    return refuse(
        404, "pipeline_not_found", f"there is no pipeline {body.pipeline_key!r}", f"pipelines: {', '.join(keys)}"
    )


def resolve_parameters(pipeline: Pipeline, body: CreateJob) -> tuple[dict[str, Any], list[Fault]]:
    """The parameters with the pipeline's defaults filled in, and what is wrong with them."""
    asked = body.parameters or {}
    faults = [
        Fault(
            "invalid_parameter",
            f"parameters.{name}: the pipeline has no such component",
            f"its component is {pipeline.component!r}",
        )
        for name in asked
        if name != pipeline.component
    ]
    mine = asked.get(pipeline.component, ComponentParameters())
    defaults = pipeline.defaults
    config = merge(defaults.config, mine.config or {})
    faults += _config_faults(pipeline, config, mine.config or {})
    parallelism = mine.parallelism or defaults.parallelism
    most = pipeline.definition.components[pipeline.component].max_parallelism
    if most is not None and parallelism > most:
        what = f"parameters.{pipeline.component}.parallelism: it must be at most {most}, not {parallelism}"
        faults.append(Fault("invalid_parameter", what))
    return {pipeline.component: {"parallelism": parallelism, "config": config}}, faults


def merge(default: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`over` on top of `default`: objects are merged key by key, everything else is taken whole."""
    merged = dict(default)
    for key, value in over.items():
        below = merged.get(key)
        both = isinstance(below, dict) and isinstance(value, dict)
        merged[key] = merge(below, value) if both and isinstance(below, dict) else value
    return merged


def _config_faults(pipeline: Pipeline, config: Mapping[str, Any], asked: Mapping[str, Any]) -> list[Fault]:
    schema = pipeline.definition.user_config_schema
    # Defaults may set keys that users may not: those are the pipeline's own business.
    open_keys = set(schema.get("properties", {})) | set(asked)
    visible = {key: value for key, value in config.items() if key in open_keys}
    validator = Draft202012Validator(schema, registry=NoRemoteSchemas())
    faults = []
    for error in sorted(validator.iter_errors(visible), key=lambda e: [str(p) for p in e.absolute_path]):
        cause = best_match([error]) or error
        where = ".".join(["parameters", pipeline.component, "config", *map(str, cause.absolute_path)])
        faults.append(Fault("invalid_parameter", f"{where}: {_short(cause.message)}"))
    return faults


def _short(message: str) -> str:
    return message if len(message) <= 400 else f"{message[:300]} … {message[-80:]}"


def input_faults(pipeline: Pipeline, body: CreateJob) -> list[Fault]:
    """What is wrong with the inputs, apart from files that are missing."""
    ports = pipeline.definition.inputs
    given = body.inputs or {}
    known = f"its input ports are {', '.join(ports) or 'none'}"
    faults = [
        Fault("invalid_parameter", f"inputs.{name}: the pipeline has no such input port", known)
        for name in given
        if name not in ports
    ]
    for name, port in ports.items():
        items = given.get(name, [])
        if port.required and not items:
            faults.append(Fault("missing_parameter", f"inputs.{name}: this port needs at least one input"))
        faults += _kind_faults(name, port, items)
        faults += _class_faults(name, port, items)
    return faults


def _kind_faults(name: str, port: InputPort, items: Sequence[InputItem]) -> list[Fault]:
    kind = "checkpoint" if port.mode == "checkpoint" else "file"
    return [
        Fault("invalid_parameter", f"inputs.{name}[{number}]: this port takes a {kind}, not a {item.kind}")
        for number, item in enumerate(items)
        if item.kind != kind
    ]


def _class_faults(name: str, port: InputPort, items: Sequence[InputItem]) -> list[Fault]:
    if port.mode != "n_shot_file_list":
        return []
    return [
        Fault(
            "missing_parameter",
            f"inputs.{name}[{number}].metadata.class: an example needs the name of its class",
            'add "metadata": {"class": "…"}',
        )
        for number, item in enumerate(items)
        if not isinstance(item.metadata.get("class"), str) or not item.metadata["class"].strip()
    ]
