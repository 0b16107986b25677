"""`${{ vars.x }}` and its like in specs → values. Pure, and no language: a name is looked up, nothing is computed.

An expression that stands alone keeps the type of its value; one inside of text becomes text. `env` is not looked up:
what it stands for may be a secret, so it stays as it is written until the job is submitted.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from reconciler.check import Finding, Route, did_you_mean, nearest

Scopes: TypeAlias = Mapping[str, Callable[[], Mapping[str, Any]]]
"""What can be looked up, by the first part of a name. A scope is asked for when it is first needed."""

FILLED_LIMIT = 4 << 20
"""Characters that the expressions of one document may come to."""

_EXPRESSION = re.compile(r"\$\{\{((?:(?!\}\}|\$\{\{).)*)\}\}|\$\{\{", re.DOTALL)
_NAME = re.compile(r"\s*([A-Za-z_]\w*(?:\.[A-Za-z_][\w-]*)+)\s*", re.ASCII)
_PLACES = {
    "vars": "vars stand in reconciler.yaml",
    "matrix": "the keys of reconcile.matrix in this spec",
    "git": "in a git repository with a commit: git.commit, git.branch",
}


@dataclass(slots=True)
class Filling:
    """Fills in one document. `findings` has what could not be, `env` the variables of the environment that it names."""

    scopes: Scopes
    findings: list[Finding] = field(default_factory=list)
    env: dict[str, Route] = field(default_factory=dict)
    _room: int = FILLED_LIMIT

    def fill(self, value: Any, route: Route = ()) -> Any:
        """`value` with its expressions filled in; `route` is where it stands. Keys are left as they are."""
        if isinstance(value, str):
            return self._text(value, route) if "${{" in value else value
        if isinstance(value, dict):
            return {self._key(key, route): self.fill(below, (*route, key)) for key, below in value.items()}
        if isinstance(value, list):
            return [self.fill(below, (*route, index)) for index, below in enumerate(value)]
        return value

    def _key(self, key: str, route: Route) -> str:
        if "${{" in key:
            fault = Finding((*route, key), "bad-expression", "expressions stand in values, not in keys", at_key=True)
            self.findings.append(fault)
        return key

    def _text(self, text: str, route: Route) -> Any:
        if (alone := _EXPRESSION.fullmatch(text.strip())) and alone[1] is not None:
            return self._looked_up(alone, route)
        return _EXPRESSION.sub(lambda match: self._inside(match, route), text)

    def _inside(self, match: re.Match[str], route: Route) -> str:
        value: Any = self._looked_up(match, route)
        if isinstance(value, str):
            return value
        if value is None or isinstance(value, dict | list):
            kind = "empty" if value is None else "a list" if isinstance(value, list) else "a mapping"
            hint = "only text, numbers, true and false can; alone in a value it keeps its type"
            self._fault(route, "bad-expression", f"{match[0]} is {kind} and cannot stand inside of text", hint)
            return ""
        return json.dumps(value)

    def _looked_up(self, match: re.Match[str], route: Route) -> Any:
        named = _NAME.fullmatch(match[1] or "")
        if named is None:
            hint = "write ${{ scope.name }}; scopes: " + ", ".join([*self.scopes, "env"])
            self._fault(route, "bad-expression", f"{_short(match.string[match.start() :])} is not an expression", hint)
            return match[0]
        scope, *names = named[1].split(".")
        if scope == "env" and len(names) == 1:
            self.env.setdefault(names[0], route)
            return f"${{{{ env.{names[0]} }}}}"
        if scope not in self.scopes:
            known = [*self.scopes, "env"]
            near = nearest(scope, known)
            hint = f"did you mean {'.'.join([near, *names])!r}?" if near else "scopes: " + ", ".join(known)
            if near == "env" and len(names) > 1:
                hint = "write ${{ env.NAME }}: a variable of the environment has no parts"
            return self._unknown(match, route, hint)
        value: Any = self.scopes[scope]()
        for name in names:
            if not isinstance(value, Mapping) or name not in value:
                known = [*map(str, value)] if isinstance(value, Mapping) else []
                return self._unknown(match, route, did_you_mean(name, known) or _PLACES.get(scope))
            value = value[name]
        self._room -= sum(_sizes(value))
        if self._room >= 0:
            return value
        if not any(f.code == "too-large" for f in self.findings):
            self._fault(route, "too-large", f"expressions come to more than {FILLED_LIMIT >> 20} Mi characters")
        return ""

    def _unknown(self, match: re.Match[str], route: Route, hint: str | None) -> str:
        self._fault(route, "unknown-name", f"there is nothing called {match[1].strip()!r}", hint)
        return match[0]

    def _fault(self, route: Route, code: str, summary: str, hint: str | None = None) -> None:
        self.findings.append(Finding(route, code, summary, hint))


def _sizes(value: Any) -> Iterator[int]:
    if isinstance(value, dict):
        for key, below in value.items():
            yield len(key)
            yield from _sizes(below)
    elif isinstance(value, list):
        for below in value:
            yield from _sizes(below)
    else:
        yield len(value) if isinstance(value, str) else 8


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:39] + "…")
