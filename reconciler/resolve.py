"""Specs → desired jobs. Pure: the request that the platform would see, and its fingerprint."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import rfc8785

from reconciler.chains import FROM, in_order, source_names, with_sources
from reconciler.check import Checker, Finding, did_you_mean, nearest
from reconciler.errors import Diagnostic, Location
from reconciler.job import DesiredJob, JsonObject, Policy, Upload
from reconciler.spec import JobSpec

UNKNOWN_JOB = "unknown-job"
"""The code of a fault that may go away when more specs are read."""


@dataclass(frozen=True, slots=True)
class WrittenSpec:
    """A valid spec as it was loaded.

    `raw`: the document, with its expressions filled in. `uploads`: its local files, by the path as written, which may
    be a pattern of several. `env`: the
    variables of the environment that stand in its parameters. `needs`: the jobs that it needs, and where it says so.
    """

    spec: JobSpec
    raw: JsonObject
    location: Location
    uploads: Mapping[str, Sequence[Upload]]
    name_location: Location | None = None
    env: tuple[str, ...] = ()
    needs: Mapping[str, Location] = field(default_factory=dict)


def fingerprint(request: Mapping[str, Any]) -> str:
    """`sha256:` over the RFC 8785 canonical JSON of a resolved request."""
    return "sha256:" + hashlib.sha256(rfc8785.dumps(dict(request))).hexdigest()


def resolve(specs: Iterable[WrittenSpec]) -> tuple[dict[str, DesiredJob], list[Diagnostic]]:
    """Desired jobs by name; and a diagnostic for each name that is taken already, or needed and not there, and for jobs
    that need each other.
    """
    desired: dict[str, DesiredJob] = {}
    chained: dict[str, WrittenSpec] = {}
    places: dict[str, Location] = {}
    diagnostics = []
    for written in specs:
        name, place = written.spec.name, written.name_location or written.location
        if name in desired:
            diagnostics.append(duplicate_name(name, places[name], place))
        else:
            desired[name] = _desired(written)
            places[name] = place
            if written.needs:
                chained[name] = written
    if chained:
        desired, faults = _chained(desired, chained)
        diagnostics += faults
    return desired, diagnostics


def _chained(
    desired: dict[str, DesiredJob], chained: Mapping[str, WrittenSpec]
) -> tuple[dict[str, DesiredJob], list[Diagnostic]]:
    """`desired` with the fingerprints of jobs that take other jobs' outputs, and what is wrong with `needs`."""
    diagnostics = []
    for written in chained.values():
        for name, where in written.needs.items():
            if name not in desired:
                hint = did_you_mean(name, desired) or "needs and from name jobs of these specs"
                diagnostics.append(Diagnostic("unknown-job", f"no spec has the name {name!r}", where, hint=hint))
    order, circle = in_order({name: frozenset(written.needs) for name, written in chained.items()})
    if circle:
        where = chained[circle[0]].needs[circle[1]]
        diagnostics.append(Diagnostic("circular-needs", f"jobs that need each other: {' → '.join(circle)}", where))
    if diagnostics:
        return desired, diagnostics
    made = dict(desired)
    for name in order:
        made[name] = replace(made[name], fingerprint=_chained_fingerprint(made[name].request, made))
    return made, []


def _chained_fingerprint(request: JsonObject, desired: Mapping[str, DesiredJob]) -> str:
    """What is taken from another job is what that job is: when it changes, so does what is made of it."""
    if not source_names(request):
        return fingerprint(request)

    def told(item: JsonObject) -> list[JsonObject]:
        source = {**item[FROM], "job": desired[item[FROM]["job"]].fingerprint}
        return [{**item, FROM: source}]

    return fingerprint(with_sources(request, told))


def duplicate_name(name: str, first: Location, second: Location) -> Diagnostic:
    """The fault of the name at `second`, which the spec with the one at `first` has already."""
    hint = "a name is the identity of a job: rename one of them"
    return Diagnostic("duplicate-name", f"the name {name!r} is taken by {first}", second, hint=hint)


def _desired(written: WrittenSpec) -> DesiredJob:
    request = {k: v for k, v in written.raw.items() if k not in ("name", "reconcile") and v not in (None, {})}
    if "inputs" in request:
        request["inputs"] = {
            port: [each for item in items for each in _inputs(item, written.uploads)]
            for port, items in request["inputs"].items()
        }
    policy = written.spec.reconcile
    return DesiredJob(
        name=written.spec.name,
        request=request,
        fingerprint=fingerprint(request),
        location=written.location,
        policy=Policy(
            attempts=policy.retry.attempts if policy and policy.retry else 1,
            on_change=policy.on_change if policy else "cancel",
            protect=bool(policy and policy.protect),
        ),
        env=written.env,
        needs=frozenset(written.needs),
        uploads=tuple(
            sorted({u for found in written.uploads.values() for u in found}, key=lambda u: (u.file_id, u.path))
        ),
    )


def _inputs(item: JsonObject, uploads: Mapping[str, Sequence[Upload]]) -> list[JsonObject]:
    if "path" not in item:
        return [item]
    rest = {key: value for key, value in item.items() if key != "path"}
    return [{"file_id": upload.file_id, **rest} for upload in uploads[item["path"]]]


@dataclass(frozen=True, slots=True)
class Port:
    """An input port of a pipeline, as the platform's registry describes it."""

    mode: str | None = None
    required: bool | None = None
    description: str | None = None


@dataclass(frozen=True, slots=True)
class Pipeline:
    """What one pipeline version takes. `defaults` are the configs of its components under what a job gives."""

    key: str
    version: str
    inputs: Mapping[str, Port]
    components: Sequence[str]
    defaults: Mapping[str, JsonObject]
    config: Checker
    path: str = ""
    """Where its snapshot is."""


def check_inputs(raw: JsonObject, pipeline: Pipeline) -> list[Finding]:
    """Faults that the pipeline would refuse, or find only when the job runs: ports and labels."""
    findings: list[Finding] = []
    given = raw.get("inputs") or {}
    for port in given:
        if port not in pipeline.inputs:
            hint = did_you_mean(port, pipeline.inputs) or _listed("ports", pipeline.inputs)
            summary = f"{pipeline.key} {pipeline.version} has no input port {port!r}"
            findings.append(_unknown(("inputs", port), "unknown-port", summary, hint, pipeline.inputs))
    for port, about in pipeline.inputs.items():
        items = given.get(port)
        if about.required and not items:
            summary = f"{pipeline.key} {pipeline.version} needs files on the input port {port!r}"
            route = ("inputs", port) if port in given else ("inputs",)
            findings.append(Finding(route, "missing-port", summary, about.description, at_key=True, names=(port,)))
        if about.mode == "n_shot_file_list":
            findings.extend(_unlabelled(port, items or []))
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
            hint = did_you_mean(component, pipeline.components) or _listed("components", pipeline.components)
            summary = f"{pipeline.key} {pipeline.version} has no component {component!r}"
            findings.append(
                _unknown(("parameters", component), "unknown-component", summary, hint, pipeline.components)
            )
            misspelt.update(findings[-1].names)
    for component in pipeline.components:
        if component in misspelt and component not in parameters:
            continue  # what it lacks stands under the misspelt name
        config = (parameters.get(component) or {}).get("config") or {}
        resolved = _merge(pipeline.defaults.get(component, {}), config)
        findings.extend(pipeline.config.findings(resolved, ("parameters", component, "config")))
    return findings


def _unknown(route: tuple[str, ...], code: str, summary: str, hint: str, known: Iterable[str]) -> Finding:
    near = nearest(route[-1], known)
    return Finding(route, code, summary, hint, at_key=True, names=() if near is None else (near,))


def _listed(what: str, known: Collection[str]) -> str:
    return f"{what}: {', '.join(known)}" if known else f"it has no {what}"


def _merge(defaults: JsonObject, given: JsonObject) -> JsonObject:
    """What the platform makes of a config: the pipeline's defaults under what the job gives."""
    merged = {**defaults, **given}
    for key in defaults.keys() & given.keys():
        if isinstance(defaults[key], dict) and isinstance(given[key], dict):
            merged[key] = _merge(defaults[key], given[key])
    return merged


def _unlabelled(port: str, items: Sequence[JsonObject]) -> list[Finding]:
    summary, hint = f"a file on the n-shot port {port!r} needs its class", "write metadata: {class: NAME}"
    findings = []
    for index, item in enumerate(items):
        metadata = item.get("metadata", {})
        if not (isinstance(label := metadata.get("class"), str) and label):
            below = ("metadata", "class") if "class" in metadata else ()
            findings.append(Finding(("inputs", port, index, *below), "missing-class", summary, hint))
    return findings
