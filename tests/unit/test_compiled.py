"""The compiled schemas have the verdicts of jsonschema: what they take is valid."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from referencing import Registry

from reconciler.compiled import compiled
from reconciler.spec import Config, JobSpec, Matrix

ROOT = Path(__file__).parents[2]
SNAPSHOTS = [
    json.loads(path.read_bytes())["user_schema"] for path in sorted((ROOT / "schemas/pipelines").glob("*.json"))
]
OURS = [JobSpec.model_json_schema(), Config.model_json_schema(), Matrix.model_json_schema(), *SNAPSHOTS]

WORDS = ["a", "b", "", "ab", "a\n", "é", "e\u0301", "\U0001f600", "٣", "1", "\ud800", " ", "A", "-", "a-b"]
NUMBERS = [0, 1, -1, 2, 1.0, 0.0, -0.0, 1.5, 2**53 - 1, 1e300, 0.1, 3]
PATTERNS = [
    "^a",
    "a$",
    "^a$",
    "[ab]+",
    "^[^a]*$",
    r"\.",
    r"^(a|b){1,2}$",
    r"\d",
    r"(?i)a",
    "^[a-z-]$",
    "^.$",
]
values = st.recursive(
    st.sampled_from([*WORDS, *NUMBERS]) | st.none() | st.booleans(),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.sampled_from(WORDS), below, max_size=3),
    max_leaves=8,
)


def _schemas(below: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    many = st.lists(below, min_size=1, max_size=2)
    count = st.integers(0, 3)
    types = ["object", "array", "string", "integer", "number", "boolean", "null"]
    keywords: dict[str, st.SearchStrategy[Any]] = {
        "type": st.sampled_from(types) | st.lists(st.sampled_from(types), min_size=1, max_size=2, unique=True),
        "enum": st.lists(values, min_size=1, max_size=3),
        "const": values,
        "required": st.lists(st.sampled_from(WORDS), max_size=2, unique=True),
        "properties": st.dictionaries(st.sampled_from(WORDS), below, max_size=2),
        "patternProperties": st.dictionaries(st.sampled_from(PATTERNS), below, max_size=2),
        "additionalProperties": below,
        "propertyNames": below,
        "dependentRequired": st.dictionaries(st.sampled_from(WORDS), st.lists(st.sampled_from(WORDS), unique=True)),
        "items": below,
        "prefixItems": many,
        "contains": below,
        "uniqueItems": st.booleans(),
        "allOf": many,
        "anyOf": many,
        "oneOf": many,
        "not": below,
        "if": below,
        "then": below,
        "else": below,
        "pattern": st.sampled_from(PATTERNS),
        "multipleOf": st.sampled_from([1, 2, 0.1]),
        "format": st.just("date"),
        "$ref": st.sampled_from(["#", "#/$defs/one", "#/$defs/two", "https://example.com/x"]),
        **dict.fromkeys(("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"), st.sampled_from(NUMBERS)),
        **dict.fromkeys(("minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"), count),
    }
    keys = st.lists(st.sampled_from(sorted(keywords)), min_size=1, max_size=4, unique=True)
    return keys.flatmap(lambda chosen: st.fixed_dictionaries({key: keywords[key] for key in chosen}))


schemas: st.SearchStrategy[Any] = st.recursive(st.booleans() | st.just({}), _schemas, max_leaves=6).filter(
    lambda s: isinstance(s, dict)
)


def _is_valid(schema: Mapping[str, Any], value: Any) -> bool:
    return next(iter(Draft202012Validator(schema, registry=Registry()).iter_errors(value)), None) is None


@settings(max_examples=500)
@given(schemas, st.lists(values, min_size=1, max_size=6), schemas)
def test_what_a_compiled_schema_takes_is_valid(
    schema: dict[str, Any], given_values: list[Any], one: dict[str, Any]
) -> None:
    schema = {**schema, "$defs": {"one": one, "two": {"items": {"$ref": "#/$defs/one"}}}}
    takes = compiled(schema)
    if takes is None:
        return
    Draft202012Validator.check_schema(schema)
    for value in given_values:
        if takes(value):
            assert _is_valid(schema, value)


def test_our_schemas_and_the_snapshots_are_compiled() -> None:
    for schema in OURS:
        assert compiled(schema) is not None, schema.get("title", schema)


def _texts(schema: Any) -> set[str]:
    if isinstance(schema, dict):
        return {str(k) for k in schema} | {t for v in schema.values() for t in _texts(v)}
    return {t for v in schema for t in _texts(v)} if isinstance(schema, list) else {str(schema)}


@pytest.mark.parametrize("schema", OURS, ids=lambda s: s.get("title", "snapshot"))
def test_ours_have_the_same_verdict_both_ways(schema: dict[str, Any]) -> None:
    takes = compiled(schema)
    assert takes is not None
    words = sorted(_texts(schema) & set(_words(schema))) or ["a"]
    leaves = st.sampled_from([*words, "s3://x", "5m", "5m\n", "20%", "", 1, 2, 9, 16, 1.0, 1.5, True, None, 2**53 - 1])
    like = st.recursive(
        leaves,
        lambda below: st.lists(below, max_size=3) | st.dictionaries(st.sampled_from(words), below, max_size=5),
        max_leaves=20,
    )

    @settings(max_examples=60)
    @given(like)
    def same(value: Any) -> None:
        if takes(value):
            assert _is_valid(schema, value)
        elif not any("\n" in text for text in _texts(value)):
            assert not _is_valid(schema, value)

    same()


def _words(schema: Any) -> list[str]:
    """The names of fields, and the values, that a schema knows."""
    if isinstance(schema, dict):
        own = [*schema.get("properties", {}), *(v for v in schema.get("enum", []) if isinstance(v, str))]
        return own + [word for value in schema.values() for word in _words(value)]
    return [word for value in schema for word in _words(value)] if isinstance(schema, list) else []


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#"},
        {"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"},
        {"$defs": {"a": {"items": {"$ref": "#/$defs/a"}}}, "$ref": "#/$defs/a"},
        {"$ref": "https://example.com/schema"},
        {"$ref": "#/$defs/none"},
        {"$id": "https://example.com/schema"},
        {"$schema": "http://json-schema.org/draft-04/schema#", "minimum": 1, "exclusiveMinimum": True},
        {"pattern": "("},
        {"pattern": r"\d"},
        {"pattern": "(?=a)"},
        {"pattern": "a*+"},
        {"pattern": "[a&&b]"},
        {"pattern": "[a--b]"},
        {"pattern": "[[:alpha:]]"},
        {"not": {"pattern": "^a$"}},
        {"patternProperties": {"^a$": False}},
        {"multipleOf": 0.1},
        {"uniqueItems": True},
        {"unevaluatedProperties": False},
        {"type": "strin"},
        {"required": "a"},
        {"required": ["a", "a"]},
        {"minLength": -1},
        {"properties": []},
        {"title": 1},
        {"what": "is this"},
    ],
)
def test_what_is_not_certain_is_not_compiled(schema: dict[str, Any]) -> None:
    assert compiled(schema) is None
