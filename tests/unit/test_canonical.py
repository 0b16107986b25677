"""Canonical JSON is what `rfc8785` writes, whatever the value."""

from __future__ import annotations

from typing import Any

import pytest
import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from reconciler.canonical import canonical

_texts = st.text() | st.text(st.sampled_from('a"\\/\n\t\x00\x1f\x7fé\ue000\uffff\U0001f600\u2028'))
_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | _texts | st.just("\ud800"),
    lambda below: st.lists(below) | st.dictionaries(_texts, below),
    max_leaves=20,
)


@given(_values)
def test_it_is_that_of_rfc8785(value: Any) -> None:
    try:
        expected = rfc8785.dumps(value)
    except rfc8785.CanonicalizationError as error:
        with pytest.raises(type(error)):
            canonical(value)
    else:
        assert canonical(value) == expected


@pytest.mark.parametrize("value", [{1: "a"}, {"a": {2}}, object(), {"a": 2**53}, [float("nan")]])
def test_what_json_cannot_carry_is_refused(value: Any) -> None:
    with pytest.raises(rfc8785.CanonicalizationError):
        canonical(value)
