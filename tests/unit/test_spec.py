"""Every file in `tests/data/specs`, and the promise that the schema for editors says what the loader says."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from pydantic import ValidationError

from reconciler.errors import Diagnostic
from reconciler.load import load
from reconciler.resolve import resolve
from reconciler.schema import document
from reconciler.spec import JobSpec
from reconciler.yaml12 import parse

DATA = Path(__file__).parents[1] / "data" / "specs"
PASS = sorted((DATA / "pass").iterdir())
FAIL = sorted((DATA / "fail").iterdir())
SCHEMA = Draft202012Validator(document("spec"))
EXPECTED_IN_JSON = {
    "half-a-surrogate-pair.json": "1:13 yaml-syntax",
    "trailing-bracket.json": "2:1 yaml-syntax",
    "unknown-field.json": "5:2 unknown-field",
}
# A schema cannot see these: they are about other documents and other files.
BEYOND_SCHEMA = {"duplicate-name", "no-such-file"}


def faults(path: Path) -> list[Diagnostic]:
    loaded = load([path], root=DATA)
    _, clashes = resolve(loaded.specs)
    return [d for d in [*loaded.diagnostics, *clashes] if d.severity == "error"]


def fits_schema(value: Any) -> bool:
    return bool(SCHEMA.is_valid(value))


def fits_model(value: Any) -> bool:
    try:
        JobSpec.model_validate(value)
    except ValidationError:
        return False
    return True


@pytest.mark.parametrize("path", PASS, ids=lambda p: p.name)
def test_a_good_spec_passes(path: Path) -> None:
    assert faults(path) == []
    documents, _ = parse(path.read_text(encoding="utf-8"), path.name)
    assert documents
    for each in documents:
        assert fits_schema(each.value)
        assert fits_model(each.value)


@pytest.mark.parametrize("path", FAIL, ids=lambda p: p.name)
def test_a_bad_spec_is_refused_where_it_is_wrong(path: Path) -> None:
    found = []
    for fault in faults(path):
        assert fault.location is not None
        assert fault.location.path == f"fail/{path.name}"
        place = f"{fault.location.line}:{fault.location.column}" if fault.location.column else f"{fault.location.line}"
        found.append((fault.location.line, fault.location.column, f"{place} {fault.code}"))
    expected = EXPECTED_IN_JSON.get(path.name)
    if expected is None:
        first = path.read_text(encoding="utf-8").partition("\n")[0]
        assert first.startswith("# expect: ")
        expected = first.removeprefix("# expect: ")
    assert ", ".join(text for *_, text in sorted(found)) == expected


@pytest.mark.parametrize("path", FAIL, ids=lambda p: p.name)
def test_what_a_schema_can_see_is_refused_by_the_schema_and_the_model(path: Path) -> None:
    documents, unreadable = parse(path.read_text(encoding="utf-8"), path.name)
    values = [d.value for d in documents]
    assert [fits_schema(v) for v in values] == [fits_model(v) for v in values]
    if not any(d.severity == "error" for d in unreadable) and values and {f.code for f in faults(path)} - BEYOND_SCHEMA:
        assert not all(fits_schema(v) for v in values)


COMPLETE = parse((DATA / "pass" / "everything.yaml").read_text(), "everything.yaml")[0][0].value
# A text that ends in a line break passes `$` of Python's regular expressions, not that of ECMA and of the model.
JUNK = (
    st.none()
    | st.booleans()
    | st.integers(-3, 300)
    | st.sampled_from([0.5, 2.0, "", "x", "batch", "cancel", "2", [], {}, [{}], {"x": 1}, {"file_id": "a"}])
    | st.text(max_size=4).filter(lambda text: not text.endswith("\n"))
)


@given(st.data())
def test_schema_and_model_agree_on_anything_put_anywhere(data: st.DataObject) -> None:
    spec = copy.deepcopy(COMPLETE)
    node: Any = spec
    while True:
        steps: list[Any] = sorted(node) if isinstance(node, dict) else list(range(len(node)))
        step = data.draw(st.sampled_from(steps))
        below = node[step]
        if not (isinstance(below, dict | list) and below and data.draw(st.booleans())):
            break
        node = below
    change = data.draw(st.sampled_from(["replace", "remove", "add"]))
    if change == "replace":
        node[step] = data.draw(JUNK)
    elif change == "remove":
        del node[step]
    elif isinstance(node, dict):
        node[data.draw(st.sampled_from(["file_id", "path", "kind", "config", "nonsense"]))] = data.draw(JUNK)
    assert fits_schema(spec) == fits_model(spec)
