"""A grid in a few lines: which cells it has, and what is wrong with one that cannot be meant."""

from __future__ import annotations

from typing import Any

import pytest

from reconciler.matrix import CELL_LIMIT, cells


@pytest.mark.parametrize(
    ("matrix", "made"),
    [
        ({"k": [1, 2]}, [{"k": 1}, {"k": 2}]),
        (
            {"k": [1, 2], "m": ["a", "b"]},
            [{"k": 1, "m": "a"}, {"k": 1, "m": "b"}, {"k": 2, "m": "a"}, {"k": 2, "m": "b"}],
        ),
        ({"k": [1, 2], "m": ["a", "b"], "exclude": [{"k": 1}, {"k": 2, "m": "a"}]}, [{"k": 2, "m": "b"}]),
        ({"k": [1], "m": ["a"], "include": [{"k": 9, "m": "z"}]}, [{"k": 1, "m": "a"}, {"k": 9, "m": "z"}]),
        ({"include": [{"k": 1, "m": "a"}, {"k": 2, "m": "b"}]}, [{"k": 1, "m": "a"}, {"k": 2, "m": "b"}]),
        ({"k": [1, 2], "exclude": [{"k": 1}], "include": [{"k": 1}]}, [{"k": 2}, {"k": 1}]),
        ({"on": [1, True, "1", None, 1.5]}, [{"on": v} for v in (1, True, "1", None, 1.5)]),
        (
            {"m": [{"name": "a", "k": 1}, {"name": "b", "k": 2}]},
            [{"m": {"name": "a", "k": 1}}, {"m": {"name": "b", "k": 2}}],
        ),
        ({"on": [1, True], "exclude": [{"on": True}]}, [{"on": 1}]),
    ],
)
def test_the_cells_of_a_matrix(matrix: dict[str, Any], made: list[dict[str, Any]]) -> None:
    found, findings = cells(matrix)
    assert findings == []
    assert repr(found) == repr(made)


def test_the_grid_of_96_points_is_a_few_lines() -> None:
    found, findings = cells(
        {"window": [8, 16, 32, 64], "k": [1, 3, 5, 7], "metric": ["a", "b", "c"], "norm": [True, False]}
    )
    assert (len(found), findings) == (96, [])


@pytest.mark.parametrize(
    ("matrix", "code", "route", "says"),
    [
        ({}, "empty-matrix", (), "no cell"),
        ({"k": []}, "empty-matrix", (), "at least one value"),
        ({"k": [1], "exclude": [{"k": 1}]}, "empty-matrix", (), "no cell"),
        ({"k": [1, 2, 1.0]}, "repeated-value", ("k", 2), "already"),
        ({"k": [1], "exclude": [{"k": 3}]}, "unused-exclude", ("exclude", 0), "no cell"),
        ({"k": [1], "exclude": [{}]}, "unused-exclude", ("exclude", 0), "no cell"),
        ({"depth": [1], "exclude": [{"dept": 1}]}, "unknown-field", ("exclude", 0, "dept"), "did you mean 'depth'?"),
        ({"k": [1], "m": [1], "include": [{"k": 2}]}, "unlike-matrix", ("include", 0), "'m' is missing"),
        ({"k": [1], "include": [{"k": 2, "x": 1}]}, "unlike-matrix", ("include", 0), "'x' is not one of them"),
        ({"k": [1], "include": [{"k": 1}]}, "repeated-value", ("include", 0), "already"),
        ({"a": list(range(101)), "b": list(range(100))}, "too-large", (), "10,100 cells"),
    ],
)
def test_what_cannot_be_meant_is_a_finding_at_its_place(
    matrix: dict[str, Any], code: str, route: tuple[str | int, ...], says: str
) -> None:
    _, findings = cells(matrix)
    (finding,) = findings
    assert (finding.code, finding.route) == (code, ("reconcile", "matrix", *route))
    assert says in f"{finding.summary}; {finding.hint}"


def test_a_matrix_that_is_too_large_is_not_made() -> None:
    found, _ = cells({chr(97 + i): list(range(1000)) for i in range(20)})
    assert found == []
    assert CELL_LIMIT == 10_000
