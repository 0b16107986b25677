"""The text of one file → its specs, and everything that is wrong with it.

What comes out depends on the text, the name and the folder of the file, and on what the reader was made with; never on
other files, but for those that the specs name.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

from pydantic import ValidationError

from reconciler.check import Checker, Finding, Route, did_you_mean
from reconciler.errors import Diagnostic, Location
from reconciler.expressions import Scopes
from reconciler.job import JsonObject, Upload
from reconciler.localfiles import LocalFiles, inputs_findings
from reconciler.marks import Marks
from reconciler.pipeline import Pipeline, check_inputs, check_parameters, check_type
from reconciler.rendering import Rendered, Renderer
from reconciler.resolve import Claim, FileRead, Taken, WrittenSpec, read
from reconciler.snapshots import Snapshots
from reconciler.spec import JobSpec
from reconciler.yaml12 import Document, parse

_SPEC_SCHEMA = "what a spec may hold: reconciler schema spec"
_WARNINGS = frozenset({"env-not-set", "many-files"})
_LASTING = frozenset({"vars"})
"""Scopes that have the same values in the next run; what they are is known to whoever remembers what was read."""
Severity: TypeAlias = Literal["error", "warning"]


class SpecReader:
    """Reads one file after the other with the same rules. `shown` says how a path is named to people."""

    def __init__(
        self,
        shown: Callable[[Path], str],
        snapshots: Snapshots,
        local: LocalFiles,
        scopes: Scopes,
        policies: Mapping[str, Any],
        environ: Collection[str],
    ) -> None:
        self._shown = shown
        self._snapshots = snapshots
        self._local = local
        self._renderer = Renderer({name: self._noticed(name, scope) for name, scope in scopes.items()}, policies)
        self._environ = environ
        self._schema = Checker(JobSpec.model_json_schema, ours=True)
        self._read = FileRead()

    def _noticed(self, name: str, scope: Callable[[], Mapping[str, Any]]) -> Callable[[], Mapping[str, Any]]:
        def look() -> Mapping[str, Any]:
            self._read.lasting = self._read.lasting and name in _LASTING
            return scope()

        return look

    def read(self, text: str, shown: str, folder: Path) -> FileRead:
        """What the file `shown` in `folder` says."""
        self._read = FileRead()
        documents, faults = parse(text, shown)
        self._read.diagnostics.extend(faults)
        if not documents and not faults:
            self._fault("empty-file", "no job spec in this file", Location(shown, 1), "write one, or remove the file")
        broken = any(f.severity == "error" for f in faults)
        plain = "${{" not in text and "\\" not in text  # behind a backslash anything may stand
        for document in documents:
            self._document(document, shown, folder, broken=broken, plain=plain)
        if any(spec.job.env for spec in self._read.specs):
            self._read.lasting = False
        return self._read

    def _document(self, document: Document, shown: str, folder: Path, *, broken: bool, plain: bool) -> None:
        value = document.value
        where = Location(shown, *document.marks.at)
        if value is None:
            self._fault("empty-document", "an empty document", where, "remove the '---', or write a job spec")
            return
        if not isinstance(value, dict):
            kind = "a list" if isinstance(value, list) else "a single value"
            hint = "a job spec is a mapping: name, pipeline_type, pipeline_key, …"
            self._fault("not-a-spec", f"{kind}, not a job spec", where, hint)
            return
        rendered, faults = self._renderer.render(value, plain=plain)
        findings = dict.fromkeys(faults)
        for spec in rendered:
            found = self._spec(spec, faults, document.marks, where, folder, broken=broken)
            findings |= dict.fromkeys(found)  # what is wrong in each cell of a matrix is said once
            findings |= dict.fromkeys(self._not_set(spec))
        self._report(list(findings), document, shown)
        for key in {key for spec in rendered if isinstance(key := spec.value.get("pipeline_key"), str)}:
            self._doubt_pipeline(key, Location(shown, *document.marks.locate(("pipeline_key",))))

    def _not_set(self, rendered: Rendered) -> Iterator[Finding]:
        """Not an error: a plan can be read without the secrets that apply needs."""
        for name, route in rendered.env.items():
            if name not in self._environ:
                yield Finding(route, "env-not-set", f"env.{name} is not set here", "apply needs it to submit this job")

    def _spec(
        self,
        rendered: Rendered,
        faults: Sequence[Finding],
        marks: Marks,
        where: Location,
        folder: Path,
        *,
        broken: bool,
    ) -> list[Finding]:
        """Take a spec if it is valid; what is wrong with it. `faults`: of its expressions, which are still there."""
        value = rendered.value
        uploads, findings = self._check(value, folder)
        findings = [f for f in findings if not _unfilled(f.route, faults, rendered)]
        valid = all(f.code in _WARNINGS for f in findings) and not faults and not broken
        name_location = Location(where.path, *marks.locate(("name",)))
        if isinstance(value.get("name"), str):
            self._read.claims.append(Claim(value["name"], name_location, valid))
        if not valid:
            return findings
        try:
            spec = JobSpec.model_validate(value)
        except ValidationError as error:
            return [Finding(e["loc"], "invalid-value", e["msg"]) for e in error.errors(include_input=False)]
        needs = {name: Location(where.path, *marks.locate(route)) for name, route in _needs(value).items()}
        env = tuple(sorted(rendered.env))
        moved = spec.reconcile is not None and spec.reconcile.moved_from is not None
        self._read.specs.append(
            read(
                WrittenSpec(
                    spec,
                    value,
                    where,
                    uploads,
                    name_location,
                    env,
                    needs,
                    key_location=Location(where.path, *marks.locate(("pipeline_key",))),
                    takes=tuple(_takes(value, where.path, marks)),
                    pipeline=self._pipeline(value),
                    move_location=Location(where.path, *marks.locate(("reconcile", "moved_from"))) if moved else None,
                )
            )
        )
        return findings

    def _check(self, value: dict[str, Any], folder: Path) -> tuple[dict[str, tuple[Upload, ...]], list[Finding]]:
        """Everything that can be said of a spec at once: what its faulty parts leave open is not asked."""
        findings = [replace(f, detail=_SPEC_SCHEMA) for f in self._schema.findings(value)]
        unclear = {f.route[0] for f in findings if f.route and _hides_others(f)}
        # What stands under a misspelt key would be reported a second time, as ports without files.
        unclear.update(name for f in findings if f.code == "unknown-field" and len(f.route) == 1 for name in f.names)
        uploads: dict[str, tuple[Upload, ...]] = {}
        if "inputs" not in unclear:
            inputs = value.get("inputs") or {}
            uploads, unusable = self._local.uploads(inputs, folder)
            findings += unusable or inputs_findings(inputs, uploads)
        if pipeline := self._pipeline(value):
            more = check_type(value, pipeline)
            more += check_inputs(value, pipeline) if "inputs" not in unclear else []
            more += check_parameters(value, pipeline) if "parameters" not in unclear else []
            if more:
                detail = f"what {pipeline.key} {pipeline.version} takes: {self._shown(Path(pipeline.path))}"
                findings += [replace(f, detail=detail) for f in more]
        return uploads, findings

    def _pipeline(self, value: dict[str, Any]) -> Pipeline | None:
        key, version = value.get("pipeline_key"), value.get("pipeline_version")
        if not (isinstance(key, str) and key and (version is None or isinstance(version, str))):
            return None
        pipeline = self._snapshots.find(key, version)
        if pipeline is None:
            self._read.unchecked.add(f"{key} {version}" if version else key)
        return pipeline

    def _doubt_pipeline(self, key: str, where: Location) -> None:
        """Warn of a pipeline that has no snapshot, when one that has is called nearly the same."""
        known = self._snapshots.keys
        if key not in known and (hint := did_you_mean(key, known)):
            self._fault("unknown-pipeline", f"no pipeline {key!r} is known here", where, hint, severity="warning")

    def _report(self, findings: Sequence[Finding], document: Document, shown: str) -> None:
        for finding in findings:
            line, column = document.marks.locate(finding.route, key=finding.at_key)
            severity: Severity = "warning" if finding.code in _WARNINGS else "error"
            where = Location(shown, line, column)
            self._fault(finding.code, finding.summary, where, finding.hint, severity=severity, detail=finding.detail)

    def _fault(
        self,
        code: str,
        summary: str,
        location: Location,
        hint: str | None = None,
        *,
        severity: Severity = "error",
        detail: str | None = None,
    ) -> None:
        self._read.diagnostics.append(Diagnostic(code, summary, location, severity, detail, hint))


def _hides_others(finding: Finding) -> bool:
    """Whether a fault leaves the shape of its section open, so that no more can be said of it."""
    return finding.code in ("wrong-type", "out-of-range", "conflicting-fields") and finding.route[-1] != "parallelism"


def _unfilled(route: Route, faults: Sequence[Finding], rendered: Rendered) -> bool:
    """Whether the value at `route` is not yet known: its expression is faulty, or the environment has it."""
    places = [*rendered.env.values(), *(fault.route for fault in faults)]
    return any(route[: len(place)] == place for place in places)


def _needs(value: JsonObject) -> dict[str, Route]:
    """The jobs that a valid spec needs, and where it first says so."""
    policies = value.get("reconcile") or {}
    places: dict[str, Route] = {}
    for index, name in enumerate(policies.get("needs", ())):
        places.setdefault(name, ("reconcile", "needs", index))
    for port, items in (value.get("inputs") or {}).items():
        for index, item in enumerate(items):
            if "from" in item:
                places.setdefault(item["from"]["job"], ("inputs", port, index, "from", "job"))
    return places


def _takes(value: JsonObject, path: str, marks: Marks) -> Iterator[Taken]:
    """What a valid spec takes from other jobs, each at the name of the port or the checkpoint."""
    for port, items in (value.get("inputs") or {}).items():
        for index, item in enumerate(items):
            if source := item.get("from"):
                result = "port" if "port" in source else "checkpoint"
                where = Location(path, *marks.locate(("inputs", port, index, "from", result)))
                yield Taken(source["job"], source.get("port"), where)
