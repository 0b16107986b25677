"""Files → specs with positions. The only module that reads specs; it finds every fault and raises none early."""

from __future__ import annotations

import os
import stat
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

from pydantic import ValidationError

from reconciler.check import Checker, Finding, Route, did_you_mean
from reconciler.errors import Diagnostic, Location
from reconciler.expressions import Scopes
from reconciler.job import JsonObject, Upload
from reconciler.localfiles import LocalFiles, inputs_findings
from reconciler.pipeline import Pipeline, check_inputs, check_parameters, check_type
from reconciler.rendering import Rendered, Renderer
from reconciler.resolve import Taken, WrittenSpec, duplicate_name
from reconciler.snapshots import Snapshots
from reconciler.spec import JobSpec
from reconciler.yaml12 import Document, Marks, parse, position

FILE_LIMIT = 1 << 20
"""Bytes in one spec file."""
_SPEC_SCHEMA = "what a spec may hold: reconciler schema spec"
_WARNINGS = frozenset({"env-not-set", "many-files"})
Severity: TypeAlias = Literal["error", "warning"]
SUFFIXES = (".yaml", ".yml", ".json")


@dataclass(frozen=True, slots=True)
class Loaded:
    """The valid specs, in the order of their files, and every diagnostic."""

    specs: tuple[WrittenSpec, ...]
    diagnostics: tuple[Diagnostic, ...]
    files: int
    unchecked: tuple[str, ...] = ()
    """Pipelines without a snapshot: ports and parameters of their jobs were not checked."""


def load(
    paths: Sequence[Path],
    *,
    root: Path,
    pipelines: Path | None = None,
    scopes: Scopes | None = None,
    policies: Mapping[str, Any] | None = None,
    environ: Collection[str] = (),
) -> Loaded:
    """Read the specs in `paths` (folders or files), naming files relative to `root`, the working directory.

    `scopes`: what their expressions can name. `policies`: what their `reconcile` is laid over. `environ`: the variables
    that the environment has. Ports and parameters are checked against the pipeline snapshots (`*.json`) in the folder
    `pipelines`, where it has one.
    """
    loader = _Loader(root.resolve(), pipelines, Renderer(scopes or {}, policies or {}), environ)
    for path in paths:
        loader.read(path)
    diagnostics = tuple(sorted(loader.diagnostics, key=diagnostic_order))
    return Loaded(tuple(loader.specs), diagnostics, loader.files, tuple(sorted(loader.unchecked)))


def diagnostic_order(diagnostic: Diagnostic) -> tuple[Location, str, str]:
    """By file and place; a total order, so that the same faults are told in the same words each time."""
    return diagnostic.location or Location(""), diagnostic.code, diagnostic.summary


class _Loader:
    def __init__(self, root: Path, pipelines: Path | None, renderer: Renderer, environ: Collection[str]) -> None:
        self._root = root
        self._renderer = renderer
        self._environ = environ
        self._schema = Checker(JobSpec.model_json_schema, ours=True)
        self._snapshots = Snapshots(pipelines)
        self.unchecked: set[str] = set()
        self._local = LocalFiles(root)
        self._read: set[Path] = set()
        self._names: dict[str, tuple[Location, bool]] = {}
        self.specs: list[WrittenSpec] = []
        self.diagnostics: list[Diagnostic] = []
        self.files = 0
        for path, reason in self._snapshots.faults:
            hint = "write it again with 'reconciler pipelines pull', or remove it"
            self._fault("bad-snapshot", f"not a usable pipeline snapshot: {reason}", Location(self._name(path)), hint)

    def read(self, path: Path) -> None:
        try:
            is_folder = stat.S_ISDIR(path.stat().st_mode)
        except FileNotFoundError:
            self._fault("no-such-path", f"{path} does not exist", Location(self._name(path)), "check the path")
            return
        except (OSError, ValueError) as error:
            self._fault("unreadable", f"cannot be read: {_reason(error)}", Location(self._name(path)))
            return
        if not is_folder:
            self._file(path, path.parent.resolve())
            return
        before = self.files
        for file in self._walk(path):
            self._file(file, path.resolve())
        if self.files == before:
            hint = "a spec is a file that ends in .yaml, .yml or .json and does not begin with '.' or '_'"
            self._fault("no-specs", "no specs in this folder", Location(self._name(path)), hint)

    def _walk(self, folder: Path) -> Iterator[Path]:
        def unreadable(error: OSError) -> None:
            where = Location(self._name(Path(error.filename)))
            self._fault("unreadable", f"cannot be listed: {error.strerror}", where)

        for top, folders, files in os.walk(folder, onerror=unreadable):
            folders[:] = sorted(f for f in folders if not f.startswith((".", "_")))
            for link in [f for f in folders if (Path(top) / f).is_symlink()]:
                folders.remove(link)
                self._linked_folder(Path(top) / link, folder)
            for name in sorted(files):
                if name.endswith(SUFFIXES) and not name.startswith((".", "_")):
                    yield Path(top) / name

    def _linked_folder(self, link: Path, folder: Path) -> None:
        where = Location(self._name(link))
        if link.resolve().is_relative_to(folder.resolve()):
            self._fault("linked-folder", "a symbolic link to a folder is not followed", where, severity="warning")
        else:
            # Only a warning would let its jobs look removed.
            self._fault("link-outside", "a symbolic link that leaves the specs folder", where, "copy the folder")

    def _file(self, path: Path, inside: Path) -> None:
        identity = path.parent.resolve() / path.name
        self.files += 1
        if identity in self._read:
            return
        self._read.add(identity)
        shown = self._name(path)
        text = self._text(path, shown, inside)
        if text is None:
            return
        documents, faults = parse(text, shown)
        self.diagnostics.extend(faults)
        if not documents and not faults:
            self._fault("empty-file", "no job spec in this file", Location(shown, 1), "write one, or remove the file")
        broken = any(f.severity == "error" for f in faults)
        for document in documents:
            self._document(document, shown, path.parent, broken=broken)

    def _text(self, path: Path, shown: str, inside: Path) -> str | None:
        """The file's text. Links that leave `inside`, devices and pipes are refused without being opened."""
        where = Location(shown)
        try:
            target = path.resolve(strict=True)
            if path.is_symlink() and not target.is_relative_to(inside):
                self._fault("link-outside", "a symbolic link that leaves the specs folder", where, "copy the file")
                return None
            if not stat.S_ISREG(target.stat().st_mode):
                self._fault("unreadable", "not a regular file", where)
                return None
            with target.open("rb") as file:
                data = file.read(FILE_LIMIT + 1)
        except (OSError, RuntimeError) as error:  # RuntimeError: a loop of links, before Python 3.13
            self._fault("unreadable", f"cannot be read: {_reason(error)}", where)
            return None
        if len(data) > FILE_LIMIT:
            self._fault("too-large", f"larger than {FILE_LIMIT >> 20} MiB", where, "split the file")
            return None
        try:
            return data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            before = error.object[: error.start].decode()
            summary = f"not UTF-8: byte 0x{error.object[error.start]:02x}"
            where = Location(shown, *position(before, len(before)))
            self._fault("not-utf8", summary, where, "save the file as UTF-8")
            return None

    def _document(self, document: Document, shown: str, folder: Path, *, broken: bool) -> None:
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
        rendered, faults = self._renderer.render(value)
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
        self._claim(value.get("name"), name_location, valid=valid)
        if not valid:
            return findings
        try:
            spec = JobSpec.model_validate(value)
        except ValidationError as error:
            return [Finding(e["loc"], "invalid-value", e["msg"]) for e in error.errors(include_input=False)]
        needs = {name: Location(where.path, *marks.locate(route)) for name, route in _needs(value).items()}
        env = tuple(sorted(rendered.env))
        self.specs.append(
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
            detail = f"what {pipeline.key} {pipeline.version} takes: {self._name(Path(pipeline.path))}"
            findings += [replace(f, detail=detail) for f in more]
        return uploads, findings

    def _pipeline(self, value: dict[str, Any]) -> Pipeline | None:
        key, version = value.get("pipeline_key"), value.get("pipeline_version")
        if not (isinstance(key, str) and key and (version is None or isinstance(version, str))):
            return None
        pipeline = self._snapshots.find(key, version)
        if pipeline is None:
            self.unchecked.add(f"{key} {version}" if version else key)
        return pipeline

    def _doubt_pipeline(self, key: str, where: Location) -> None:
        """Warn of a pipeline that has no snapshot, when one that has is called nearly the same."""
        known = self._snapshots.keys
        if key not in known and (hint := did_you_mean(key, known)):
            self._fault("unknown-pipeline", f"no pipeline {key!r} is known here", where, hint, severity="warning")

    def _claim(self, name: Any, where: Location, *, valid: bool) -> None:
        """Report a name that is taken already, if one of the two is invalid: `resolve` compares the valid ones."""
        if not isinstance(name, str):
            return
        first, first_valid = self._names.setdefault(name, (where, valid))
        if first != where and not (valid and first_valid):
            self.diagnostics.append(duplicate_name(name, first, where))

    def _report(self, findings: Sequence[Finding], document: Document, shown: str) -> None:
        for finding in findings:
            line, column = document.marks.locate(finding.route, key=finding.at_key)
            severity: Severity = "warning" if finding.code in _WARNINGS else "error"
            where = Location(shown, line, column)
            self._fault(finding.code, finding.summary, where, finding.hint, severity=severity, detail=finding.detail)

    def _name(self, path: Path) -> str:
        """How `path` is shown: relative to the working directory when it is inside, and always as valid text."""
        absolute = path if path.is_absolute() else self._root / path
        shown = os.path.relpath(absolute, self._root) if absolute.is_relative_to(self._root) else str(path)
        return os.fsencode(shown).decode(errors="backslashreplace")

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
        self.diagnostics.append(Diagnostic(code, summary, location, severity, detail, hint))


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


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
