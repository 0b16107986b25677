"""Local files that specs name → uploads: inside the working directory, regular, and digested once a run."""

from __future__ import annotations

import contextlib
import hashlib
import mimetypes
import os
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path, PurePath
from typing import Any

from reconciler.check import Finding, Route, did_you_mean
from reconciler.job import Upload
from reconciler.patterns import LIMIT, TooMany, is_pattern, matches, suggestion

_UPLOADABLE = frozenset({"image/jpeg", "image/png", "video/mp4", "text/plain", "text/csv", "application/json"})
_JSON_LINES = (".jsonl", ".ndjson")
_SAFE_INPUTS = 5_000
_WORTH_THREADS = 8 << 20
"""Bytes to digest from which on several threads are faster than one."""
_THREADS = 8


class LocalFiles:
    """The files below `root`, the working directory. Each is read once, however many specs name it.

    Nothing is remembered for the next run: neither size nor time of a file says for sure that it is the same, and a
    wrong digest would leave a changed file unnoticed.
    """

    def __init__(self, root: Path) -> None:
        self._root = root.resolve()
        self._uploads: dict[Path, Upload] = {}

    def uploads(self, inputs: Mapping[str, Any], folder: Path) -> tuple[dict[str, tuple[Upload, ...]], list[Finding]]:
        """The files of a spec in `folder` by the path as written, a pattern perhaps, and a finding for each that cannot
        be uploaded.
        """
        targets: dict[str, list[Path]] = {}
        routes: dict[str, Route] = {}
        findings: list[Finding] = []
        for port, items in inputs.items():
            for index, item in enumerate(items):
                if "path" not in item or item["path"] in routes:
                    continue
                routes[item["path"]] = route = ("inputs", port, index, "path")
                found = self._targets(item["path"], folder, route)
                if isinstance(found, Finding):
                    findings.append(found)
                else:
                    targets[item["path"]] = found
        unreadable = self._digest({target for found in targets.values() for target in found})
        uploads: dict[str, tuple[Upload, ...]] = {}
        for written, found in targets.items():
            if bad := next((target for target in found if target in unreadable), None):
                findings.append(_unreadable(routes[written], self._shown(bad), unreadable[bad]))
            else:
                uploads[written] = tuple(self._uploads[target] for target in found)
        return uploads, findings

    def _targets(self, written: str, folder: Path, route: Route) -> list[Path] | Finding:
        """The files that `written` names, in the order of their paths."""
        path = folder / written
        try:
            if not is_pattern(written) or path.is_file():  # a file whose name looks like a pattern is that file
                found = self._target(path, written, route)
                return found if isinstance(found, Finding) else [found]
            targets: dict[Path, None] = {}  # a link beside its target is no second file
            for match in matches(folder, written):
                found = self._target(match, written, route, matched=True)
                if isinstance(found, Finding):
                    return found
                targets.setdefault(found)
        except TooMany:
            return too_many(route, f"{written!r} matches more files than a job can have, or needs too long a search")
        except (OSError, ValueError) as error:
            return _unreadable(route, written, error)
        if not targets:
            return Finding(route, "no-such-file", f"no file matches {written!r}", suggestion(folder, written))
        return list(targets)

    def _target(self, path: Path, written: str, route: Route, *, matched: bool = False) -> Path | Finding:
        shown = f"{self._shown(path)!r}, which {written!r} matches," if matched else repr(written)
        try:
            target = path.resolve(strict=True)
            str(target.relative_to(self._root) if target.is_relative_to(self._root) else target).encode()
        except UnicodeEncodeError:
            return Finding(route, "no-such-file", f"{shown} has a name that is not UTF-8", "rename it")
        except (OSError, ValueError, RuntimeError) as error:  # RuntimeError: a loop of links, before Python 3.13
            if path.is_symlink() and isinstance(error, FileNotFoundError):
                summary = f"{shown} is a link to {str(path.readlink())!r}, which is not there"
                return Finding(route, "no-such-file", summary, "mend the link, or remove it")
            near = _nearest_file(path) if isinstance(error, FileNotFoundError) else None
            reason = getattr(error, "strerror", None) or str(error)
            summary = f"{shown} cannot be read: {reason}"
            return Finding(route, "no-such-file", summary, near or "paths are relative to the spec")
        if not target.is_relative_to(self._root):
            hint = "only files of this working directory are uploaded; copy it here, or give its file_id"
            return Finding(route, "file-outside", f"{shown} lies outside the working directory", hint)
        if any(part.startswith(".") for part in target.relative_to(self._root).parts):
            # .git/config and .env hold credentials, and whoever can change a spec could have them sent away.
            hint = "copy it to a folder and a name that do not begin with '.'"
            return Finding(route, "hidden-file", f"{shown} is hidden; such files are not uploaded", hint)
        if target.is_dir():
            hint = f"for the files in it write path: {written.rstrip('/')}/*"
            return Finding(route, "no-such-file", f"{shown} is a folder", hint)
        if not target.is_file():
            return Finding(route, "no-such-file", f"{shown} is not a file")
        return target

    def _shown(self, path: Path) -> str:
        """How a file is named to people: relative to the working directory when it is inside."""
        absolute = Path(os.path.abspath(path))  # noqa: PTH100 - a link keeps its own name
        shown = absolute.relative_to(self._root) if absolute.is_relative_to(self._root) else absolute
        return os.fsencode(shown).decode(errors="backslashreplace")

    def _digest(self, targets: Collection[Path]) -> dict[Path, OSError]:
        """Read what has not been read yet. Those that could not be, and why."""
        new = sorted(target for target in targets if target not in self._uploads)
        unreadable: dict[Path, OSError] = {}

        def digested(target: Path) -> Upload | OSError:
            try:
                return self._digested(target)
            except OSError as error:
                return error

        if len(new) > 1 and _is_worth_threads(new):
            from concurrent.futures import ThreadPoolExecutor

            with ThreadPoolExecutor(_THREADS) as threads:
                results = list(threads.map(digested, new))
        else:
            results = [digested(target) for target in new]
        for target, result in zip(new, results, strict=True):
            if isinstance(result, Upload):
                self._uploads[target] = result
            else:
                unreadable[target] = result
        return unreadable

    def _digested(self, target: Path) -> Upload:
        with target.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            num_bytes = file.tell()
        return Upload(
            path=str(target.relative_to(self._root)),
            file_id=content_name(target.name, digest),
            digest=f"sha256:{digest}",
            num_bytes=num_bytes,
            media_type=media_type(target.name),
        )


def content_name(name: str, digest: str) -> str:
    """The name that a file gets on the platform: nobody else has it for another content. `digest`: hexadecimal."""
    path = PurePath(name)
    stem, suffix = (re.sub(r"[^A-Za-z0-9._-]", "_", part) for part in (path.stem, path.suffix))
    return f"{stem[:80]}.{digest[:16]}{suffix}"


def media_type(name: str) -> str:
    """What a file is uploaded as, by its name."""
    if name.casefold().endswith(_JSON_LINES):
        return "application/x-ndjson"
    kind = mimetypes.guess_type(name)[0]
    return kind if kind in _UPLOADABLE else "text/plain"


def inputs_findings(inputs: Mapping[str, Any], uploads: Mapping[str, Sequence[Upload]]) -> list[Finding]:
    """What is to be said of the number of inputs of one job, its patterns expanded."""
    items = [item for port in inputs.values() for item in port]
    count = sum(len(uploads.get(item["path"], ())) if "path" in item else 1 for item in items)
    if count >= LIMIT:
        return [too_many(("inputs",), f"{count:,} inputs are more than a job can have")]
    if count > _SAFE_INPUTS:
        summary = f"{count:,} inputs are many for one job: the platform refuses about {LIMIT:,}"
        return [Finding(("inputs",), "many-files", summary, f"split it into jobs of up to {_SAFE_INPUTS:,}")]
    return []


def too_many(route: Route, summary: str) -> Finding:
    """The fault of a job with more inputs than the platform takes."""
    hint = f"the platform refuses about {LIMIT:,}: split it into jobs of up to {_SAFE_INPUTS:,}"
    return Finding(route, "too-many-files", summary, hint)


def _is_worth_threads(targets: Iterable[Path]) -> bool:
    total = 0
    for target in targets:
        with contextlib.suppress(OSError):
            total += target.stat().st_size
        if total >= _WORTH_THREADS:
            return True
    return False


def _unreadable(route: Route, shown: str, error: Exception) -> Finding:
    reason = getattr(error, "strerror", None) or str(error)
    summary = f"{shown!r} cannot be read: {reason}"
    return Finding(route, "no-such-file", summary, "paths are relative to the spec")


def _nearest_file(path: Path) -> str | None:
    try:
        return did_you_mean(path.name, [p.name for p in path.parent.iterdir()])
    except OSError:
        return None
