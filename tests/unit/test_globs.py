"""What a person types for a name stands for the names that a shell would make of it, and never silently for none."""

from __future__ import annotations

import time

import pytest

from reconciler.errors import PlanRefused
from reconciler.globs import expand, not_recorded, one_name

NAMES = {"grid-1", "grid-2", "grid-10", "other", "[x]", "x", "Grid-3", "-rf"}


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        (["other", "grid-1"], ["other", "grid-1"]),
        (["grid-?"], ["grid-1", "grid-2"]),
        (["grid-*"], ["grid-1", "grid-10", "grid-2"]),
        (["grid-2", "grid-*"], ["grid-2", "grid-1", "grid-10"]),
        (["[gG]rid-[!12]*"], ["Grid-3"]),
        (["[-]rf"], ["-rf"]),
        (["*"], sorted(NAMES)),
        ([], []),
    ],
)
def test_globs_are_those_of_a_shell(typed: list[str], meant: list[str]) -> None:
    assert expand(typed, NAMES, not_recorded) == tuple(meant)


def test_a_name_that_exists_is_itself_whatever_is_in_it() -> None:
    assert expand(["[x]"], NAMES, not_recorded) == ("[x]",)
    assert expand(["[x]"], NAMES - {"[x]"}, not_recorded) == ("x",)


@pytest.mark.parametrize(
    ("typed", "message", "hint"),
    [
        ("grid-3", "no job named 'grid-3' is recorded", "did you mean 'grid-2'?"),
        ("gird-*", "no job that fits 'gird-*' is recorded", "did you mean 'grid-2'?"),
        ("GRID-?", "no job that fits 'GRID-?' is recorded", "did you mean 'grid-2'?"),
        ("", "no job named '' is recorded", "look"),
        ("R", "no job named 'R' is recorded", "there is grid-1, grid-2, other"),
        ("*hex*", "no job that fits '*hex*' is recorded", "look"),
    ],
)
def test_what_fits_nothing_is_refused_with_the_nearest_name(typed: str, message: str, hint: str) -> None:
    with pytest.raises(PlanRefused) as refused:
        expand(["other", typed], {"grid-1", "grid-2", "other"}, not_recorded, "look")
    assert (refused.value.message, refused.value.hint) == (message, hint)


@pytest.mark.parametrize(
    ("typed", "hint"),
    [
        ("grid-*", "it fits grid-1, grid-10, grid-2"),
        ("*", "it fits -rf, Grid-3, [x] and 5 more"),
        ("ohter*", "did you mean 'other'?"),
    ],
)
def test_where_one_name_is_meant_a_glob_is_refused_as_one(typed: str, hint: str) -> None:
    with pytest.raises(PlanRefused) as refused:
        one_name(typed, NAMES, "--unprotect takes names only")
    assert (refused.value.message, refused.value.hint) == (
        f"--unprotect takes names only, and {typed!r} is a glob",
        hint,
    )
    one_name("[x]", NAMES, "a name that exists is itself")
    one_name("nothing-like-it", NAMES, "whether there is such a name is told elsewhere")


def test_a_glob_of_many_stars_over_many_names_is_done_soon() -> None:
    names = {f"{'a' * 100}{n}" for n in range(2000)}
    began = time.monotonic()
    with pytest.raises(PlanRefused):
        expand(["a*a*a*a*a*a*a*a*a*a*b"], names, not_recorded)
    assert time.monotonic() - began < 5
