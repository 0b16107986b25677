"""Faults against a schema are said so that a reader knows what to write instead."""

from __future__ import annotations

from typing import Any

import pytest

from reconciler.check import Checker, SchemaError, did_you_mean, route_text


def only(schema: dict[str, Any], value: Any) -> tuple[str, str, str | None]:
    (finding,) = Checker(schema).findings(value)
    return finding.code, finding.summary, finding.hint


def of(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "additionalProperties": False}


@pytest.mark.parametrize(
    ("schema", "value", "code", "words"),
    [
        (of(model={}), {"modle": 1}, "unknown-field", "did you mean 'model'?"),
        (of(model={}, key={}), {"zzz": 1}, "unknown-field", "allowed: model, key"),
        (of(), {"a": 1}, "unknown-field", "no fields are allowed here"),
        ({"required": ["a"], "properties": {"a": {"description": "An a."}}}, {}, "missing-field", "An a."),
        (of(n={"type": "integer"}), {"n": "12"}, "wrong-type", "remove the quotes"),
        (of(n={"type": "boolean"}), {"n": "yes"}, "wrong-type", "true or false"),
        (of(s={"type": "string"}), {"s": 1.5}, "wrong-type", "put it in quotes"),
        (of(s={"type": ["string", "null"]}), {"s": 5}, "wrong-type", "a string or null, not 5"),
        (of(s={"anyOf": [{"type": "string"}, {"type": "array"}]}), {"s": 1}, "wrong-type", "a string or a list"),
        (of(s={"anyOf": [{"type": "string"}, {"type": "null"}]}), {"s": []}, "wrong-type", "be a string, not"),
        (of(k={"enum": ["red", "green"]}), {"k": "gren"}, "not-allowed", "did you mean 'green'?"),
        (of(k={"const": 1}), {"k": 2}, "not-allowed", "allowed: 1"),
        (of(n={"minimum": 1}), {"n": 0}, "out-of-range", "at least 1, not 0"),
        (of(n={"exclusiveMaximum": 1}), {"n": 1}, "out-of-range", "less than 1"),
        (of(n={"minItems": 1}), {"n": []}, "out-of-range", "must not be empty"),
        (of(s={"pattern": "^s3://"}), {"s": "http://x"}, "invalid-value", "it must match ^s3://"),
        (of(n={"uniqueItems": True}), {"n": [1, 1]}, "invalid-value", "n[1] is the same as n[0]"),
        (of(n={"uniqueItems": True}), {"n": [1, 1.0]}, "invalid-value", "the same item twice"),
        (of(n={"not": {}}), {"n": 1}, "not-allowed", "n cannot be 1"),
        (of(n={"not": {"enum": ["Score"]}}), {"n": "Score"}, "not-allowed", 'all but these are allowed: "Score"'),
        (of(n={"pattern": "^\\w+$"}), {"n": "a\u200bb"}, "invalid-value", "n has the invisible character U+200B"),
        (of(n={"contains": {"type": "string"}}), {"n": [1]}, "invalid-value", "does not contain"),
        (of(n={"minProperties": 1}), {"n": {}}, "out-of-range", "must not be empty"),
        (of(n={"propertyNames": {"pattern": "^a"}}), {"n": {"b": 1}}, "invalid-value", "it must match ^a"),
        (of(propertyNames={"pattern": "^a"}), {"propertyNames": "b"}, "invalid-value", "propertyNames cannot be"),
        ({"dependentRequired": {"a": ["b"]}}, {"a": 1}, "missing-field", "'b', which goes with 'a'"),
        (of(n={"type": "array"}), {"n": "x"}, "wrong-type", "write it as a list"),
        (of(n=of(a={}, b={})), {"n": 1}, "wrong-type", "its fields: a, b"),
        (of(pipeline_key={}, name={}), {"key": 1}, "unknown-field", "did you mean 'pipeline_key'?"),
        (of(name={}), {"job": {"name": "a"}}, "unknown-field", "belongs one level up"),
        (of(name={}), {"jobs": [{"name": "a"}]}, "unknown-field", "divided by '---'"),
        (of(s={"maxLength": 3}), {"s": "x" * 1000}, "out-of-range", "at most 3 characters long, not 1,000"),
        ({"additionalProperties": of(size={"type": "integer"})}, {"size": 1}, "wrong-type", "one level further down"),
        (of(reader=of(window={})), {"window": 1}, "unknown-field", "it is a field of 'reader'"),
        (of(k={"enum": ["Cosine", "COSINES"]}), {"k": "cosine"}, "not-allowed", "did you mean 'Cosine'?"),
        ({"oneOf": [{"required": ["a"]}, {"required": ["b"]}]}, {}, "missing-field", "a or b; it has none"),
        ({"oneOf": [{"required": ["a"]}, {"required": ["b"]}]}, {"a": 1, "b": 2}, "conflicting-fields", "a and b"),
        ({"oneOf": [True, True]}, {}, "invalid-value", "several, of the allowed forms"),
        ({"oneOf": [{"required": []}, {"required": ["a", "b"]}]}, {"a": 1, "b": 1}, "invalid-value", "forms"),
    ],
)
def test_a_fault_says_what_would_be_right(schema: dict[str, Any], value: Any, code: str, words: str) -> None:
    found, summary, hint = only(schema, value)
    assert found == code
    assert words in f"{summary} {hint}"


def test_an_example_stands_in_the_place_of_a_pattern() -> None:
    schema = of(s={"pattern": "^[0-9]{1,9}(ms|s)$", "examples": ["90s", "500ms"]})
    assert only(schema, {"s": "soon"})[1:] == ('s cannot be "soon"', "for example 90s, 500ms")


def test_a_field_that_is_only_misspelt_is_not_missing_too() -> None:
    schema = {**of(file_id={}, path={}), "oneOf": [{"required": ["file_id"]}, {"required": ["path"]}]}
    assert [f.code for f in Checker(schema).findings({"file": "a"})] == ["unknown-field"]
    assert [f.code for f in Checker(schema).findings({"zzz": "a"})] == ["missing-field", "unknown-field"]
    schema = {**of(name={}, key={}), "required": ["name", "key"]}
    assert [f.code for f in Checker(schema).findings({"job": {"name": "a", "key": "b"}})] == ["unknown-field"]
    schema = {**of(a={}, size={}), "required": ["a", "size"]}
    assert [(f.code, f.names) for f in Checker(schema).findings({"sise": "a"})] == [
        ("missing-field", ("a",)),
        ("unknown-field", ("size",)),
    ]


def test_a_field_that_is_missing_further_down_is_told_with_its_place() -> None:
    assert only(of(a={"required": ["b"]}), {"a": {}})[1] == "missing field 'b' in a"


def test_a_word_is_not_told_to_lose_quotes_that_it_does_not_have() -> None:
    assert only(of(n={"type": "integer"}), {"n": "two"})[2] is None


def test_fields_that_a_pattern_allows_are_known() -> None:
    schema = {"patternProperties": {"^x-": {}}, "additionalProperties": False}
    (finding,) = Checker(schema).findings({"x-a": 1, "y": 2})
    assert finding.route == ("y",)


def test_findings_are_all_found_in_a_stable_order_below_their_route() -> None:
    checker = Checker(of(a={"type": "string"}, b={"type": "string"}))
    routes = [f.route for f in checker.findings({"c": 1, "b": 2, "a": 3}, ("top",))]
    assert routes == [("top", "a"), ("top", "b"), ("top", "c")]


@pytest.mark.parametrize(
    "schema", [{"type": "objct"}, {"pattern": "("}, {"required": "a"}, {"properties": []}], ids=lambda s: str(s)
)
def test_a_schema_that_is_none_is_refused_when_it_is_made(schema: dict[str, Any]) -> None:
    with pytest.raises(SchemaError):
        Checker(schema)


@pytest.mark.parametrize("ref", ["http://127.0.0.1:9/x", "file:///etc/hostname", "#/$defs/none", "#"])
def test_references_are_never_fetched_and_never_crash(ref: str) -> None:
    assert only({"$ref": ref}, {})[0] == "bad-schema"


def test_a_large_value_is_not_repeated_whole() -> None:
    _, summary, hint = only(of(a={}), {"b" * 100_000: 1})
    assert len(summary) + len(hint or "") < 1000
    assert len(only(of(a={"type": "integer"}), {"a": "x" * 100_000})[1]) < 1000


def test_suggestions_are_near() -> None:
    assert did_you_mean("paralelism", ["parallelism", "config"]) == "did you mean 'parallelism'?"
    assert did_you_mean("zebra", ["parallelism", "config"]) is None
    assert did_you_mean("key", ["pipeline_key", "access_key"]) is None, "either could be meant"


def test_routes_read_as_people_write_them() -> None:
    assert route_text(("inputs", "worker.data", 0, "file_id")) == 'inputs["worker.data"][0].file_id'
    assert route_text(("a-b", "c_d", "", "x\ny")) == 'a-b.c_d[""]["x\\ny"]'
