"""`reconcile.matrix` → the cells of a grid, one job each. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import rfc8785

from reconciler.check import Finding, Route, did_you_mean
from reconciler.job import JsonObject

CELL_LIMIT = 10_000
"""Jobs that one spec can make."""

Cell: TypeAlias = JsonObject
_PLACE: Route = ("reconcile", "matrix")
_LISTS = ("include", "exclude")


def cells(matrix: Mapping[str, Any]) -> tuple[list[Cell], list[Finding]]:
    """Every combination of the lists, less `exclude`, and then `include`; in the order in which they are written.

    `matrix` fits its schema: `include` and `exclude` are lists of mappings, everything else is a list of values.
    """
    axes = {key: values for key, values in matrix.items() if key not in _LISTS}
    findings = _repeated(axes)
    count = 1
    for values in axes.values():
        count *= len(values)
    if count > CELL_LIMIT:
        summary = f"the matrix has {count:,} cells, and a spec makes at most {CELL_LIMIT:,} jobs"
        return [], [*findings, Finding(_PLACE, "too-large", summary, "split it into several specs")]
    made = [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())] if axes else []
    made, unused = _without(made, matrix.get("exclude") or [], axes)
    added, unfit = _added(made, matrix.get("include") or [], axes)
    findings += unused + unfit
    if not made and not added and not findings:
        findings.append(Finding(_PLACE, "empty-matrix", "the matrix has no cell", "give each key at least one value"))
    return [*made, *added], findings


def _repeated(axes: Mapping[str, Sequence[Any]]) -> list[Finding]:
    findings = []
    for key, values in axes.items():
        seen: set[bytes] = set()
        for index, value in enumerate(values):
            if (same := rfc8785.dumps(value)) in seen:
                findings.append(Finding((*_PLACE, key, index), "repeated-value", f"{key!r} has this value already"))
            seen.add(same)
    return findings


def _without(
    made: list[Cell], excluded: Sequence[Cell], axes: Mapping[str, Sequence[Any]]
) -> tuple[list[Cell], list[Finding]]:
    findings = []
    for index, entry in enumerate(excluded):
        place = (*_PLACE, "exclude", index)
        if unknown := [key for key in entry if key not in axes]:
            hint = did_you_mean(unknown[0], axes) or "keys: " + ", ".join(axes)
            summary = f"the matrix has no key {unknown[0]!r}"
            findings.append(Finding((*place, unknown[0]), "unknown-field", summary, hint, at_key=True))
            continue
        left = [cell for cell in made if not entry or not _fits(cell, entry)]
        if len(left) == len(made):
            findings.append(Finding(place, "unused-exclude", "no cell of the matrix is like this", "remove it"))
        made = left
    return made, findings


def _added(
    made: Sequence[Cell], included: Sequence[Cell], axes: Mapping[str, Sequence[Any]]
) -> tuple[list[Cell], list[Finding]]:
    """An added cell has the keys of the matrix; where it has none of its own, those of the first that is added."""
    findings: list[Finding] = []
    added: list[Cell] = []
    keys = set(axes or (included[0] if included else ()))
    seen = {rfc8785.dumps(cell) for cell in made}
    for index, entry in enumerate(included):
        place = (*_PLACE, "include", index)
        if odd := sorted(keys ^ entry.keys()):
            summary = f"an added cell has the keys {', '.join(sorted(keys))}; {odd[0]!r} is {_odd(odd[0], entry)}"
            findings.append(Finding(place, "unlike-matrix", summary))
        elif (same := rfc8785.dumps(entry)) in seen:
            findings.append(Finding(place, "repeated-value", "the matrix has this cell already", "remove it"))
        else:
            seen.add(same)
            added.append(dict(entry))
    return added, findings


def _odd(key: str, entry: Cell) -> str:
    return "not one of them" if key in entry else "missing"


def _fits(cell: Cell, entry: Cell) -> bool:
    return all(rfc8785.dumps(cell[key]) == rfc8785.dumps(value) for key, value in entry.items())
