"""Files → specs with positions. The only module that reads specs; it finds every fault and raises none early."""

from __future__ import annotations

import hashlib
import json
import mimetypes
import os
import re
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from reconciler.check import Checker, Finding, SchemaError, did_you_mean
from reconciler.errors import Diagnostic, Location
from reconciler.job import Upload
from reconciler.resolve import Pipeline, WrittenSpec, check_pipeline
from reconciler.spec import JobSpec
from reconciler.yaml12 import Document, parse

FILE_LIMIT = 1 << 20
"""Bytes in one spec file."""
SUFFIXES = (".yaml", ".yml", ".json")


@dataclass(frozen=True, slots=True)
class Loaded:
    """The valid specs, in the order of their files, and every diagnostic."""

    specs: tuple[WrittenSpec, ...]
    diagnostics: tuple[Diagnostic, ...]
    files: int


def load(paths: Sequence[Path], *, root: Path, pipelines: Path | None = None) -> Loaded:
    """Read the specs in `paths` (folders or files), naming files relative to `root`, the working directory.

    Parameters are checked against the pipeline snapshots (`*.json`) in the folder `pipelines`, where it has one.
    """
    loader = _Loader(root.resolve(), pipelines)
    for path in paths:
        loader.read(path)
    return Loaded(tuple(loader.specs), tuple(sorted(loader.diagnostics, key=_order)), loader.files)


def _order(diagnostic: Diagnostic) -> tuple[Location, str, str]:
    return diagnostic.location or Location(""), diagnostic.code, diagnostic.summary


class _Loader:
    def __init__(self, root: Path, pipelines: Path | None) -> None:
        self._root = root
        self._schema = Checker(JobSpec.model_json_schema())
        self._pipelines_folder = pipelines
        self._pipelines: dict[str, list[Pipeline]] | None = None
        self._uploads: dict[Path, Upload] = {}
        self.specs: list[WrittenSpec] = []
        self.diagnostics: list[Diagnostic] = []
        self.files = 0

    def read(self, path: Path) -> None:
        if not path.exists():
            self._fault(
                "no-such-path",
                f"{path} does not exist",
                Location(str(path)),
                "check the path",
            )
            return
        if not path.is_dir():
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
            self._fault(
                "unreadable",
                f"cannot be listed: {error.strerror}",
                Location(self._name(Path(error.filename))),
            )

        for top, folders, files in os.walk(folder, onerror=unreadable):
            folders[:] = sorted(f for f in folders if not f.startswith((".", "_")))
            for name in [f for f in folders if (Path(top) / f).is_symlink()]:
                folders.remove(name)
                summary = "a symbolic link to a folder is not followed"
                self._fault("linked-folder", summary, Location(self._name(Path(top) / name)), severity="warning")
            for name in sorted(files):
                if name.endswith(SUFFIXES) and not name.startswith((".", "_")):
                    yield Path(top) / name

    def _file(self, path: Path, inside: Path) -> None:
        self.files += 1
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
        except OSError as error:
            self._fault("unreadable", f"cannot be read: {error.strerror}", where)
            return None
        if len(data) > FILE_LIMIT:
            self._fault("too-large", f"larger than {FILE_LIMIT >> 20} MiB", where, "split the file")
            return None
        try:
            return data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = data.count(b"\n", 0, error.start) + 1
            column = error.start - data.rfind(b"\n", 0, error.start)
            summary = f"not UTF-8: byte 0x{data[error.start]:02x}"
            self._fault("not-utf8", summary, Location(shown, line, column), "save the file as UTF-8")
            return None

    def _document(self, document: Document, shown: str, folder: Path, *, broken: bool) -> None:
        value, marks = document.value, document.marks
        where = Location(shown, *marks.at)
        if value is None:
            self._fault("empty-document", "an empty document", where, "remove the '---', or write a job spec")
            return
        if not isinstance(value, dict):
            kind = "a list" if isinstance(value, list) else "a single value"
            hint = "a job spec is a mapping: name, pipeline_type, pipeline_key, …"
            self._fault("not-a-spec", f"{kind}, not a job spec", where, hint)
            return
        findings = self._schema.findings(value)
        if not findings:
            findings = self._pipeline_findings(value)
        uploads: dict[str, Upload] = {}
        if not findings:
            uploads, findings = self._local_files(value, folder)
        self._report(findings, document, shown)
        if findings or broken:
            return
        try:
            spec = JobSpec.model_validate(value)
        except ValidationError as error:
            routes = [Finding(e["loc"], "invalid-value", e["msg"]) for e in error.errors(include_input=False)]
            self._report(routes, document, shown)
            return
        self.specs.append(WrittenSpec(spec, value, where, uploads))

    def _report(self, findings: Sequence[Finding], document: Document, shown: str) -> None:
        for finding in findings:
            line, column = document.marks.locate(finding.route, key=finding.at_key)
            self._fault(finding.code, finding.summary, Location(shown, line, column), finding.hint)

    # -- local files ------------------------------------------------------------------------------

    def _local_files(self, value: dict[str, Any], folder: Path) -> tuple[dict[str, Upload], list[Finding]]:
        uploads: dict[str, Upload] = {}
        findings: list[Finding] = []
        for port, items in (value.get("inputs") or {}).items():
            for index, item in enumerate(items):
                if "path" not in item or item["path"] in uploads:
                    continue
                route = ("inputs", port, index, "path")
                found = self._local_file(item["path"], folder, route)
                if isinstance(found, Finding):
                    findings.append(found)
                else:
                    uploads[item["path"]] = found
        return uploads, findings

    def _local_file(self, written: str, folder: Path, route: tuple[str | int, ...]) -> Upload | Finding:
        path = folder / written
        try:
            target = path.resolve(strict=True)
            if not target.is_relative_to(self._root):
                hint = "only files of this working directory are uploaded; copy it here, or give its file_id"
                return Finding(route, "file-outside", f"{written!r} lies outside the working directory", hint)
            if not target.is_file():
                return Finding(route, "no-such-file", f"{written!r} is not a file")
            if target not in self._uploads:
                self._uploads[target] = self._digest(target)
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            hint = _nearest_file(path) or "paths are relative to the spec"
            return Finding(route, "no-such-file", f"{written!r} cannot be read: {reason}", hint)
        return self._uploads[target]

    def _digest(self, target: Path) -> Upload:
        with target.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            num_bytes = file.tell()
        stem, suffix = (re.sub(r"[^A-Za-z0-9._-]", "_", part) for part in (target.stem, target.suffix))
        return Upload(
            path=self._name(target),
            file_id=f"{stem[:80]}.{digest[:16]}{suffix}",
            digest=f"sha256:{digest}",
            num_bytes=num_bytes,
            media_type=_media_type(target.name),
        )

    # -- pipelines --------------------------------------------------------------------------------

    def _pipeline_findings(self, value: dict[str, Any]) -> list[Finding]:
        """Checked against the pinned version's snapshot; an unpinned spec against the newest one that is here."""
        if self._pipelines is None:
            self._pipelines = self._snapshots()
        versions = self._pipelines.get(value["pipeline_key"], [])
        pinned = value.get("pipeline_version")
        if pinned is not None:
            versions = [p for p in versions if p.version == pinned]
        return check_pipeline(value, versions[-1]) if versions else []

    def _snapshots(self) -> dict[str, list[Pipeline]]:
        found: dict[str, list[Pipeline]] = {}
        if self._pipelines_folder is None or not self._pipelines_folder.is_dir():
            return found
        for path in sorted(self._pipelines_folder.glob("*.json")):
            try:
                raw = json.loads(path.read_bytes())
                pipeline = Pipeline(
                    key=raw["pipeline_key"],
                    version=raw["pipeline_version"],
                    inputs=raw["inputs"],
                    components=raw["components"],
                    defaults=raw["default_config"],
                    config=Checker(raw["user_schema"]),
                )
            except (OSError, ValueError, KeyError, TypeError, SchemaError) as error:
                reason = str(error).partition("\n")[0]
                summary = f"not a usable pipeline snapshot: {type(error).__name__}: {reason}"
                hint = "write it again from the platform's registry, or remove it"
                self._fault("bad-snapshot", summary, Location(self._name(path)), hint)
            else:
                found.setdefault(pipeline.key, []).append(pipeline)
        for versions in found.values():
            versions.sort(
                key=lambda p: [(int(t), "") if t.isdigit() else (-1, t) for t in re.split(r"[.\-+]", p.version)]
            )
        return found

    def _name(self, path: Path) -> str:
        absolute = path if path.is_absolute() else self._root / path
        return os.path.relpath(absolute, self._root) if absolute.is_relative_to(self._root) else str(path)

    def _fault(
        self, code: str, summary: str, location: Location, hint: str | None = None, *, severity: Any = "error"
    ) -> None:
        self.diagnostics.append(Diagnostic(code, summary, location, severity, hint=hint))


def _media_type(name: str) -> str:
    kind = mimetypes.guess_type(name)[0]
    # The platform's simple upload refuses application/x-ndjson and takes such files as text.
    return kind if kind in _UPLOADABLE else "text/plain"


_UPLOADABLE = frozenset({"image/jpeg", "image/png", "video/mp4", "text/plain", "text/csv", "application/json"})


def _nearest_file(path: Path) -> str | None:
    try:
        return did_you_mean(path.name, [p.name for p in path.parent.iterdir()])
    except OSError:
        return None
