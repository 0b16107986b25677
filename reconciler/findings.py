"""A fault that jsonschema found → findings that teach: what is wrong, where in the value, what would be right.

Pure. A finding says its place as a route of keys and indices; who has the file turns it into a line and a column.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, TypeAlias

from reconciler.text import one_line

Route: TypeAlias = tuple[str | int, ...]
Fault: TypeAlias = Any
"""A `jsonschema.ValidationError`, whose attributes are typed as if they could be unset. They never are here."""

_NUMBER = re.compile(r"[-+]?[0-9]+(\.[0-9]*)?([eE][-+]?[0-9]+)?")
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
    """One fault in a value. `at_key`: it is the key at the end of `route` that is wrong, not its value.

    `names`: of an unknown field the known one that was meant, of a missing field the fields that would do.
    `detail`: where what is allowed is written down. `takes`: what is allowed, in words that tell nothing of the value.
    """

    route: Route
    code: str
    summary: str
    hint: str | None = None
    at_key: bool = False
    names: tuple[str, ...] = ()
    detail: str | None = None
    takes: str | None = field(default=None, compare=False)


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that `word` is most likely a slip of: nearly the same letters, or a part of just one of them."""
    words = {k.casefold(): k for k in known}
    if near := difflib.get_close_matches(word.casefold(), words, n=1, cutoff=0.65):
        return words[near[0]]
    within = [k for k in words if word.casefold() in re.split(r"[_.-]", k)]
    return words[within[0]] if len(within) == 1 else None


def did_you_mean(word: str, known: Iterable[str]) -> str | None:
    """A hint that names the known word nearest to `word`, or None."""
    near = nearest(word, known)
    return f"did you mean {near!r}?" if near is not None else None


def explain(error: Fault, base: Route) -> Iterator[Finding]:
    """The findings of one fault of a value that stands at `base`."""
    route = (*base, *error.absolute_path)
    if error.validator == "anyOf" and error.context:
        branches = _meant_branches(error)
        if len(branches) > 1 and (types := _types_only(branches)):
            yield from _type_fault(error.instance, types, route)
            return
        for below in max(branches, key=lambda b: max(len(e.path) for e in b)):
            yield from explain(below, base)
        return
    if _is_about_a_name(error):
        hint = f"it must match {error.validator_value}" if error.validator == "pattern" else None
        summary = f"the name {_shown(error.instance)} is not allowed{_inside(route)}"
        yield Finding((*route, error.instance), "invalid-value", summary, hint, at_key=True)
        return
    handler = _HANDLERS.get(str(error.validator))
    if handler is not None:
        yield from handler(error, route)
    else:
        yield Finding(route, "invalid-value", shorten(error.message))


def _is_about_a_name(error: Fault) -> bool:
    """Whether it is a key that is wrong: then `error.path` ends above it."""
    steps = ["", *error.absolute_schema_path]
    return any(b == "propertyNames" and a not in ("properties", "patternProperties") for a, b in pairwise(steps))


def _meant_branches(error: Fault) -> list[list[Fault]]:
    """The faults by alternative, without those of null: who wrote a value did not mean it."""
    branches: dict[Any, list[Fault]] = {}
    for below in error.context:
        branches.setdefault(below.schema_path[0], []).append(below)
    return [b for b in branches.values() if not any(_types(e) == ["null"] for e in b)] or list(branches.values())


def _types_only(branches: list[list[Fault]]) -> list[str]:
    """The types of alternatives that differ in nothing else, in their order."""
    faults = [fault for branch in branches for fault in branch]
    if not all(f.validator == "type" and not f.path for f in faults):
        return []
    return [name for fault in faults for name in _types(fault)]


def _types(error: Fault) -> list[str]:
    if error.validator != "type":
        return []
    return [error.validator_value] if isinstance(error.validator_value, str) else list(error.validator_value)


def _unknown_fields(error: Fault, route: Route) -> Iterator[Finding]:
    known = list(error.schema.get("properties", {}))
    patterns = list(error.schema.get("patternProperties", {}))
    for key, value in error.instance.items():
        if key not in known and not any(re.search(pattern, key) for pattern in patterns):
            hint, names = _what_was_meant(key, value, error.schema)
            allowed = ", ".join([*known, *patterns])
            hint = hint or (shorten(f"allowed: {allowed}", 400) if allowed else "no fields are allowed here")
            summary = f"unknown field {shorten(repr(key))}"
            yield Finding((*route, key), "unknown-field", summary, hint, at_key=True, names=names)


def _what_was_meant(key: str, value: Any, schema: Any) -> tuple[str | None, tuple[str, ...]]:
    """A hint for an unknown field, and the fields that are there in another way."""
    fields = schema.get("properties", {})
    if (near := nearest(key, fields)) is not None:
        return f"did you mean {near!r}?", (near,)
    for name, below in fields.items():
        if isinstance(below, dict) and key in below.get("properties", {}):
            return f"it is a field of {name!r}", ()
    inside = [v for v in (value if isinstance(value, list) else [value]) if isinstance(v, dict)]
    if there := tuple(name for name in fields if any(name in v for v in inside)):
        if isinstance(value, list):
            return "write each of its items by itself, divided by '---'", there
        return "what stands in it belongs one level up", there
    return None, ()


def _missing_fields(error: Fault, route: Route) -> Iterator[Finding]:
    for key in error.validator_value:
        if key not in error.instance:
            about = error.schema.get("properties", {}).get(key, {}).get("description")
            yield Finding(route, "missing-field", f"missing field {key!r}{_inside(route)}", about, names=(key,))


def _wrong_type(error: Fault, route: Route) -> Iterator[Finding]:
    yield from _type_fault(error.instance, _types(error), route, list(error.schema.get("properties", {})))


def _type_fault(value: Any, wanted: Sequence[str], route: Route, fields: Sequence[str] = ()) -> Iterator[Finding]:
    words = " or ".join(dict.fromkeys(_TYPE_WORDS.get(w, w) for w in wanted))
    hint = None
    if isinstance(value, str) and "boolean" in wanted:
        hint = "write true or false, without quotes"
    elif isinstance(value, str) and _NUMBER.fullmatch(value) and {"integer", "number"} & set(wanted):
        hint = "remove the quotes"
    elif isinstance(value, int | float) and "string" in wanted:
        hint = "put it in quotes"
    elif "array" in wanted:
        hint = "write it as a list, also when it is only one: [ … ]"
    elif "object" in wanted and route and route[-1] in fields:
        hint = f"{route[-1]!r} is a field one level further down"
    elif "object" in wanted and fields:
        hint = shorten("its fields: " + ", ".join(fields), 400)
    summary = f"{place(route)} must be {words}, not {_shown(value)}"
    yield Finding(route, "wrong-type", summary, hint, takes=f"it must be {words}")


def _not_allowed(error: Fault, route: Route) -> Iterator[Finding]:
    allowed = error.validator_value if error.validator == "enum" else [error.validator_value]
    texts = [v for v in allowed if isinstance(v, str)]
    near = did_you_mean(error.instance, texts) if isinstance(error.instance, str) else None
    listed = shorten("allowed: " + ", ".join(_shown(v) for v in allowed), 400)
    yield Finding(
        route,
        "not-allowed",
        f"{place(route)} cannot be {_shown(error.instance)}",
        f"{near} {listed}" if near else listed,
        takes=listed,
    )


def _one_of(error: Fault, route: Route) -> Iterator[Finding]:
    choices = [_single_required(branch) for branch in error.validator_value]
    if None in choices:
        yield Finding(route, "invalid-value", f"{place(route)} fits none, or several, of the allowed forms")
        return
    if not isinstance(error.instance, dict):
        return  # its wrong type is a finding of its own
    names = [str(c) for c in choices]
    given = [n for n in names if n in error.instance]
    listed = " or ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
    what = "has " + " and ".join(given) if given else "has none of them"
    code = "conflicting-fields" if given else "missing-field"
    hint = f"keep one of {', '.join(given)}" if given else None
    yield Finding(route, code, f"{place(route)} needs exactly one of {listed}; it {what}", hint, names=tuple(names))


def _single_required(branch: Any) -> str | None:
    """The field that an alternative asks for, when that is all it asks for."""
    if isinstance(branch, dict) and list(branch) == ["required"] and len(branch["required"]) == 1:
        return str(branch["required"][0])
    return None


_BOUNDS = {
    "minimum": "at least {0}",
    "maximum": "at most {0}",
    "exclusiveMinimum": "more than {0}",
    "exclusiveMaximum": "less than {0}",
    "minItems": "at least {0} items long",
    "maxItems": "at most {0} items long",
    "minLength": "at least {0} characters long",
    "maxLength": "at most {0} characters long",
    "minProperties": "at least {0} fields long",
    "maxProperties": "at most {0} fields long",
    "multipleOf": "a multiple of {0}",
}


def _out_of_bounds(error: Fault, route: Route) -> Iterator[Finding]:
    bound = _BOUNDS[str(error.validator)].format(error.validator_value)
    takes = f"it must be {bound}"
    if error.validator in ("minLength", "minItems", "minProperties") and not error.instance:
        yield Finding(route, "out-of-range", f"{place(route)} must not be empty", takes=takes)
    else:
        value = error.instance
        given = f"{len(value):,}" if isinstance(value, str | list | dict) else _shown(value)
        yield Finding(route, "out-of-range", f"{place(route)} must be {bound}, not {given}", takes=takes)


def _pattern(error: Fault, route: Route) -> Iterator[Finding]:
    unseen = next((c for c in error.instance if one_line(c) != c), None)
    examples = ", ".join(map(str, error.schema.get("examples") or ()))
    takes = f"for example {shorten(examples)}" if examples else f"it must match {error.validator_value}"
    if unseen is not None:
        summary, hint = f"{place(route)} has the invisible character U+{ord(unseen):04X}", "remove it"
    else:
        summary, hint = f"{place(route)} cannot be {_shown(error.instance)}", takes
    yield Finding(route, "invalid-value", summary, hint, takes=takes)


def _repeated(error: Fault, route: Route) -> Iterator[Finding]:
    """Points at each item that stands in the list already."""
    firsts: dict[str, int] = {}
    hint = "an item may stand in this list once"
    for index, item in enumerate(error.instance):
        first = firsts.setdefault(json.dumps(item, sort_keys=True), index)
        if first < index:
            summary = f"{place((*route, index))} is the same as {place((*route, first))}"
            yield Finding((*route, index), "invalid-value", summary, hint)
    if len(firsts) == len(error.instance):  # equal, but written differently, as 1 and 1.0
        yield Finding(route, "invalid-value", f"{place(route)} has the same item twice", hint)


def _refused(error: Fault, route: Route) -> Iterator[Finding]:
    values = error.validator_value.get("enum") if isinstance(error.validator_value, dict) else None
    hint = shorten("all but these are allowed: " + ", ".join(_shown(v) for v in values), 400) if values else None
    yield Finding(route, "not-allowed", f"{place(route)} cannot be {_shown(error.instance)}", hint)


def _needed_with(error: Fault, route: Route) -> Iterator[Finding]:
    for key, needed in error.validator_value.items():
        for name in needed if key in error.instance else ():
            if name not in error.instance:
                summary = f"missing field {name!r}{_inside(route)}, which goes with {key!r}"
                yield Finding(route, "missing-field", summary, names=(name,))


_HANDLERS = {
    "additionalProperties": _unknown_fields,
    "required": _missing_fields,
    "type": _wrong_type,
    "enum": _not_allowed,
    "const": _not_allowed,
    "oneOf": _one_of,
    "pattern": _pattern,
    "uniqueItems": _repeated,
    "not": _refused,
    "dependentRequired": _needed_with,
    **dict.fromkeys(_BOUNDS, _out_of_bounds),
}


def _inside(route: Route) -> str:
    return f" in {route_text(route)}" if route else ""


def place(route: Route) -> str:
    """A route in a sentence."""
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
    return shorten(json.dumps(value, ensure_ascii=False), 60)


def shorten(text: str, limit: int = 200) -> str:
    """`text` in at most `limit` characters."""
    return text if len(text) <= limit else text[: limit - 1] + "…"
