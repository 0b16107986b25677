"""The state file: read and checked, and replaced as a whole. Its lock and journal have modules of their own."""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import stat
import uuid
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from reconciler import __version__
from reconciler.cache import Cache
from reconciler.durable import make_folder, read_file, replace_file
from reconciler.errors import StateError
from reconciler.findings import route_text
from reconciler.job import State

VERSION = 1
_MARKERS = (b"<<<<<<<", b"=======", b">>>>>>>", b"|||||||")
_CONFLICT = re.compile(rb"^(<{7}|={7}|>{7}|\|{7})( |$)", re.MULTILINE)
_WAY_OUT = "restore it from git or a backup; nothing was changed"


def new_state(endpoint: str) -> State:
    """A state without history."""
    return State(lineage=str(uuid.uuid4()), endpoint=endpoint, searched=False)


def read_state(path: Path) -> State | None:
    """The state in `path`; None when there is no such file.

    Raises `StateError` for anything that is not a whole state of this version, naming the line where it can.
    """
    data = read_bytes(path)
    return None if data is None else parse_state(data, path)


def read_bytes(path: Path) -> bytes | None:
    """What `path` holds; None when there is no such file. Raises `StateError`."""
    try:
        return read_file(path)
    except OSError as error:
        hint = "give the file itself with --state, not a link to it" if path.is_symlink() else None
        raise StateError(f"the state {path} cannot be read: {error.strerror}", hint) from error


def look(data: bytes, path: Path, cache: Cache | None) -> State:
    """As `parse_state`, for those who only look. One that was found whole before, to the byte, is not checked again."""
    if cache is None:
        return parse_state(data, path)
    found_whole = f"{hashlib.sha256(data).hexdigest()}.{__version__}.state"
    if cache.has(found_whole):
        from reconciler.glance import glance

        return glance(data)
    state = parse_state(data, path)
    cache.write(found_whole, b"")
    return state


def refuse_foreign(path: Path) -> None:
    """Raises `StateError` for a file that is not ours to replace, or that everybody may change."""
    try:
        status = path.lstat()
    except OSError:
        return
    if status.st_uid != os.geteuid() and os.geteuid() != 0:
        message = f"{path} belongs to user {status.st_uid}, and this is user {os.geteuid()}"
        raise StateError(message, f"run as that user, or make it yours: sudo chown {os.geteuid()} {path}")
    if stat.S_ISREG(status.st_mode) and status.st_mode & stat.S_IWOTH:
        raise StateError(f"{path} can be changed by everybody on this machine", f"chmod 600 {path}")


def parse_state(data: bytes, path: Path | str) -> State:
    """The state whose bytes are `data`, as `read_state`; `path` is where people find it."""
    if not data.strip():
        raise StateError(f"the state {path} is empty", _WAY_OUT)
    if any(marker in data for marker in _MARKERS) and (conflict := _CONFLICT.search(data)):
        line = data.count(b"\n", 0, conflict.start()) + 1
        hint = "take one side whole, best the one with the higher serial; nothing was changed"
        raise StateError(f"{path}:{line}: the state has merge conflict markers", hint)
    try:
        raw = json.loads(data.decode(), object_pairs_hook=_no_duplicates, parse_constant=_not_json, parse_float=_finite)
        if rb"\ud" in data or rb"\uD" in data:  # half a surrogate pair can be read, but never written again
            json.dumps(raw, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise StateError(f"the state {path} holds text that is not Unicode", _WAY_OUT) from error
    except UnicodeDecodeError as error:
        raise StateError(f"the state {path} is not UTF-8 at byte {error.start}", _WAY_OUT) from error
    except json.JSONDecodeError as error:
        where = f"{path}:{error.lineno}:{error.colno}"
        raise StateError(f"{where}: the state is not whole JSON: {error.msg}", _WAY_OUT) from error
    except (ValueError, RecursionError) as error:
        raise StateError(f"the state {path} cannot be used: {error}", _WAY_OUT) from error
    version = raw.get("version") if isinstance(raw, dict) else None
    if type(version) is not int or version < 1:
        raise StateError(f"{path} is not a state file: it has no version", _WAY_OUT)
    if version > VERSION:
        message = f"the state {path} has version {version}; this reconciler knows {VERSION}"
        raise StateError(message, "upgrade reconciler; nothing was changed")
    try:
        return State.model_validate(raw)
    except ValidationError as error:
        first = error.errors(include_input=False, include_url=False)[0]
        message = f"the state {path} is damaged at {route_text(first['loc'])}: {first['msg']}"
        raise StateError(message, _WAY_OUT) from error


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    mapping = dict(pairs)
    if len(mapping) != len(pairs):
        keys = [k for k, _ in pairs]
        twice = next(k for k in keys if keys.count(k) > 1)
        raise ValueError(f"the key {twice!r} is there twice")
    return mapping


def _not_json(constant: str) -> float:
    raise ValueError(f"{constant} is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    return number if math.isfinite(number) else _not_json(text)


def dumps(state: State) -> bytes:
    """The bytes of the state file: pretty-printed, keys sorted, stable."""
    text = json.dumps(state.model_dump(mode="json"), indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return text.encode() + b"\n"


def save(path: Path, before: State | None, after: State) -> State:
    """Write `after` with the next serial, unless it says nothing new. Returns what the file now holds.

    Raises `StateError` when it cannot be written; then the file is as it was.
    """
    after = numbered(before, after)
    if after is not before:
        write_state(path, after)
    return after


def write_state(path: Path, state: State) -> None:
    """Put `state` in place of what `path` holds. Raises `StateError`; then the file is as it was."""
    try:
        make_folder(path.parent)
        replace_file(path, dumps(state))
    except OSError as error:
        raise StateError(f"the state {path} cannot be written: {error.strerror}", _hint(error)) from error


def numbered(before: State | None, after: State) -> State:
    """`after` with the serial that follows that of `before`; `before` itself when `after` says nothing new."""
    if before is None:
        return after
    if before == after.model_copy(update={"serial": before.serial}):
        return before
    return after.model_copy(update={"serial": before.serial + 1})


def _hint(error: OSError) -> str:
    if error.errno in (28, 122):  # ENOSPC, EDQUOT
        return "free some space, and run the command again: what was done is in the journal"
    return "make the folder writable, and run the command again: what was done is in the journal"
