"""A document as it is written → the specs that it stands for: one, or one for each cell of its matrix. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from reconciler.check import Checker, Finding, Route
from reconciler.expressions import Filling, Scopes
from reconciler.job import JsonObject
from reconciler.matrix import Cell, cells
from reconciler.spec import Matrix

_MATRIX: Route = ("reconcile", "matrix")


@dataclass(frozen=True, slots=True)
class Rendered:
    """A spec with its expressions filled in. `env`: variables of the environment that its parameters name."""

    value: JsonObject
    env: Mapping[str, Route]
    cell: Cell | None = None


class Renderer:
    """Renders documents with the same scopes. `policies` stand under each document's `reconcile`."""

    def __init__(self, scopes: Scopes, policies: Mapping[str, Any]) -> None:
        self._scopes = scopes
        self._policies = policies
        self._matrix = Checker(Matrix.model_json_schema, ours=True)

    def render(self, document: JsonObject, *, plain: bool = False) -> tuple[list[Rendered], list[Finding]]:
        """The specs of `document`, and what is wrong with its expressions and its matrix. Each finding comes once.

        `plain`: no expression is in it, so none is looked for.
        """
        policies = document.get("reconcile") or {}
        if self._policies and isinstance(policies, dict):
            document = {**document, "reconcile": {**self._policies, **policies}}
        if not isinstance(policies, dict) or "matrix" not in policies:
            if plain or not _mentions(document):
                return [Rendered(document, {})], []
            rendered, findings = self._filled(document, None)
            return [rendered], findings
        written = Filling(self._scopes)
        matrix = written.fill(policies["matrix"], _MATRIX)
        findings = [*written.findings, *_misplaced(written.env), *self._matrix.findings(matrix, _MATRIX)]
        made: list[Cell] = []
        if not findings:
            made, findings = cells(matrix)
        rest = {**document, "reconcile": {k: v for k, v in document["reconcile"].items() if k != "matrix"}}
        rendered_cells = []
        for cell in made:
            rendered, faults = self._filled(rest, cell)
            rendered_cells.append(rendered)
            findings += faults
        return rendered_cells, list(dict.fromkeys(findings)) or _same_names(rendered_cells)

    def _filled(self, document: JsonObject, cell: Cell | None) -> tuple[Rendered, list[Finding]]:
        filling = Filling({**self._scopes, "matrix": lambda: cell or {}})
        value = filling.fill(document)
        return Rendered(value, filling.env, cell), [*filling.findings, *_misplaced(filling.env)]


def _mentions(value: Any) -> bool:
    """Whether there is anything to fill in."""
    if isinstance(value, str):
        return "${{" in value
    if isinstance(value, dict):
        return any("${{" in key or _mentions(below) for key, below in value.items())
    return isinstance(value, list) and any(map(_mentions, value))


def _misplaced(env: Mapping[str, Route]) -> list[Finding]:
    """What the environment says may be secret: it is only sent to the platform, as a parameter."""
    hint = "it may be a secret, so it can stand in parameters only; for anything else there are vars"
    return [
        Finding(route, "misplaced-env", f"env.{name} cannot be used here", hint)
        for name, route in env.items()
        if route[:1] != ("parameters",)
    ]


def _same_names(rendered: list[Rendered]) -> list[Finding]:
    first: dict[str, Cell | None] = {}
    for spec in rendered:
        name = spec.value.get("name")
        if not isinstance(name, str):
            return []
        if name in first:
            keys = [k for k, v in (spec.cell or {}).items() if v != (first[name] or {}).get(k)]
            hint = "write " + " and ".join(f"${{{{ matrix.{key} }}}}" for key in keys) + " in it"
            summary = f"two cells of the matrix have the name {name!r}"
            return [Finding(("name",), "duplicate-name", summary, hint)]
        first[name] = spec.cell
    return []
