"""JSON Schemas compiled by `jsonschema-rs`, as far as it certainly has the verdict of `jsonschema`. Pure.

It is a hundred times faster, and says of most values that they are valid; of the others `jsonschema` finds what is
wrong. Its regular expressions are not Python's, and it ends in a stack overflow where a schema refers to itself: so
only schemas are compiled that use nothing but what is listed here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

Verdict: TypeAlias = Callable[[Any], bool]

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_NOTES = frozenset("$schema $defs $comment title description default examples deprecated readOnly writeOnly".split())
_VALUES = frozenset(
    "type enum const required dependentRequired minimum maximum exclusiveMinimum exclusiveMaximum minLength maxLength "
    "minItems maxItems minProperties maxProperties".split()
)
_BELOW = frozenset("items additionalProperties then else propertyNames not if contains".split())
_LISTS = frozenset("allOf anyOf oneOf prefixItems".split())
_NAMED = frozenset("properties patternProperties dependentSchemas".split())
_TURNING = frozenset("not if contains oneOf".split())
"""What can make a value valid because a schema below does not fit."""
# What both kinds of regular expressions read alike, with a `$` that Python also lets stand before a last line break.
_ESCAPE = r"\\x[0-9a-fA-F]{2}|\\u[0-9a-fA-F]{4}|\\[^A-Za-z0-9\s]"
_PLAIN = r"[^\\\[\]{}()*+?|^$.]"
_CLASS = rf"\[\^?(?:{_ESCAPE}|[^\\\[\]&~-]|-(?!-))+\]"
_PATTERN = re.compile(
    rf"(?:(?:{_ESCAPE}|{_PLAIN}|{_CLASS}|\.)(?:[*+?]|\{{[0-9]{{1,3}}(?:,[0-9]{{0,3}})?\}})?(?![*+?{{])"
    r"|[\^$|]|\((?!\?)|\)(?:[*+?]|\{[0-9]{1,2}\})?(?![*+?{]))*"
)


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a schema stands: in which whole one, behind which references, and whether that it fits can be a fault."""

    whole: Mapping[str, Any]
    behind: frozenset[str] = frozenset()
    turned: bool = False


def compiled(schema: Mapping[str, Any]) -> Verdict | None:
    """A function that says of a value that `schema` takes it, or that it is to be looked at. None where that is not
    certain, also for a schema that is none.
    """
    import jsonschema_rs

    try:
        if not _is_known(schema, _Place(schema)) or not jsonschema_rs.meta.is_valid(dict(schema)):
            return None
        validator = jsonschema_rs.Draft202012Validator(dict(schema), validate_formats=False)
    except (ValueError, TypeError, RecursionError):
        return None

    def takes(value: Any) -> bool:
        try:
            return validator.is_valid(value)
        except (ValueError, TypeError, RecursionError):
            return False

    return takes


def _is_known(schema: Any, place: _Place) -> bool:
    if isinstance(schema, bool):
        return True
    if not isinstance(schema, dict) or schema.get("$schema", DIALECT) != DIALECT:
        return False
    return all(_is_keyword_known(key, value, schema, place) for key, value in schema.items())


def _is_keyword_known(key: str, value: Any, schema: Mapping[str, Any], place: _Place) -> bool:
    if key in _NOTES or key in _VALUES:
        return True  # the definitions are looked at where they are referred to
    below = replace(place, turned=place.turned or key in _TURNING)
    if key in _BELOW:
        return _is_known(value, below)
    if key in _LISTS:
        return isinstance(value, list) and all(_is_known(each, below) for each in value)
    if key in _NAMED:
        # A name that Python's expression fits and the other does not must be a fault.
        closed = key != "patternProperties" or schema.get("additionalProperties") is False
        names = key != "patternProperties" or (isinstance(value, dict) and all(_is_plain(n, place) for n in value))
        return closed and names and isinstance(value, dict) and all(_is_known(each, below) for each in value.values())
    if key == "pattern":
        return _is_plain(value, place)
    if key == "uniqueItems":  # of numbers and booleans the two may think differently
        items = schema.get("items")
        return isinstance(items, dict) and items.get("type") == "string"
    return key == "$ref" and _is_reference_known(value, place)


def _is_plain(pattern: Any, place: _Place) -> bool:
    """Whether a regular expression means the same to both; but for a last line break, which must only be refused."""
    if place.turned or not isinstance(pattern, str) or not _PATTERN.fullmatch(pattern):
        return False
    try:
        re.compile(pattern)
    except re.error:
        return False
    return True


def _is_reference_known(reference: Any, place: _Place) -> bool:
    """Only to a definition of the same schema, and never back to where it came from."""
    prefix = "#/$defs/"
    if not isinstance(reference, str) or not reference.startswith(prefix) or reference in place.behind:
        return False
    name = reference.removeprefix(prefix)
    definitions = place.whole.get("$defs")
    if not name.isidentifier() or not name.isascii() or not isinstance(definitions, dict) or name not in definitions:
        return False
    return _is_known(definitions[name], replace(place, behind=place.behind | {reference}))
