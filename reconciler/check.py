"""A value against a JSON Schema → every finding. Pure: nothing that a schema refers to is ever fetched."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError
from referencing import Registry
from referencing.exceptions import Unresolvable

from reconciler.findings import Finding, Route, did_you_mean, explain, nearest, place, route_text, shorten


class Checker:
    """A compiled schema. Build it once, use it for many values.

    Raises `jsonschema.SchemaError` when `schema` is not a valid draft 2020-12 schema. One that our own models made
    (`ours`) is: checking it again takes longer than checking a specs folder with it.
    """

    def __init__(self, schema: Mapping[str, Any], *, ours: bool = False) -> None:
        if not ours:
            Draft202012Validator.check_schema(schema)
        # A registry of its own, empty: otherwise a `$ref` to elsewhere would be fetched, or read from the disk.
        self._validator = Draft202012Validator(schema, registry=Registry())

    def findings(self, value: Any, route: Route = ()) -> list[Finding]:
        """Every fault of `value`, which stands at `route`, in a stable order."""
        try:
            found = [f for error in self._validator.iter_errors(value) for f in explain(error, route)]
        except (Unresolvable, RecursionError) as error:
            reason = "it refers to itself without end" if isinstance(error, RecursionError) else shorten(str(error))
            return [Finding(route, "bad-schema", f"{place(route)} cannot be checked by its schema: {reason}")]
        return sorted(_without_echoes(set(found)), key=lambda f: ([str(s) for s in f.route], f.code, f.summary))


def _without_echoes(findings: Iterable[Finding]) -> list[Finding]:
    """`findings` without what is missing only because it stands there misspelt: that is one fault, not two."""
    found = list(findings)
    meant = {(f.route[:-1], name) for f in found if f.code == "unknown-field" for name in f.names}
    return [f for f in found if f.code != "missing-field" or not any((f.route, name) in meant for name in f.names)]


__all__ = ["Checker", "Finding", "Route", "SchemaError", "did_you_mean", "nearest", "route_text"]
