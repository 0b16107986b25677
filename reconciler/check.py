"""A value against a JSON Schema → every finding. Pure: nothing that a schema refers to is ever fetched.

Most values are valid, and that is found out by a compiled schema. What is wrong with the others `jsonschema` says: it
is imported when there are some.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from reconciler.compiled import compiled
from reconciler.findings import Finding, Route, did_you_mean, explain, nearest, place, route_text, shorten


class SchemaError(ValueError):
    """A schema that is not a valid one of draft 2020-12. `route`: where in it the fault is."""

    def __init__(self, message: str, route: Route) -> None:
        super().__init__(message)
        self.message = message
        self.route = route


class _Validator(Protocol):
    def iter_errors(self, instance: Any) -> Iterable[Any]: ...


class Checker:
    """A compiled schema. Build it once, use it for many values.

    `schema` may be a function that makes it, when it is needed. Raises `SchemaError` when it is not a valid draft
    2020-12 schema. One that our own models made (`ours`) is: checking it again takes longer than checking a specs
    folder with it.
    """

    def __init__(self, schema: Mapping[str, Any] | Callable[[], Mapping[str, Any]], *, ours: bool = False) -> None:
        self._schema = schema
        if not ours and self._takes is None:
            _check_schema(self._whole)

    def findings(self, value: Any, route: Route = ()) -> list[Finding]:
        """Every fault of `value`, which stands at `route`, in a stable order."""
        if self._takes is not None and self._takes(value):
            return []
        from referencing.exceptions import Unresolvable

        try:
            found = [f for error in self._validator.iter_errors(value) for f in explain(error, route)]
        except (Unresolvable, RecursionError) as error:
            reason = "it refers to itself without end" if isinstance(error, RecursionError) else shorten(str(error))
            return [Finding(route, "bad-schema", f"{place(route)} cannot be checked by its schema: {reason}")]
        return sorted(_without_echoes(set(found)), key=lambda f: ([str(s) for s in f.route], f.code, f.summary))

    @functools.cached_property
    def _whole(self) -> Mapping[str, Any]:
        return self._schema() if callable(self._schema) else self._schema

    @functools.cached_property
    def _takes(self) -> Callable[[Any], bool] | None:
        return compiled(self._whole)

    @functools.cached_property
    def _validator(self) -> _Validator:
        from jsonschema import Draft202012Validator
        from referencing import Registry

        # A registry of its own, empty: otherwise a `$ref` to elsewhere would be fetched, or read from the disk.
        return Draft202012Validator(self._whole, registry=Registry())


def _check_schema(schema: Mapping[str, Any]) -> None:
    from jsonschema import Draft202012Validator, exceptions

    try:
        Draft202012Validator.check_schema(schema)
    except exceptions.SchemaError as error:
        raise SchemaError(error.message, tuple(error.absolute_path)) from error


def _without_echoes(findings: Iterable[Finding]) -> list[Finding]:
    """`findings` without what is missing only because it stands there misspelt: that is one fault, not two."""
    found = list(findings)
    meant = {(f.route[:-1], name) for f in found if f.code == "unknown-field" for name in f.names}
    return [f for f in found if f.code != "missing-field" or not any((f.route, name) in meant for name in f.names)]


__all__ = ["Checker", "Finding", "Route", "SchemaError", "did_you_mean", "nearest", "route_text"]
