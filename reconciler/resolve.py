"""Specs → desired jobs. Pure: the request that the platform would see, and its fingerprint."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from msgspec.structs import replace

from reconciler.canonical import canonical
from reconciler.chains import FROM, in_order, source_names, with_sources
from reconciler.durations import seconds
from reconciler.errors import Diagnostic, Location
from reconciler.findings import did_you_mean
from reconciler.job import DesiredJob, JsonObject, Policy, Upload

if TYPE_CHECKING:
    from reconciler.pipeline import Pipeline
    from reconciler.spec import JobSpec, Reconcile

UNKNOWN_JOB = "unknown-job"
"""The code of a fault that may go away when more specs are read."""
MOVE_FROM_SPEC = "move-from-spec"
"""The code of a warning that a plan gives itself, when it matters."""
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
    `takes`: what it takes from other jobs. `pipeline`: the snapshot that it was checked against. `move_location`: where
    it says which name it had before, if it does.
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
    move_location: Location | None = None


class ReadSpec(Struct, frozen=True, omit_defaults=True):
    """A valid spec, read: its job, and what is asked of it when all specs are looked at together. Plain data.

    `job`: its fingerprint is without what other jobs make. `files`: its local files, by the path as written.
    `pipeline`: the snapshot that it was checked against, `newest` its version, `outputs` its output ports.
    """

    job: DesiredJob
    name_location: Location
    key_location: Location | None = None
    needs: Mapping[str, Location] = {}
    takes: tuple[Taken, ...] = ()
    files: Mapping[str, tuple[Upload, ...]] = {}
    pipeline: str | None = None
    newest: str | None = None
    outputs: tuple[str, ...] | None = None
    move_location: Location | None = None


@dataclass(frozen=True, slots=True)
class Claim:
    """A spec, valid or not, has this name."""

    name: str
    location: Location
    valid: bool


class FileRead(Struct, omit_defaults=True):
    """What one file says. Plain data.

    `unchecked`: pipelines without a snapshot. `lasting`: it would say the same in the next run, as long as the local
    files that it names are the same.
    """

    specs: list[ReadSpec] = []
    diagnostics: list[Diagnostic] = []
    claims: list[Claim] = []
    unchecked: set[str] = set()
    lasting: bool = True


def read(written: WrittenSpec) -> ReadSpec:
    """What one spec says by itself."""
    pipeline = written.pipeline
    outputs = None if pipeline is None or pipeline.outputs is None else tuple(pipeline.outputs)
    return ReadSpec(
        _desired(written),
        written.name_location or written.location,
        written.key_location or written.location,
        written.needs,
        written.takes,
        {path: tuple(found) for path, found in written.uploads.items()},
        pipeline=None if pipeline is None else str(pipeline),
        newest=None if pipeline is None else pipeline.version,
        outputs=outputs,
        move_location=written.move_location,
    )


def fingerprint(request: Mapping[str, Any]) -> str:
    """`sha256:` over the RFC 8785 canonical JSON of a resolved request."""
    return "sha256:" + hashlib.sha256(canonical(dict(request))).hexdigest()


def resolve(specs: Iterable[ReadSpec], invalid: Collection[str] = ()) -> tuple[dict[str, DesiredJob], list[Diagnostic]]:
    """Desired jobs by name; and a diagnostic for each name that is taken already, or needed and not there, and for jobs
    that need each other. `invalid`: names of specs that are there, but have faults of their own.
    """
    desired: dict[str, DesiredJob] = {}
    by_name: dict[str, ReadSpec] = {}
    diagnostics = []
    for spec in specs:
        name = spec.job.name
        if name in desired:
            diagnostics.append(duplicate_name(name, by_name[name].name_location, spec.name_location))
        else:
            desired[name] = spec.job
            by_name[name] = spec
    if chained := {name: spec for name, spec in by_name.items() if spec.needs}:
        desired, faults = _chained(desired, chained, invalid)
        diagnostics += [*faults, *_untakable(chained, by_name)]
    return desired, [*diagnostics, *dict.fromkeys(_doubtful_moves(by_name))]


def _doubtful_moves(specs: Mapping[str, ReadSpec]) -> Iterator[Diagnostic]:
    """What `moved_from` says that cannot be, or may not be meant: a record goes to one spec, and stays with its own."""
    first: dict[str, Location] = {}
    for name, spec in specs.items():
        old = spec.job.policy.moved_from
        if old is None:
            continue
        where = spec.move_location or spec.job.location
        if old in first:
            hint = "a record goes on under one name: keep one of the two"
            summary = f"moved_from: {old!r} stands at {first[old]} too"
            if where == first[old]:
                hint, summary = (
                    "write ${{ matrix.KEY }} in it",
                    f"moved_from: {old!r} is the same for jobs of the matrix",
                )
            yield Diagnostic("duplicate-move", summary, where, hint=hint)
        elif old in specs:
            other = specs[old].name_location
            whose = "its own name" if old == name else f"the name of a spec that is there ({other})"
            hint = "when the rename is done, remove moved_from; else give that spec another name, or remove it"
            summary = f"moved_from: {old!r} is {whose}, so its record stays with that"
            if old == name:
                hint = "write the name that the job had before, or remove moved_from"
                summary = f"moved_from: {old!r} is {whose}"
            yield Diagnostic("move-from-spec", summary, where, "warning", hint=hint)
        first.setdefault(old, where)


def _chained(
    desired: dict[str, DesiredJob], chained: Mapping[str, ReadSpec], invalid: Collection[str]
) -> tuple[dict[str, DesiredJob], list[Diagnostic]]:
    """`desired` with the fingerprints of jobs that take other jobs' outputs, and what is wrong with `needs`."""
    diagnostics = []
    for spec in chained.values():
        for name, where in spec.needs.items():
            if name not in desired and name not in invalid:
                hint = did_you_mean(name, desired) or "needs and from name jobs of these specs"
                diagnostics.append(Diagnostic("unknown-job", f"no spec has the name {name!r}", where, hint=hint))
    order, circle = in_order({name: frozenset(spec.needs) for name, spec in chained.items()})
    if circle:
        where = chained[circle[0]].needs[circle[1]]
        diagnostics.append(Diagnostic("circular-needs", f"jobs that need each other: {' → '.join(circle)}", where))
    if diagnostics or any(name not in desired for spec in chained.values() for name in spec.needs):
        return desired, diagnostics
    made = dict(desired)
    for name in order:
        made[name] = replace(made[name], fingerprint=_chained_fingerprint(made[name].request, made))
    return made, []


def _untakable(chained: Mapping[str, ReadSpec], specs: Mapping[str, ReadSpec]) -> Iterator[Diagnostic]:
    """What is taken from jobs whose pipelines do not make it, as far as their snapshots tell."""
    for spec in chained.values():
        for taken in spec.takes:
            maker = specs.get(taken.job)
            if maker is None:
                continue
            if taken.port is None:
                kind = maker.job.request["pipeline_type"]
                if kind != "training":
                    summary = f"{taken.job!r} makes no checkpoints: it is a {kind} job"
                    hint = "take one of its output ports: {job: …, port: …}"
                    yield Diagnostic("no-such-output", summary, taken.location, hint=hint)
            elif maker.outputs is not None and taken.port not in maker.outputs:
                known = maker.outputs
                summary = f"{maker.pipeline}, which {taken.job!r} runs, has no output port {taken.port!r}"
                hint = (
                    did_you_mean(taken.port, known) or f"output ports: {', '.join(known)}"
                    if known
                    else "it has no output ports"
                )
                yield Diagnostic("no-such-output", summary, taken.location, hint=hint)


def open_versions(specs: Iterable[ReadSpec]) -> list[Diagnostic]:
    """A warning at the first spec of each file that leaves the version of its pipeline open."""
    first: dict[str, ReadSpec] = {}
    for spec in specs:
        if "pipeline_version" not in spec.job.request:
            first.setdefault(spec.job.location.path, spec)
    return [
        Diagnostic(
            "open-version",
            f"no pipeline_version: the platform takes its latest of {spec.job.request['pipeline_key']}",
            spec.key_location,
            "warning",
            hint=f"write pipeline_version: {spec.newest}"
            if spec.newest
            else "write pipeline_version; 'reconciler pipelines list' has the versions",
        )
        for spec in first.values()
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
