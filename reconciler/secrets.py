"""What `${{ env.NAME }}` in parameters stands for: filled in when a job is submitted, hidden in all that comes back.

Nothing that is written or shown holds the value. That it changed is noticed by a digest, which is slow to guess from
and worthless in another state.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from reconciler.errors import PlanRefused
from reconciler.job import JsonObject

_PLACE = re.compile(r"\$\{\{ env\.([A-Za-z_][\w-]*) \}\}", re.ASCII)
_SHORTEST = 4  # characters of a value that is looked for inside of messages: "1" or "on" stands everywhere


def env_names(value: Any) -> set[str]:
    """The variables of the environment that `value` names."""
    return {name for text in _texts(value) for name in _PLACE.findall(text)}


@functools.lru_cache(maxsize=1000)
def digest(lineage: str, name: str, value: str) -> str:
    """What is recorded of a value: scrypt, salted with the state's lineage and the name."""
    salt = f"{lineage}\n{name}".encode()
    return (
        "scrypt:" + hashlib.scrypt(value.encode(errors="surrogateescape"), salt=salt, n=2**14, r=8, p=1, dklen=32).hex()
    )


def digests(lineage: str, names: Iterable[str], environment: Mapping[str, str]) -> dict[str, str]:
    """Those of the names that the environment has."""
    return {name: digest(lineage, name, environment[name]) for name in sorted(names) if name in environment}


@dataclass(frozen=True, slots=True)
class Secrets:
    """`templates`: requests that name the environment, by the name that their jobs have on the platform."""

    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    templates: Mapping[str, tuple[JsonObject, ...]] = field(default_factory=dict)

    def joined(self, other: Secrets) -> Secrets:
        """With the templates of both, and the environment of `other`."""
        names = self.templates.keys() | other.templates.keys()
        templates = {n: (*self.templates.get(n, ()), *other.templates.get(n, ())) for n in names}
        return Secrets(other.environment, templates)

    def fill(self, request: JsonObject) -> JsonObject:
        """`request` as it is sent. Raises `PlanRefused` when the environment has not what it names."""
        names = env_names(request)
        if missing := sorted(names - self.environment.keys()):
            hint = "set it where reconciler runs; nothing was submitted"
            raise PlanRefused(f"the environment has no {', '.join(missing)}, which the spec names", hint)
        filled: JsonObject = self._filled(request) if names else request
        return filled

    def _filled(self, value: Any) -> Any:
        if isinstance(value, str):
            return _PLACE.sub(lambda match: self.environment[match[1]], value)
        if isinstance(value, dict):
            return {key: self._filled(below) for key, below in value.items()}
        return [self._filled(below) for below in value] if isinstance(value, list) else value

    def hide(self, job: Any) -> Any:
        """A job object from the platform, with what its request names by name again; also values of earlier runs."""
        if not isinstance(job, dict) or not self.templates:
            return job
        hidden = dict(job)
        for template in self.templates.get(str(job.get("name")), ()):
            hidden["parameters"] = _hidden(hidden.get("parameters"), template.get("parameters"))
        if "error" in hidden:
            hidden["error"] = self._without_values(hidden["error"])
        return hidden

    def hide_text(self, text: str) -> str:
        """A message from the platform, without the values that are known."""
        for name in sorted({n for each in self.templates.values() for t in each for n in env_names(t)}):
            value = self.environment.get(name, "")
            if len(value) >= _SHORTEST:
                for written in (value, json.dumps(value)[1:-1]):
                    text = text.replace(written, f"${{{{ env.{name} }}}}")
        return text

    def _without_values(self, value: Any) -> Any:
        if isinstance(value, str):
            return self.hide_text(value)
        if isinstance(value, dict):
            return {key: self._without_values(below) for key, below in value.items()}
        return [self._without_values(below) for below in value] if isinstance(value, list) else value


def _hidden(value: Any, template: Any) -> Any:
    """`value` with the texts of `template` that name the environment, where it has something in their place."""
    if isinstance(template, str) and isinstance(value, str) and _PLACE.search(template):
        return template
    if isinstance(value, dict) and isinstance(template, dict):
        return {key: _hidden(below, template.get(key)) for key, below in value.items()}
    if isinstance(value, list) and isinstance(template, list):
        rest = template + [None] * max(0, len(value) - len(template))
        return [_hidden(*pair) for pair in zip(value, rest, strict=False)]
    return value


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for below in value.values():
            yield from _texts(below)
    elif isinstance(value, list):
        for below in value:
            yield from _texts(below)
