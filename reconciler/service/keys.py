"""Who may ask: API keys, each of an organisation. What one organisation has, the others do not see."""

from __future__ import annotations

import hmac
import re
import stat
from collections.abc import Callable, Mapping
from pathlib import Path

from reconciler.service.errors import ServiceError

SHORTEST = 16  # characters; what a person sets for others to reach must not be guessable
_LINE = re.compile(r"(?P<name>[A-Za-z0-9][A-Za-z0-9._-]{0,63})\s*:\s*(?P<key>[\x21-\x7e]+)")


class Keys:
    """The keys that open the service."""

    def __init__(self, organisations: Mapping[str, str]) -> None:
        """`organisations` maps each key to the id of its organisation."""
        self._known = [(key.encode(), org_id) for key, org_id in organisations.items()]

    def organisation(self, given: str) -> str | None:
        """The organisation whose key was given. Takes as long for a wrong key as for a right one."""
        found = None
        for key, org_id in self._known:
            if hmac.compare_digest(given.encode("latin-1", "replace"), key):
                found = org_id
        return found


def read_keys(path: Path, organisation_id: Callable[[str], str]) -> dict[str, str]:
    """Key → organisation id, from a file of lines `NAME: KEY`. Raises `ServiceError` with the lines that are wrong."""
    try:
        if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise ServiceError(f"others may read the keys in {path}", f"chmod 600 {path}")
        lines = path.read_text("ascii").splitlines()
    except OSError as error:
        raise ServiceError(f"{path} cannot be read: {error.strerror}", "name a file of lines 'NAME: KEY'") from error
    except UnicodeDecodeError as error:
        raise ServiceError(f"{path} holds more than ASCII", "write lines 'NAME: KEY' in ASCII") from error
    names: dict[str, str] = {}
    faults = []
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        match = _LINE.fullmatch(line.strip())
        if not match or len(match["key"]) < SHORTEST:
            faults.append(f"{path}:{number}: this is no name and key")
        elif match["key"] in names:
            faults.append(f"{path}:{number}: this key stands in the file already")
        else:
            names[match["key"]] = match["name"]
    if faults:
        hint = f"write NAME: KEY, each key once; a key has at least {SHORTEST} characters and no spaces"
        raise ServiceError("the keys cannot be used", hint, faults)
    if not names:
        raise ServiceError(f"{path} holds no key", "write lines 'NAME: KEY'")
    return {key: organisation_id(name) for key, name in names.items()}
