"""One document → the specs that it stands for."""

from __future__ import annotations

from typing import Any

import pytest

from reconciler.rendering import Renderer

RENDERER = Renderer({"vars": lambda: {"ks": [3, 5], "model": "base"}, "git": lambda: {"commit": "c0ffee"}}, {})


def document(name: str = "n", matrix: Any = None, **parameters: Any) -> dict[str, Any]:
    body = {"name": name, "pipeline_type": "batch", "pipeline_key": "p", "parameters": parameters}
    return body if matrix is None else {**body, "reconcile": {"matrix": matrix, "on_change": "keep"}}


def test_a_document_without_a_matrix_is_one_spec() -> None:
    (spec,), findings = RENDERER.render(document(w={"config": {"model": "${{ vars.model }}"}}))
    assert (spec.value["parameters"]["w"]["config"]["model"], spec.cell, findings) == ("base", None, [])


def test_a_matrix_makes_one_spec_a_cell_and_is_itself_gone() -> None:
    matrix = {"k": "${{ vars.ks }}", "on": [True]}
    specs, findings = RENDERER.render(document("n-${{ matrix.k }}", matrix, w={"config": {"k": "${{ matrix.k }}"}}))
    assert findings == []
    assert [s.value["name"] for s in specs] == ["n-3", "n-5"]
    assert [s.value["parameters"]["w"]["config"]["k"] for s in specs] == [3, 5]
    assert specs[0].value["reconcile"] == {"on_change": "keep"}


def test_a_new_value_only_adds_cells() -> None:
    few, _ = RENDERER.render(document("n-${{ matrix.k }}-${{ matrix.m }}", {"k": [1, 2], "m": ["a"]}))
    more, _ = RENDERER.render(document("n-${{ matrix.k }}-${{ matrix.m }}", {"k": [1, 2, 3], "m": ["b", "a"]}))
    values = [s.value for s in more]
    assert all(s.value in values for s in few)


@pytest.mark.parametrize(
    ("written", "code", "route"),
    [
        (document("n", {"k": [1, 2]}), "duplicate-name", ("name",)),
        (document("n-${{ matrix.q }}", {"k": [1, 2]}), "unknown-name", ("name",)),
        (document("n-${{ matrix.k }}"), "unknown-name", ("name",)),
        (document("n", {"k": 5}), "wrong-type", ("reconcile", "matrix", "k")),
        (document("n", {"k": [1], "exclude": {"k": 1}}), "wrong-type", ("reconcile", "matrix", "exclude")),
        (document("n", {"k": ["${{ vars.no }}"]}), "unknown-name", ("reconcile", "matrix", "k", 0)),
        (document("n-${{ env.USER }}"), "misplaced-env", ("name",)),
        (document("n", {"k": ["${{ env.K }}"]}), "misplaced-env", ("reconcile", "matrix", "k", 0)),
        (document("n", **{"${{ vars.model }}": {}}), "bad-expression", ("parameters", "${{ vars.model }}")),
    ],
)
def test_each_fault_is_found_once_at_its_place(written: dict[str, Any], code: str, route: tuple[Any, ...]) -> None:
    _, findings = RENDERER.render(written)
    assert [(f.code, f.route) for f in findings] == [(code, route)]


def test_cells_of_the_same_name_are_told_what_the_name_lacks() -> None:
    _, (finding,) = RENDERER.render(document("n-${{ matrix.k }}", {"k": [1, 2], "m": ["a", "b"]}))
    assert finding.hint == "write ${{ matrix.m }} in it"


def test_the_environment_is_named_in_parameters() -> None:
    (spec,), findings = RENDERER.render(document(w={"config": {"token": "${{ env.TOKEN }}"}}))
    assert (list(spec.env), findings) == (["TOKEN"], [])
    assert spec.value["parameters"]["w"]["config"]["token"] == "${{ env.TOKEN }}"


def test_policies_of_all_jobs_stand_under_those_of_a_spec() -> None:
    renderer = Renderer({}, {"on_change": "keep", "retry": {"attempts": 3}})
    written = {**document(), "reconcile": {"retry": {"attempts": 1}}}
    (spec,), _ = renderer.render(written)
    assert spec.value["reconcile"] == {"on_change": "keep", "retry": {"attempts": 1}}
    (spec,), _ = renderer.render(document())
    assert spec.value["reconcile"] == {"on_change": "keep", "retry": {"attempts": 3}}
