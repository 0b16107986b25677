"""Files → specs with positions. The only module that reads specs; it finds every fault and raises none early."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from reconciler.errors import Diagnostic, Location
from reconciler.expressions import Scopes
from reconciler.remembered import Remembered, context, is_lasting, key_of, told
from reconciler.resolve import Claim, FileRead, ReadSpec, duplicate_name
from reconciler.sharing import shared

if TYPE_CHECKING:
    from reconciler.localfiles import LocalFiles
    from reconciler.snapshots import Snapshots
    from reconciler.specfile import SpecReader

FILE_LIMIT = 1 << 20
"""Bytes in one spec file."""
Severity: TypeAlias = Literal["error", "warning"]
SUFFIXES = (".yaml", ".yml", ".json")


@dataclass(frozen=True, slots=True)
class Loaded:
    """The valid specs, in the order of their files, and every diagnostic."""

    specs: tuple[ReadSpec, ...]
    diagnostics: tuple[Diagnostic, ...]
    files: int
    unchecked: tuple[str, ...] = ()
    """Pipelines without a snapshot: ports and parameters of their jobs were not checked."""
    invalid: frozenset[str] = frozenset()
    """The names of specs that have faults."""


@dataclass(frozen=True, slots=True)
class Memory:
    """What files said in earlier runs may be taken for what they say, if they are the same: `folder` has it.

    `enough` says of a name and a fingerprint whether no more needs to be known of such a job: its request is not
    remembered.
    """

    folder: Path
    enough: Callable[[str, str], bool]


def load(
    paths: Sequence[Path],
    *,
    root: Path,
    pipelines: Path | None = None,
    scopes: Scopes | None = None,
    policies: Mapping[str, Any] | None = None,
    environ: Collection[str] = (),
    memory: Memory | None = None,
) -> Loaded:
    """Read the specs in `paths` (folders or files), naming files relative to `root`, the working directory.

    `scopes`: what their expressions can name. `policies`: what their `reconcile` is laid over. `environ`: the variables
    that the environment has. Ports and parameters are checked against the pipeline snapshots (`*.json`) in the folder
    `pipelines`, where it has one.
    """
    loader = _Loader(root.resolve(), pipelines, scopes or {}, policies or {}, environ, memory)
    for path in paths:
        loader.find(path)
    return loader.read()


def diagnostic_order(diagnostic: Diagnostic) -> tuple[Location, str, str]:
    """By file and place; a total order, so that the same faults are told in the same words each time."""
    return diagnostic.location or Location(""), diagnostic.code, diagnostic.summary


@dataclass(slots=True)
class _File:
    """A spec file: its path, how it is named to people, the folder it is in, and what its links must not leave."""

    path: str
    shown: str
    folder: Path
    inside: Path
    data: bytes = b""
    key: bytes = b""
    read: FileRead | None = None


class _Loader:
    def __init__(
        self,
        root: Path,
        pipelines: Path | None,
        scopes: Scopes,
        policies: Mapping[str, Any],
        environ: Collection[str],
        memory: Memory | None,
    ) -> None:
        self._root = root
        self._pipelines = pipelines
        self._scopes, self._policies, self._environ = scopes, policies, environ
        self._memory = memory
        self._seen: set[str] = set()
        self._found: list[_File] = []
        self.diagnostics: list[Diagnostic] = []
        self.files = 0

    @cached_property
    def _local(self) -> LocalFiles:
        from reconciler.localfiles import LocalFiles

        return LocalFiles(self._root)

    @cached_property
    def _snapshots(self) -> Snapshots:
        from reconciler.snapshots import Snapshots

        return Snapshots(self._pipelines)

    @cached_property
    def _reader(self) -> SpecReader:
        from reconciler.specfile import SpecReader

        return SpecReader(self._name, self._snapshots, self._local, self._scopes, self._policies, self._environ)

    def find(self, path: Path) -> None:
        """Note the spec files in `path`."""
        try:
            is_folder = stat.S_ISDIR(path.stat().st_mode)
        except FileNotFoundError:
            self._fault("no-such-path", f"{path} does not exist", Location(self._name(path)), "check the path")
            return
        except (OSError, ValueError) as error:
            self._fault("unreadable", f"cannot be read: {_reason(error)}", Location(self._name(path)))
            return
        before = self.files
        if not is_folder:
            self._note(str(path.parent), [path.name], path.parent.resolve())
            return
        for top, names in self._walk(path):
            self._note(top, names, path.resolve())
        if self.files == before:
            hint = "a spec is a file that ends in .yaml, .yml or .json and does not begin with '.' or '_'"
            self._fault("no-specs", "no specs in this folder", Location(self._name(path)), hint)

    def _walk(self, folder: Path) -> Iterator[tuple[str, list[str]]]:
        def unreadable(error: OSError) -> None:
            where = Location(self._name(Path(error.filename)))
            self._fault("unreadable", f"cannot be listed: {error.strerror}", where)

        for top, folders, files in os.walk(folder, onerror=unreadable):
            folders[:] = sorted(f for f in folders if not f.startswith((".", "_")))
            for link in [f for f in folders if (Path(top) / f).is_symlink()]:
                folders.remove(link)
                self._linked_folder(Path(top) / link, folder)
            yield top, sorted(n for n in files if n.endswith(SUFFIXES) and not n.startswith((".", "_")))

    def _linked_folder(self, link: Path, folder: Path) -> None:
        where = Location(self._name(link))
        if link.resolve().is_relative_to(folder.resolve()):
            self._fault("linked-folder", "a symbolic link to a folder is not followed", where, severity="warning")
        else:
            # Only a warning would let its jobs look removed.
            self._fault("link-outside", "a symbolic link that leaves the specs folder", where, "copy the folder")

    def _note(self, top: str, names: Sequence[str], inside: Path) -> None:
        """The files `names` of the folder `top`. One that was noted already is only counted."""
        self.files += len(names)
        if not names:
            return
        folder = Path(top)
        really, prefix = os.path.realpath(folder), self._name(folder / "x")[:-1]
        for name in names:
            if (identity := f"{really}/{name}") not in self._seen:
                self._seen.add(identity)
                shown = prefix + name if name.isascii() else self._name(folder / name)
                self._found.append(_File(f"{top}/{name}", shown, folder, inside))

    def read(self) -> Loaded:
        """What all the files that were found say."""
        memory = self._remembered()
        new = []
        for file in self._found:
            data = self._data(file)
            if data is None:
                continue
            if memory is not None:
                file.key = key_of(file.shown, data)
                file.read = self._as_before(memory, file)
            if file.read is None:
                file.data = data
                new.append(file)
        if memory is None or not memory.is_known:
            self._tell_bad_snapshots()
        self._read_new(new)
        if memory is not None and not (self._snapshots.faults if new else ()):
            memory.keep({file.key: file.read for file in self._found if file.read is not None})
        return self._together()

    def _remembered(self) -> Remembered | None:
        if self._memory is None:
            return None
        about = context(self._root, self._pipelines, self._scopes.get("vars", dict)(), self._policies)
        return None if about is None else Remembered(self._memory.folder, about)

    def _as_before(self, memory: Remembered, file: _File) -> FileRead | None:
        """What the file said in an earlier run, if that is enough now, and holds for the local files that it names."""
        assert self._memory is not None
        read = memory.get(file.key)
        if read is None:
            return None
        enough = self._memory.enough
        for spec in read.specs:
            if not enough(spec.job.name, spec.job.fingerprint):
                return None
            if spec.files:
                items = [{"path": path} for path in spec.files]
                if self._local.uploads({"": items}, file.folder) != (spec.files, []):
                    return None
        return read

    def _read_new(self, new: Sequence[_File]) -> None:
        for file, read in zip(new, shared(new, self._read_file, FileRead), strict=True):
            file.read, file.data = read, b""

    def _read_file(self, file: _File) -> FileRead:
        """What the file says. Requests that need not be known take a third of the memory of a plan: they are let go."""
        read = self._said(file)
        enough = self._memory.enough if self._memory is not None else None
        if enough is None or not is_lasting(read):
            return read
        return told(read) if all(enough(s.job.name, s.job.fingerprint) for s in read.specs) else read

    def _said(self, file: _File) -> FileRead:
        try:
            text = file.data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            from reconciler.marks import position

            before = error.object[: error.start].decode()
            summary = f"not UTF-8: byte 0x{error.object[error.start]:02x}"
            where = Location(file.shown, *position(before, len(before)))
            fault = Diagnostic("not-utf8", summary, where, hint="save the file as UTF-8")
            return FileRead(diagnostics=[fault])
        return self._reader.read(text, file.shown, file.folder)

    def _together(self) -> Loaded:
        specs: list[ReadSpec] = []
        unchecked: set[str] = set()
        claims: list[Claim] = []
        for file in self._found:
            if (read := file.read) is None:
                continue
            specs += read.specs
            self.diagnostics += read.diagnostics
            unchecked |= read.unchecked
            claims += read.claims or [Claim(s.job.name, s.name_location, valid=True) for s in read.specs]
        first: dict[str, Claim] = {}
        for claim in claims:
            first.setdefault(claim.name, claim)
        self.diagnostics += _clashes(claims, first)
        invalid = frozenset(name for name, claim in first.items() if not claim.valid)
        diagnostics = tuple(sorted(self.diagnostics, key=diagnostic_order))
        return Loaded(tuple(specs), diagnostics, self.files, tuple(sorted(unchecked)), invalid)

    def _data(self, file: _File) -> bytes | None:
        """What is in the file. Links that leave the folder, devices and pipes are refused without being opened."""
        try:
            status = os.lstat(file.path)
            if not stat.S_ISREG(status.st_mode) and not self._may_be_opened(file):
                return None
            # Room for the largest file, and a buffer and a path object for each, take longer than reading it.
            with open(file.path, "rb", buffering=0) as opened:  # noqa: PTH123
                expected = min(status.st_size, FILE_LIMIT)
                data = opened.read(expected + 1)
                if len(data) > expected:
                    data += opened.read(FILE_LIMIT)
        except (OSError, RuntimeError) as error:  # RuntimeError: a loop of links, before Python 3.13
            self._fault("unreadable", f"cannot be read: {_reason(error)}", Location(file.shown))
            return None
        if len(data) > FILE_LIMIT:
            self._fault("too-large", f"larger than {FILE_LIMIT >> 20} MiB", Location(file.shown), "split the file")
            return None
        return data

    def _may_be_opened(self, file: _File) -> bool:
        path, where = Path(file.path), Location(file.shown)
        target = path.resolve(strict=True)
        if path.is_symlink() and not target.is_relative_to(file.inside):
            self._fault("link-outside", "a symbolic link that leaves the specs folder", where, "copy the file")
            return False
        if not stat.S_ISREG(target.stat().st_mode):
            self._fault("unreadable", "not a regular file", where)
            return False
        return True

    def _tell_bad_snapshots(self) -> None:
        for path, reason in self._snapshots.faults:
            hint = "write it again with 'reconciler pipelines pull', or remove it"
            self._fault("bad-snapshot", f"not a usable pipeline snapshot: {reason}", Location(self._name(path)), hint)

    def _name(self, path: Path) -> str:
        """How `path` is shown: relative to the working directory when it is inside, and always as valid text."""
        absolute = path if path.is_absolute() else self._root / path
        shown = os.path.relpath(absolute, self._root) if absolute.is_relative_to(self._root) else str(path)
        return os.fsencode(shown).decode(errors="backslashreplace")

    def _fault(
        self, code: str, summary: str, location: Location, hint: str | None = None, *, severity: Severity = "error"
    ) -> None:
        self.diagnostics.append(Diagnostic(code, summary, location, severity, hint=hint))


def _clashes(claims: Iterable[Claim], firsts: Mapping[str, Claim]) -> Iterator[Diagnostic]:
    """Names that are taken already, where one of the two is invalid: `resolve` compares the valid ones."""
    for claim in claims:
        first = firsts[claim.name]
        if first is not claim and first.location != claim.location and not (claim.valid and first.valid):
            yield duplicate_name(claim.name, first.location, claim.location)


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
