"""A value against a JSON Schema → findings that teach: what is wrong, where in the value, what would be right.

Pure. A finding says its place as a route of keys and indices; who has the file turns it into a line and a column.
"""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError

Route: TypeAlias = tuple[str | int, ...]
Fault: TypeAlias = Any
"""A `jsonschema.ValidationError`, whose attributes are typed as if they could be unset. They never are here."""

_TYPE_WORDS = {
    "object": "a mapping",
    "array": "a list",
    "string": "a string",
    "integer": "an integer",
    "number": "a number",
    "boolean": "true or false",
    "null": "null",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One fault in a value. `at_key`: it is the key at the end of `route` that is wrong, not its value."""

    route: Route
    code: str
    summary: str
    hint: str | None = None
    at_key: bool = False


class Checker:
    """A compiled schema. Build it once, use it for many values.

    Raises `jsonschema.SchemaError` when `schema` is not a valid draft 2020-12 schema.
    """

    def __init__(self, schema: Mapping[str, Any]) -> None:
        Draft202012Validator.check_schema(schema)
        self._validator = Draft202012Validator(schema)

    def findings(self, value: Any, route: Route = ()) -> list[Finding]:
        """Every fault of `value`, which stands at `route`, in a stable order."""
        found = [f for error in self._validator.iter_errors(value) for f in _explain(error, route)]
        return sorted(set(found), key=lambda f: ([str(s) for s in f.route], f.code, f.summary))


def did_you_mean(word: str, known: Iterable[str]) -> str | None:
    """A hint that names the known word nearest to `word`, or None."""
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f"did you mean {near[0]!r}?" if near else None


def _explain(error: Fault, base: Route) -> Iterator[Finding]:
    route = (*base, *error.absolute_path)
    if error.validator == "anyOf" and error.context:
        branch = _nearest_branch(error)
        for below in branch:
            yield from _explain(below, base)
        return
    handler = _HANDLERS.get(str(error.validator))
    if handler is not None:
        yield from handler(error, route)
    else:
        yield Finding(route, "invalid-value", _shorten(error.message))


def _nearest_branch(error: Fault) -> list[Fault]:
    """The faults of the alternative that the writer most likely meant: not null, and matched the deepest."""
    branches: dict[Any, list[Fault]] = {}
    for below in error.context or []:
        branches.setdefault(below.schema_path[0], []).append(below)
    meant = [b for b in branches.values() if not any(e.validator == "type" and e.validator_value == "null" for e in b)]
    return max(meant or list(branches.values()), key=lambda b: max(len(e.path) for e in b))


def _unknown_fields(error: Fault, route: Route) -> Iterator[Finding]:
    known = list(error.schema.get("properties", {}))
    for key in error.instance:
        if key not in known:
            allowed = "allowed: " + ", ".join(known) if known else "no fields are allowed here"
            hint = did_you_mean(key, known) or allowed
            yield Finding((*route, key), "unknown-field", f"unknown field {key!r}", hint, at_key=True)


def _missing_fields(error: Fault, route: Route) -> Iterator[Finding]:
    for key in error.validator_value:
        if key not in error.instance:
            about = error.schema.get("properties", {}).get(key, {}).get("description")
            yield Finding(route, "missing-field", f"missing field {key!r}", about)


def _wrong_type(error: Fault, route: Route) -> Iterator[Finding]:
    wanted = error.validator_value
    words = " or ".join(_TYPE_WORDS.get(w, w) for w in ([wanted] if isinstance(wanted, str) else wanted))
    got = _shown(error.instance)
    hint = None
    if isinstance(error.instance, str) and wanted in ("integer", "number", "boolean"):
        hint = "remove the quotes" if wanted != "boolean" else "write true or false, without quotes"
    elif wanted == "string" and isinstance(error.instance, int | float):
        hint = "put it in quotes"
    yield Finding(route, "wrong-type", f"{_place(route)} must be {words}, not {got}", hint)


def _not_allowed(error: Fault, route: Route) -> Iterator[Finding]:
    allowed = error.validator_value if error.validator == "enum" else [error.validator_value]
    texts = [v for v in allowed if isinstance(v, str)]
    near = did_you_mean(error.instance, texts) if isinstance(error.instance, str) else None
    listed = "allowed: " + ", ".join(_shown(v) for v in allowed)
    yield Finding(
        route,
        "not-allowed",
        f"{_place(route)} cannot be {_shown(error.instance)}",
        f"{near} {listed}" if near else listed,
    )


def _one_of(error: Fault, route: Route) -> Iterator[Finding]:
    choices = [b["required"][0] for b in error.validator_value if list(b) == ["required"]]
    if not choices:
        yield Finding(route, "invalid-value", f"{_place(route)} fits none, or several, of the allowed forms")
        return
    given = [c for c in choices if c in error.instance]
    listed = ", ".join(choices[:-1]) + " or " + choices[-1]
    what = "has " + " and ".join(given) if given else "has none of them"
    code = "conflicting-fields" if given else "missing-field"
    yield Finding(route, code, f"{_place(route)} needs exactly one of {listed}; it {what}")


_BOUNDS = {
    "minimum": "at least {0}",
    "maximum": "at most {0}",
    "exclusiveMinimum": "more than {0}",
    "exclusiveMaximum": "less than {0}",
    "minItems": "at least {0} items long",
    "maxItems": "at most {0} items long",
    "minLength": "at least {0} characters long",
    "maxLength": "at most {0} characters long",
    "multipleOf": "a multiple of {0}",
}


def _out_of_bounds(error: Fault, route: Route) -> Iterator[Finding]:
    bound = _BOUNDS[str(error.validator)].format(error.validator_value)
    if error.validator in ("minLength", "minItems") and not error.instance:
        yield Finding(route, "out-of-range", f"{_place(route)} must not be empty")
    else:
        yield Finding(route, "out-of-range", f"{_place(route)} must be {bound}, not {_shown(error.instance)}")


def _pattern(error: Fault, route: Route) -> Iterator[Finding]:
    yield Finding(
        route,
        "invalid-value",
        f"{_place(route)} {_shown(error.instance)} has characters that are not allowed",
        f"it must match {error.validator_value}",
    )


_HANDLERS = {
    "additionalProperties": _unknown_fields,
    "required": _missing_fields,
    "type": _wrong_type,
    "enum": _not_allowed,
    "const": _not_allowed,
    "oneOf": _one_of,
    "pattern": _pattern,
    **dict.fromkeys(_BOUNDS, _out_of_bounds),
}


def _place(route: Route) -> str:
    return f"{route_text(route)}" if route else "the document"


def route_text(route: Route) -> str:
    """A route as people write it: `parameters.worker.config`, `inputs["worker.data"][0]`."""
    text = ""
    for step in route:
        if isinstance(step, int):
            text += f"[{step}]"
        elif step.replace("_", "").replace("-", "").isalnum():
            text += f".{step}" if text else step
        else:
            text += f"[{json.dumps(step, ensure_ascii=False)}]"
    return text


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return "a mapping" if value else "an empty mapping"
    if isinstance(value, list):
        return "a list" if value else "an empty list"
    return _shorten(json.dumps(value, ensure_ascii=False), 60)


def _shorten(text: str, limit: int = 200) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"


__all__ = ["Checker", "Finding", "Route", "SchemaError", "did_you_mean", "route_text"]
