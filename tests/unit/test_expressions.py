"""What `${{ … }}` stands for: names that are looked up, types that are kept, and faults with their places."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.expressions import FILLED_LIMIT, Filling

VARS: dict[str, Any] = {
    "text": "abc",
    "count": 5,
    "share": 0.5,
    "on": True,
    "nothing": None,
    "list": [1, "two"],
    "deep": {"er": {"dash-ed": 7}},
}


def filling() -> Filling:
    return Filling({"vars": lambda: VARS, "git": lambda: {"commit": "c0ffee"}, "matrix": lambda: {"k": 3}})


@pytest.mark.parametrize(
    ("written", "filled"),
    [
        ("${{ vars.count }}", 5),
        ("  ${{vars.count}}  ", 5),
        ("${{ vars.share }}", 0.5),
        ("${{ vars.on }}", True),
        ("${{ vars.nothing }}", None),
        ("${{ vars.list }}", [1, "two"]),
        ("${{ vars.deep.er.dash-ed }}", 7),
        ("${{ matrix.k }}-${{ vars.text }}", "3-abc"),
        ("k=${{ vars.count }} s=${{ vars.share }} on=${{ vars.on }}", "k=5 s=0.5 on=true"),
        ("at ${{ git.commit }}", "at c0ffee"),
        (
            "$ { {vars.count} } $HOME $(touch x) {{ vars.count }}",
            "$ { {vars.count} } $HOME $(touch x) {{ vars.count }}",
        ),
        ({"a": ["${{ vars.count }}", {"b": "${{ vars.on }}"}]}, {"a": [5, {"b": True}]}),
        (5, 5),
    ],
)
def test_a_lone_expression_keeps_its_type_and_one_in_text_becomes_text(written: Any, filled: Any) -> None:
    work = filling()
    result = work.fill(written)
    assert (result, work.findings) == (filled, [])
    assert type(result) is type(filled)


@pytest.mark.parametrize(
    ("written", "code", "says"),
    [
        ("${{ vars.cuont }}", "unknown-name", "did you mean 'count'?"),
        ("${{ vars.other }}", "unknown-name", "vars stand in reconciler.yaml"),
        ("${{ var.count }}", "unknown-name", "did you mean 'vars.count'?"),
        ("${{ ENV.X }}", "unknown-name", "did you mean 'env.X'?"),
        ("${{ nothing.like.it }}", "unknown-name", "scopes: vars, git, matrix, env"),
        ("${{ vars.text.more }}", "unknown-name", "vars.text.more"),
        ("${{ git.tag }}", "unknown-name", "git.commit, git.branch"),
        ("${{ vars }}", "bad-expression", "write ${{ scope.name }}"),
        ("${{ vars.count + 1 }}", "bad-expression", "write ${{ scope.name }}"),
        ("${{ vars['count'] }}", "bad-expression", "scopes: vars, git, matrix, env"),
        ("${{ }}", "bad-expression", "write"),
        ("${{ vars.count", "bad-expression", "is not an expression"),
        ("a ${{ vars.list }}", "bad-expression", "is a list and cannot stand inside of text"),
        ("a ${{ vars.deep }}", "bad-expression", "is a mapping"),
        ("a ${{ vars.nothing }}", "bad-expression", "is empty"),
        ("${{ env.A.B }}", "unknown-name", "write ${{ env.NAME }}"),
        ("${{ vars.__class__ }}", "unknown-name", "vars.__class__"),
    ],
)
def test_what_cannot_be_filled_in_is_a_finding_at_its_place(written: str, code: str, says: str) -> None:
    work = filling()
    work.fill({"a": [0, written]})
    (finding,) = work.findings
    assert (finding.code, finding.route) == (code, ("a", 1))
    assert says in f"{finding.summary}; {finding.hint}"


def test_the_environment_is_named_and_not_looked_up() -> None:
    work = filling()
    assert work.fill({"token": "Bearer ${{env.TOKEN}}", "k": "${{ env.K }}"}) == {
        "token": "Bearer ${{ env.TOKEN }}",
        "k": "${{ env.K }}",
    }
    assert work.env == {"TOKEN": ("token",), "K": ("k",)}


def test_what_a_variable_holds_is_not_filled_in_again() -> None:
    work = Filling({"vars": lambda: {"a": "${{ vars.b }}", "b": 1}})
    assert work.fill("x ${{ vars.a }}") == "x ${{ vars.b }}"


def test_a_scope_is_only_asked_for_when_it_is_needed() -> None:
    def never() -> dict[str, Any]:
        raise AssertionError("asked for")

    assert Filling({"git": never}).fill("nothing of git") == "nothing of git"


def test_a_few_characters_cannot_come_to_gigabytes() -> None:
    work = Filling({"vars": lambda: {"long": ["x" * 1000] * 1000}})
    work.fill(["${{ vars.long }}"] * 1000)
    assert [f.code for f in work.findings] == ["too-large"]
    work = Filling({"vars": lambda: {"long": "x" * 1_000_000}})
    work.fill("${{ vars.long }} " * 100)
    assert [f.code for f in work.findings] == ["too-large"]
    assert FILLED_LIMIT < 10_000_000


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(), lambda v: st.lists(v) | st.dictionaries(st.text(), v)
    )
)
def test_a_value_without_expressions_is_left_as_it_is(value: Any) -> None:
    if "${{" not in str(value):
        assert filling().fill(value) == value
