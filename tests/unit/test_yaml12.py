"""What the reader makes of YAML and JSON text, beside the files in `tests/data/specs`."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.yaml12 import parse

JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(1 - 2**53, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=20), inner, max_size=4),
    max_leaves=10,
)


def value(text: str) -> Any:
    (document,), diagnostics = parse(text, "a.yaml")
    assert not [d for d in diagnostics if d.severity == "error"]
    return document.value


@given(JSON_VALUES, st.booleans(), st.sampled_from([None, 2, "\t"]))
def test_json_files_mean_what_json_says(written: Any, ascii_only: bool, indent: int | str | None) -> None:
    (document,), diagnostics = parse(json.dumps(written, ensure_ascii=ascii_only, indent=indent), "a.json")
    assert [d for d in diagnostics if d.severity == "error"] == []
    assert document.value == written


@given(
    st.text(alphabet=st.characters(codec="utf-8"), max_size=60)
    | st.text("{}[]:,-?&*!|>'\"%#@` \t\n\rax0~<.", max_size=40)
)
def test_no_text_is_an_exception(text: str) -> None:
    documents, diagnostics = parse(text, "a.yaml")
    assert documents or diagnostics or not text.strip() or text.lstrip()[0] in "#%.\ufeff"
    for fault in diagnostics:
        assert fault.location is not None
        assert fault.location.line >= 1


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("true", True),
        ("false", False),
        ("null", None),
        ("~", None),
        ("012", 12),
        ("-012", -12),
        ("0o14", 12),
        ("0x1F", 31),
        ("+1", 1),
        ("-0", 0),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("5.", 5.0),
        ("1_000", "1_000"),
        ("0b11", "0b11"),
        ("12:30:45", "12:30:45"),
        ("2026-01-01", "2026-01-01"),
        ("1.2.3", "1.2.3"),
        ("+", "+"),
        (".", "."),
        ("no", "no"),
        ("On", "On"),
        ("TRUE", "TRUE"),
        ("'12'", "12"),
        ('"null"', "null"),
        ("|\n  12\n", "12\n"),
        ("\u0661\u0662", "\u0661\u0662"),
    ],
)
def test_scalars_are_those_of_yaml_1_2(written: str, read: Any) -> None:
    found = value(f"a: {written}")["a"]
    assert found == read
    assert type(found) is type(read)


@pytest.mark.parametrize(("written", "told"), [("no", "'no'"), ("True", "'True'"), ("012", "number 12")])
def test_what_other_versions_read_differently_is_a_warning(written: str, told: str) -> None:
    _, (warning,) = parse(f"a: {written}", "a.yaml")
    assert (warning.severity, warning.code) == ("warning", "ambiguous-scalar")
    assert told in warning.summary


def test_zeros_do_not_count_as_digits() -> None:
    assert value(f"a: {'0' * 5000}7")["a"] == 7


def test_the_largest_integers_that_json_can_carry() -> None:
    assert value("[9007199254740991, -9007199254740991]") == [2**53 - 1, 1 - 2**53]
    _, diagnostics = parse("[9007199254740992, -9007199254740992]", "a.yaml")
    assert [(d.code, d.location.column) for d in diagnostics if d.location] == [("not-json", 2), ("not-json", 20)]


@pytest.mark.parametrize("opening", ["[", "{a: ", "- ", "? "])
def test_endless_nesting_is_refused_at_once(opening: str) -> None:
    documents, (fault,) = parse(opening * 100_000, "a.yaml")
    assert documents == []
    assert fault.code == "too-deep"


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_line_ends_are_all_the_same(ending: str) -> None:
    (document,), _ = parse(ending.join(["a: 1", "b:", "  - x", ""]), "a.yaml")
    assert document.value == {"a": 1, "b": ["x"]}
    assert document.marks.locate(("b", 0)) == (3, 5)


def test_a_place_is_that_of_the_nearest_value_there_is() -> None:
    (document,), _ = parse("ä: {key: [x, yy]}", "a.yaml")
    assert document.marks.locate(("ä", "key", 1)) == (1, 14)
    assert document.marks.locate(("ä", "key"), key=True) == (1, 5)
    assert document.marks.locate(("ä", "missing", "below")) == (1, 4)


def test_an_anchor_on_a_key_can_be_used() -> None:
    assert value("&k a: *k") == {"a": "a"}


def test_anchors_do_not_reach_into_the_next_document() -> None:
    _, (fault,) = parse("a: &x 1\n---\nb: *x\n", "a.yaml")
    assert (fault.code, str(fault.location)) == ("yaml-alias", "a.yaml:3:4")


def test_what_was_left_open_is_named() -> None:
    _, (fault,) = parse('a: "open\nb: 1\nc: 2\n', "a.yaml")
    assert fault.code == "yaml-syntax"
    assert "line 1" in (fault.hint or "")


def test_a_tab_is_blamed_only_when_it_indents() -> None:
    _, (indented,) = parse("a:\n\tb: 1\n", "a.yaml")
    _, (between,) = parse("a:\tb: 1\n", "a.yaml")
    assert "tab" in indented.summary
    assert "tab" not in between.summary


def test_a_binary_file_is_a_few_faults_not_a_million() -> None:
    documents, faults = parse("\x01\x02" * 50_000, "a.yaml")
    assert documents == []
    assert {f.code for f in faults} == {"control-character"}
    assert len(faults) < 100


def test_documents_before_a_syntax_fault_are_read() -> None:
    documents, (fault,) = parse("a: 1\n---\nb: [\n", "a.yaml")
    assert [d.value for d in documents] == [{"a": 1}]
    assert fault.code == "yaml-syntax"


@pytest.mark.parametrize(
    "text", ["a: {b: ${{ vars.k }}}\n", "a: [1, ${{ vars.k }}]\n", "a: {b: x ${{ vars.k }}, c: 1}\n"]
)
def test_an_expression_without_quotes_in_a_flow_mapping_is_told_to_have_some(text: str) -> None:
    _, faults = parse(text, "a.yaml")
    assert any("an expression needs quotes" in (fault.hint or "") for fault in faults), faults
