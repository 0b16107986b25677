"""The committed schemas are those of the code, and real documents pass them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import pytest
from jsonschema import Draft202012Validator
from nouns import desired, recorded, state

from reconciler.facts import Facts, PlanOptions
from reconciler.guards import Limit
from reconciler.plan import make_plan
from reconciler.report.plans import plan_json
from reconciler.report.style import to_json
from reconciler.schema import SchemaName, document
from reconciler.state import dumps

SCHEMAS = Path(__file__).parents[2] / "schemas"


@pytest.mark.parametrize("name", get_args(SchemaName))
def test_the_committed_schema_is_current(name: SchemaName) -> None:
    """If this fails, run `make schemas` and commit what it writes."""
    assert (SCHEMAS / f"{name}.schema.json").read_text() == to_json(document(name)) + "\n"


def check(name: SchemaName, value: Any) -> None:
    Draft202012Validator(json.loads((SCHEMAS / f"{name}.schema.json").read_text())).validate(value)


def test_a_state_file_passes_the_state_schema() -> None:
    check("state", json.loads(dumps(state(a=recorded("COMPLETED"), b=recorded("RUNNING", commit="abc")))))


def test_a_plan_as_json_passes_the_plan_schema() -> None:
    facts = Facts({"a": desired(value=2), "b": desired("b")}, state(a=recorded("RUNNING"), c=recorded("FAILED", 5)))
    check("plan", json.loads(to_json(plan_json(make_plan(facts)))))


def test_a_refused_plan_with_a_blocked_change_passes_the_plan_schema() -> None:
    facts = Facts({"a": desired(value=2, protect=True), "b": desired("b")}, state(a=recorded("RUNNING")))
    made = make_plan(facts, PlanOptions(limits={"max_submissions": Limit(0)}))
    assert made.refusals
    assert made.blocked()
    check("plan", json.loads(to_json(plan_json(made))))
