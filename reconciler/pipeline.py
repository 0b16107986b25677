"""One pipeline version: what it takes, and what a spec gets wrong about it. Pure."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from reconciler.check import Checker, Finding, did_you_mean, nearest
from reconciler.job import JsonObject

CHECKPOINT = "checkpoint"
"""The mode of a port that takes checkpoints of trainings."""
_OF_FILES = ("plain_file_list", "n_shot_file_list")


@dataclass(frozen=True, slots=True)
class Port:
    """An input port of a pipeline, as the platform's registry describes it."""

    mode: str | None = None
    required: bool | None = None
    description: str | None = None


@dataclass(frozen=True, slots=True)
class Pipeline:
    """What one pipeline version takes, and gives. `defaults` are the configs of its components under what a job gives,
    `parallelism` the limits of those that have some. What a snapshot does not tell is None.
    """

    key: str
    version: str
    inputs: Mapping[str, Port]
    components: Sequence[str]
    defaults: Mapping[str, JsonObject]
    config: Checker
    type: str | None = None
    status: str = "published"
    outputs: Collection[str] | None = None
    parallelism: Mapping[str, Checker] = field(default_factory=dict)
    path: str = ""
    """Where its snapshot is."""

    def __str__(self) -> str:
        return f"{self.key} {self.version}"


def check_inputs(raw: JsonObject, pipeline: Pipeline) -> list[Finding]:
    """Faults that the pipeline would refuse, or find only when the job runs: ports and labels."""
    findings: list[Finding] = []
    given = raw.get("inputs") or {}
    for port in given:
        if port not in pipeline.inputs:
            hint = did_you_mean(port, pipeline.inputs) or listed("ports", pipeline.inputs)
            summary = f"{pipeline} has no input port {port!r}"
            findings.append(_unknown(("inputs", port), "unknown-port", summary, hint, pipeline.inputs))
    for port, about in pipeline.inputs.items():
        items = given.get(port)
        if about.required and not items:
            what = "a checkpoint" if about.mode == CHECKPOINT else "files"
            summary = f"{pipeline} needs {what} on the input port {port!r}"
            route = ("inputs", port) if port in given else ("inputs",)
            findings.append(Finding(route, "missing-port", summary, about.description, at_key=True, names=(port,)))
        if about.mode == "n_shot_file_list":
            findings.extend(_unlabelled(port, items or []))
        findings.extend(_wrong_kinds(port, about, items or []))
    # A misspelt port, under `inputs`, is not missing as well.
    meant = {name for f in findings if f.code == "unknown-port" for name in f.names}
    return [f for f in findings if f.code != "missing-port" or not meant.intersection(f.names)]


def check_parameters(raw: JsonObject, pipeline: Pipeline) -> list[Finding]:
    """Faults of components and of their configs, under which the pipeline's defaults are."""
    findings: list[Finding] = []
    parameters = raw.get("parameters") or {}
    misspelt: set[str] = set()
    for component in parameters:
        if component not in pipeline.components:
            hint = did_you_mean(component, pipeline.components) or listed("components", pipeline.components)
            summary = f"{pipeline} has no component {component!r}"
            findings.append(
                _unknown(("parameters", component), "unknown-component", summary, hint, pipeline.components)
            )
            misspelt.update(findings[-1].names)
    for component in pipeline.components:
        if component in misspelt and component not in parameters:
            continue  # what it lacks stands under the misspelt name
        given = parameters.get(component) or {}
        if component in pipeline.parallelism and (count := given.get("parallelism")) is not None:
            findings += pipeline.parallelism[component].findings(count, ("parameters", component, "parallelism"))
        config = given.get("config") or {}
        resolved = _merge(pipeline.defaults.get(component, {}), config)
        findings.extend(pipeline.config.findings(resolved, ("parameters", component, "config")))
    return findings


def _unknown(route: tuple[str, ...], code: str, summary: str, hint: str, known: Iterable[str]) -> Finding:
    near = nearest(route[-1], known)
    return Finding(route, code, summary, hint, at_key=True, names=() if near is None else (near,))


def listed(what: str, known: Collection[str]) -> str:
    """A hint that names all that is known."""
    return f"{what}: {', '.join(known)}" if known else f"it has no {what}"


def _merge(defaults: JsonObject, given: JsonObject) -> JsonObject:
    """What the platform makes of a config: the pipeline's defaults under what the job gives."""
    merged = {**defaults, **given}
    for key in defaults.keys() & given.keys():
        if isinstance(defaults[key], dict) and isinstance(given[key], dict):
            merged[key] = _merge(defaults[key], given[key])
    return merged


def _unlabelled(port: str, items: Sequence[JsonObject]) -> list[Finding]:
    findings = []
    for index, item in enumerate(items):
        metadata, route = item.get("metadata", {}), ("inputs", port, index)
        label = metadata.get("class")
        if isinstance(label, str) and label:
            continue
        summary, hint = f"a file on the n-shot port {port!r} needs its class", "write metadata: {class: NAME}"
        near = nearest("class", metadata) if "class" not in metadata else None
        if near is not None:
            where = (*route, "metadata", near)
            findings.append(Finding(where, "missing-class", summary, f"{near!r}: did you mean 'class'?", at_key=True))
            continue
        if isinstance(label, bool | int | float):
            written = json.dumps(label)
            summary = f"the class of a file on the n-shot port {port!r} must be text, not {written}"
            hint = f'put it in quotes: {{class: "{written}"}}'
        below = ("metadata", "class") if "class" in metadata else ()
        findings.append(Finding((*route, *below), "missing-class", summary, hint))
    return findings


def _wrong_kinds(port: str, about: Port, items: Sequence[JsonObject]) -> Iterator[Finding]:
    """Files on a checkpoint port, and checkpoints on a port of files. Of modes that we do not know nothing is said."""
    if about.mode not in (CHECKPOINT, *_OF_FILES):
        return
    for index, item in enumerate(items):
        source = item.get("from")
        is_checkpoint = "checkpoint_id" in item or (isinstance(source, dict) and "checkpoint" in source)
        if is_checkpoint == (about.mode == CHECKPOINT):
            continue
        key = next((k for k in ("file_id", "path", "checkpoint_id", "from") if k in item), None)
        below = () if key is None else (key,)
        if about.mode == CHECKPOINT:
            summary = f"the input port {port!r} takes a checkpoint, not a file"
            hint = "write checkpoint_id, or from: {job: NAME, checkpoint: last}"
        else:
            summary = f"the input port {port!r} takes files, not a checkpoint"
            hint = "write file_id, path, or from: {job: NAME, port: PORT}"
        yield Finding(("inputs", port, index, *below), "wrong-kind", summary, hint, at_key=key is not None)


def check_type(raw: JsonObject, pipeline: Pipeline) -> list[Finding]:
    """A fault when the pipeline is of another type than the spec says."""
    given = raw.get("pipeline_type")
    if pipeline.type not in ("batch", "training") or given not in ("batch", "training") or given == pipeline.type:
        return []
    summary = f"{pipeline} is a {pipeline.type} pipeline, not a {given} pipeline"
    return [Finding(("pipeline_type",), "not-allowed", summary, f"write pipeline_type: {pipeline.type}")]
