"""What differs between two requests, and whether the platform has what we declared."""

from __future__ import annotations

from typing import Any

import pytest
from nouns import request

from reconciler.compare import compare, declared_in


def test_changes_name_fields_as_people_write_them() -> None:
    before = request(64, inputs={"worker.data": [{"file_id": "a"}, {"file_id": "b"}]})
    after = request(128, inputs={"worker.data": [{"file_id": "c"}]}, pipeline_version="2")
    assert [(c.path, c.op, c.before, c.after) for c in compare(before, after)] == [
        ('inputs["worker.data"][0]', "remove", {"file_id": "a"}, None),
        ('inputs["worker.data"][1]', "remove", {"file_id": "b"}, None),
        ('inputs["worker.data"][0]', "add", None, {"file_id": "c"}),
        ("parameters.worker.config.value", "change", 64, 128),
        ("pipeline_version", "add", None, "2"),
    ]


LONG = list(range(1000))


@pytest.mark.parametrize(
    ("before", "after", "changes"),
    [
        (LONG, [*LONG, "new"], [("x[1000]", "add", "new")]),
        (LONG, ["new", *LONG], [("x[0]", "add", "new")]),
        (LONG, LONG[:500] + LONG[501:], [("x[500]", "remove", 500)]),
        ([1, 2, 3, 4], [2, 4, 5], [("x[0]", "remove", 1), ("x[2]", "remove", 3), ("x[2]", "add", 5)]),
        ([{"a": 1}, {"a": 2}], [{"a": 1}, {"a": 3}], [("x[1].a", "change", 3)]),
        ([1, True], [1, 1], [("x[1]", "change", 1)]),
        ([1.0, 2, 2], [1, 2], [("x[2]", "remove", 2)]),
        ([], [1], [("x[0]", "add", 1)]),
    ],
)
def test_a_list_changes_by_what_was_added_and_removed(
    before: list[Any], after: list[Any], changes: list[tuple[str, str, Any]]
) -> None:
    found = [(c.path, c.op, c.before if c.op == "remove" else c.after) for c in compare({"x": before}, {"x": after})]
    assert found == changes


@pytest.mark.parametrize(
    ("declared", "actual", "inside"),
    [
        ({}, {"a": 1}, True),
        ({"a": {"b": 1}}, {"a": {"b": 1.0, "c": 2}}, True),
        ({"a": None}, {}, True),
        ({"a": 1}, {}, False),
        ({"a": True}, {"a": 1}, False),
        ({"a": [1, 2]}, {"a": [2, 1]}, False),
    ],
)
def test_the_platform_may_add_defaults_but_not_change_what_we_declared(
    declared: Any, actual: Any, inside: bool
) -> None:
    assert declared_in(declared, actual) is inside
