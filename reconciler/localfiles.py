"""Local files that specs name → uploads: inside the working directory, regular, and digested once a run."""

from __future__ import annotations

import hashlib
import mimetypes
import re
from collections.abc import Mapping
from pathlib import Path, PurePath
from typing import Any

from reconciler.check import Finding, Route, did_you_mean
from reconciler.job import Upload

_UPLOADABLE = frozenset({"image/jpeg", "image/png", "video/mp4", "text/plain", "text/csv", "application/json"})


class LocalFiles:
    """The files below `root`, the working directory. Each is read once, however many specs name it."""

    def __init__(self, root: Path) -> None:
        self._root = root.resolve()
        self._uploads: dict[Path, Upload] = {}

    def uploads(self, inputs: Mapping[str, Any], folder: Path) -> tuple[dict[str, Upload], list[Finding]]:
        """The files of a spec in `folder` by the path as written, and a finding for each that cannot be uploaded."""
        uploads: dict[str, Upload] = {}
        findings: list[Finding] = []
        for port, items in inputs.items():
            for index, item in enumerate(items):
                if "path" not in item or item["path"] in uploads:
                    continue
                found = self._upload(item["path"], folder, ("inputs", port, index, "path"))
                if isinstance(found, Finding):
                    findings.append(found)
                else:
                    uploads[item["path"]] = found
        return uploads, findings

    def _upload(self, written: str, folder: Path, route: Route) -> Upload | Finding:
        path = folder / written
        try:
            target = path.resolve(strict=True)
            if not target.is_relative_to(self._root):
                hint = "only files of this working directory are uploaded; copy it here, or give its file_id"
                return Finding(route, "file-outside", f"{written!r} lies outside the working directory", hint)
            if any(part.startswith(".") for part in target.relative_to(self._root).parts):
                # .git/config and .env hold credentials, and whoever can change a spec could have them sent away.
                hint = "copy it to a folder and a name that do not begin with '.'"
                return Finding(route, "hidden-file", f"{written!r} is hidden; such files are not uploaded", hint)
            if not target.is_file():
                return Finding(route, "no-such-file", f"{written!r} is not a file")
            if target not in self._uploads:
                self._uploads[target] = self._digested(target)
        except (OSError, ValueError, RuntimeError) as error:  # RuntimeError: a loop of links, before Python 3.13
            reason = getattr(error, "strerror", None) or str(error)
            near = _nearest_file(path) if isinstance(error, FileNotFoundError) else None
            hint = near or "paths are relative to the spec"
            return Finding(route, "no-such-file", f"{written!r} cannot be read: {reason}", hint)
        return self._uploads[target]

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
    kind = mimetypes.guess_type(name)[0]
    # The platform's simple upload refuses application/x-ndjson and takes such files as text.
    return kind if kind in _UPLOADABLE else "text/plain"


def _nearest_file(path: Path) -> str | None:
    try:
        return did_you_mean(path.name, [p.name for p in path.parent.iterdir()])
    except OSError:
        return None
