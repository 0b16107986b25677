"""What spec files said in earlier runs, by their content: so that only what is new is read anew.

Remembered is what valid files say, without the content of their requests: names, fingerprints, places, policies. It
goes by the digest of a file's name and bytes, and by everything else that it depends on: this version of the tool and
of what it reads with, the pipelines' snapshots, vars and policies. No time stamp is looked at.

It lies in the user's cache folder, in one file for each working directory and all that. A file that is damaged, not the
user's own, or from anything else is taken for none; two runs may write it at once, and the last one wins.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from reconciler.cache import Cache, tool
from reconciler.canonical import canonical
from reconciler.resolve import FileRead, ReadSpec

_SPARE = 1000
"""What is remembered beside what the last run needed: at least this many, and at least as many as it needed."""
_HEAD_OF_REQUEST = ("pipeline_type", "pipeline_key", "pipeline_version")


def context(
    root: Path, pipelines: Path | None, variables: Mapping[str, Any], policies: Mapping[str, Any]
) -> str | None:
    """A digest of all that a file's meaning depends on, but for the file. None where it cannot be told."""
    digest = hashlib.sha256()
    try:
        for part in (os.fsencode(root), tool(), canonical([dict(variables), dict(policies)]), *_snapshots(pipelines)):
            digest.update(b"%d:" % len(part))
            digest.update(part)
    except (OSError, ValueError, RecursionError):
        return None
    return digest.hexdigest()


def _snapshots(folder: Path | None) -> list[bytes]:
    if folder is None:
        return []
    paths = sorted(folder.glob("*.json"))
    return [part for path in paths for part in (os.fsencode(path), path.read_bytes() if path.is_file() else b"")]


def key_of(shown: str, data: bytes) -> bytes:
    """By which a file is remembered."""
    digest = hashlib.sha256(data)
    digest.update(shown.encode())
    return digest.digest()


class Remembered:
    """What is remembered about one context. `is_known`: there is something; then no snapshot was at fault.

    It is in two files, so that one new spec among ten thousand does not have them all written anew: most, and the rest.
    """

    def __init__(self, folder: Path, about: str) -> None:
        self._cache = Cache(folder)
        self._most_file, self._rest_file = f"{about}.specs", f"{about}.rest.specs"
        self._most = _reads(self._cache.read(self._most_file))
        self._rest = _reads(self._cache.read(self._rest_file))
        self.is_known = bool(self._most or self._rest)

    def get(self, key: bytes) -> FileRead | None:
        return self._rest.get(key) or self._most.get(key)

    def keep(self, reads: Mapping[bytes, FileRead]) -> None:
        """Remember what the files of this run said. It is no fault when that cannot be written."""
        known = self._most.keys() | self._rest.keys()
        new = {key: told(read) for key, read in reads.items() if key not in known and is_lasting(read)}
        if not new:
            return
        rest = self._rest | new
        if len(rest) * 8 <= len(self._most):
            self._cache.write(self._rest_file, _written(rest))
            return
        everything = self._most | rest
        used = reads.keys() & everything.keys()
        spare = [key for key in everything if key not in used]
        for key in spare[: max(0, len(spare) - max(_SPARE, len(used)))]:
            del everything[key]
        self._cache.write(self._most_file, _written(everything))
        if self._rest:
            self._cache.write(self._rest_file, _written({}))


def _written(reads: Mapping[bytes, FileRead]) -> bytes:
    return msgspec.msgpack.encode(reads)


def _reads(data: memoryview | None) -> dict[bytes, FileRead]:
    if data is None:
        return {}
    try:
        return msgspec.msgpack.decode(data, type=dict[bytes, FileRead])
    except (msgspec.MsgspecError, ValueError, RecursionError):
        return {}


def is_lasting(read: FileRead) -> bool:
    """Whether a file says the same the next time, and nothing of its content is needed to say it."""
    plain = not any(spec.needs or spec.takes for spec in read.specs)
    return read.lasting and bool(read.specs) and not read.diagnostics and plain


def told(read: FileRead) -> FileRead:
    """What is remembered of it."""
    return replace(read, claims=[], specs=[_without_content(spec) for spec in read.specs])


def _without_content(spec: ReadSpec) -> ReadSpec:
    job = spec.job
    if not job.partial:
        head = {key: job.request[key] for key in _HEAD_OF_REQUEST if key in job.request}
        job = replace(job, request=head, partial=True)
    # Where the key stands is told of those that leave the version open.
    where = None if "pipeline_version" in job.request else spec.key_location
    return replace(spec, job=job, key_location=where)
