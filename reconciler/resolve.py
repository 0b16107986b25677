"""Specs → desired jobs. Pure: the request that the platform would see, and its fingerprint."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from reconciler.canonical import canonical
from reconciler.chains import FROM, in_order, source_names, with_sources
from reconciler.check import did_you_mean
from reconciler.durations import seconds
from reconciler.errors import Diagnostic, Location
from reconciler.job import DesiredJob, JsonObject, Policy, Upload
from reconciler.pipeline import Pipeline, listed
from reconciler.spec import JobSpec, Reconcile

UNKNOWN_JOB = "unknown-job"
"""The code of a fault that may go away when more specs are read."""
OPEN_VERSION = "open-version"
"""The code of a warning that a plan need not repeat: it says itself which version is taken."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What a spec takes from the job `job`: all files of an output port, or a checkpoint; and where it says so."""

    job: str
    port: str | None
    location: Location


@dataclass(frozen=True, slots=True)
class WrittenSpec:
    """A valid spec as it was loaded.

    `raw`: the document, with its expressions filled in. `uploads`: its local files, by the path as written, which may
    be a pattern of several. `env`: the
    variables of the environment that stand in its parameters. `needs`: the jobs that it needs, and where it says so.
    `takes`: what it takes from other jobs. `pipeline`: the snapshot that it was checked against.
    """

    spec: JobSpec
    raw: JsonObject
    location: Location
    uploads: Mapping[str, Sequence[Upload]]
    name_location: Location | None = None
    env: tuple[str, ...] = ()
    needs: Mapping[str, Location] = field(default_factory=dict)
    key_location: Location | None = None
    takes: tuple[Taken, ...] = ()
    pipeline: Pipeline | None = None


def fingerprint(request: Mapping[str, Any]) -> str:
    """`sha256:` over the RFC 8785 canonical JSON of a resolved request."""
    return "sha256:" + hashlib.sha256(canonical(dict(request))).hexdigest()


def resolve(specs: Iterable[WrittenSpec]) -> tuple[dict[str, DesiredJob], list[Diagnostic]]:
    """Desired jobs by name; and a diagnostic for each name that is taken already, or needed and not there, and for jobs
    that need each other.
    """
    desired: dict[str, DesiredJob] = {}
    written_by: dict[str, WrittenSpec] = {}
    places: dict[str, Location] = {}
    diagnostics = []
    for written in specs:
        name, place = written.spec.name, written.name_location or written.location
        if name in desired:
            diagnostics.append(duplicate_name(name, places[name], place))
        else:
            desired[name] = _desired(written)
            places[name] = place
            written_by[name] = written
    if chained := {name: written for name, written in written_by.items() if written.needs}:
        desired, faults = _chained(desired, chained)
        diagnostics += [*faults, *_untakable(chained, written_by)]
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


def _untakable(chained: Mapping[str, WrittenSpec], specs: Mapping[str, WrittenSpec]) -> Iterator[Diagnostic]:
    """What is taken from jobs whose pipelines do not make it, as far as their snapshots tell."""
    for written in chained.values():
        for taken in written.takes:
            maker = specs.get(taken.job)
            if maker is None:
                continue
            if taken.port is None:
                if maker.spec.pipeline_type != "training":
                    summary = f"{taken.job!r} makes no checkpoints: it is a {maker.spec.pipeline_type} job"
                    hint = "take one of its output ports: {job: …, port: …}"
                    yield Diagnostic("no-such-output", summary, taken.location, hint=hint)
            elif maker.pipeline and maker.pipeline.outputs is not None and taken.port not in maker.pipeline.outputs:
                known = maker.pipeline.outputs
                summary = f"{maker.pipeline}, which {taken.job!r} runs, has no output port {taken.port!r}"
                hint = did_you_mean(taken.port, known) or listed("output ports", known)
                yield Diagnostic("no-such-output", summary, taken.location, hint=hint)


def open_versions(specs: Iterable[WrittenSpec]) -> list[Diagnostic]:
    """A warning at the first spec of each file that leaves the version of its pipeline open."""
    first: dict[str, WrittenSpec] = {}
    for written in specs:
        if written.spec.pipeline_version is None:
            first.setdefault(written.location.path, written)
    return [
        Diagnostic(
            "open-version",
            f"no pipeline_version: the platform takes its latest of {written.spec.pipeline_key}",
            written.key_location or written.location,
            "warning",
            hint=f"write pipeline_version: {written.pipeline.version}"
            if written.pipeline
            else "write pipeline_version; 'reconciler pipelines list' has the versions",
        )
        for written in first.values()
    ]


def _chained_fingerprint(request: JsonObject, desired: Mapping[str, DesiredJob]) -> str:
    """What is taken from another job is what that job is: when it changes, so does what is made of it."""
    if not source_names(request):
        return fingerprint(request)

    def told(item: JsonObject) -> list[JsonObject]:
        job = desired[item[FROM]["job"]]
        source = {**item[FROM], "job": job.fingerprint}
        if job.policy.rerun is not None:
            source["rerun"] = job.policy.rerun
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
    return DesiredJob(
        name=written.spec.name,
        request=request,
        fingerprint=fingerprint(request),
        location=written.location,
        policy=_policy(written.spec.reconcile) if written.spec.reconcile else Policy(),
        env=written.env,
        needs=frozenset(written.needs),
        uploads=tuple(
            sorted({u for found in written.uploads.values() for u in found}, key=lambda u: (u.file_id, u.path))
        ),
    )


def _policy(written: Reconcile) -> Policy:
    retry = written.retry
    return Policy(
        attempts=retry.attempts if retry else 1,
        retry_on=tuple(retry.on) if retry else Policy().retry_on,
        backoff=(seconds(retry.backoff) or 0.0) if retry and retry.backoff else 0.0,
        on_change=written.on_change,
        on_remove=written.on_remove,
        protect=written.protect,
        timeout=seconds(written.timeout) if written.timeout else None,
        preempted=seconds(written.preempted) if written.preempted else None,
        suspend=written.suspend,
        rerun=written.rerun,
        moved_from=written.moved_from,
    )


def _inputs(item: JsonObject, uploads: Mapping[str, Sequence[Upload]]) -> list[JsonObject]:
    if "path" not in item:
        return [item]
    rest = {key: value for key, value in item.items() if key != "path"}
    return [{"file_id": upload.file_id, **rest} for upload in uploads[item["path"]]]
