"""The order of jobs that need each other."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.chains import in_order


def graph(text: str) -> dict[str, frozenset[str]]:
    """`a:bc b: c:` → a needs b and c."""
    return {part[0]: frozenset(part[2:]) for part in text.split()}


@pytest.mark.parametrize(
    ("needs", "circle"),
    [
        ("a: b:a c:ab", ""),
        ("a:a", "aa"),
        ("a:b b:a", "ab"),
        ("a:b b:c c:d d:b", "bcd"),
        ("a:bc b:d c:d d:", ""),
        ("a:x", ""),
    ],
)
def test_a_circle_is_named_by_its_jobs(needs: str, circle: str) -> None:
    _, found = in_order(graph(needs))
    assert set(found) == set(circle)
    assert all(b in graph(needs)[a] for a, b in pairwise(found))
    assert not found or found[0] == found[-1]


def test_a_long_chain_is_in_order() -> None:
    order, _ = in_order({str(i): frozenset({str(i + 1)}) for i in range(20_000)})
    assert order[0] == "19999"


@given(st.dictionaries(st.integers(0, 20), st.frozensets(st.integers(0, 20)), max_size=20))
def test_every_job_comes_after_those_that_it_needs(numbers: dict[int, frozenset[int]]) -> None:
    needs = {f"{k:02}": frozenset(f"{v:02}" for v in values) for k, values in numbers.items()}
    order, circle = in_order(needs)
    if circle:
        return
    assert sorted(order) == sorted(needs)
    for name in order:
        assert all(order.index(needed) < order.index(name) for needed in needs[name] if needed in needs)
