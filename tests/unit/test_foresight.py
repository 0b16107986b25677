"""What a snapshot says against a request as it will be sent, without a word about what the environment has."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from nouns import desired, recorded, request, state

from reconciler.actions import Action
from reconciler.errors import PlanRefused
from reconciler.facts import Facts
from reconciler.foresight import Foresight
from reconciler.plan import make_plan
from reconciler.report.sections import sections
from reconciler.secrets import Secrets

HERE = "${{ env.SIZE }}"
SECRET = "canary"


def unfit(
    folder: Path, schema: dict[str, Any], body: dict[str, Any], value: str = SECRET, version: str = "1.0.0"
) -> PlanRefused | None:
    """Of a request that is checked by `schema`, when the environment has SIZE=`value`."""
    snapshot = {
        "pipeline_key": "k",
        "pipeline_version": version,
        "pipeline_type": "batch",
        "inputs": {"data": {"mode": "plain_file_list", "required": False}},
        "components": ["worker"],
        "default_config": {"worker": {"config": {"mode": "fast"}}},
        "user_schema": schema,
    }
    folder.joinpath("k.json").write_text(json.dumps(snapshot))
    return Foresight(pipelines=folder).unfit(body, Secrets({"SIZE": value}))


def of(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": {"value": properties}}


@pytest.mark.parametrize(
    ("schema", "value", "allowed"),
    [
        (of(enum=["large", "canari"]), HERE, 'allowed: "large", "canari"'),
        (of(const="large"), HERE, 'allowed: "large"'),
        (of(type="integer"), HERE, "it must be an integer; what the environment has is always text"),
        (of(anyOf=[{"type": "integer"}, {"type": "null"}]), HERE, "it must be an integer"),
        (of(pattern="^s3://"), HERE, "it must match ^s3://"),
        (of(pattern="^s3://", examples=["s3://b"]), HERE, "for example s3://b"),
        (of(maxLength=3), HERE, "it must be at most 3 characters long"),
        (of(minLength=30), HERE, "it must be at least 30 characters long"),
        (of(enum=["v/large"]), f"v/{HERE}", 'allowed: "v/large"'),
        (of(items={"enum": ["large"]}), ["large", HERE], 'allowed: "large"'),
        (of(uniqueItems=True), [HERE, "canary"], "the snapshot of k 1.0.0"),
        (of(contains={"const": "large"}), [HERE], "the snapshot of k 1.0.0"),
        (of(**{"not": {"enum": ["canary"]}}), HERE, "the snapshot of k 1.0.0"),
        (of(additionalProperties=False, properties={"size": {}}), {"seize": HERE}, "did you mean 'size'?"),
        (of(required=["size"]), {"other": HERE}, "the snapshot of k 1.0.0"),
    ],
)
def test_the_place_and_what_is_allowed_are_told_but_not_the_value(
    tmp_path: Path, schema: dict[str, Any], value: Any, allowed: str
) -> None:
    fault = unfit(tmp_path, schema, request(value))
    assert fault is not None
    assert allowed in str(fault.hint)
    assert "value" in fault.message
    without = f"{fault.message} {fault.hint}".replace('"canari"', "")
    assert "canar" not in without
    assert str(len(SECRET)) not in without


def test_the_variables_of_the_place_are_named(tmp_path: Path) -> None:
    fault = unfit(tmp_path, of(enum=["large"]), request(HERE))
    assert fault is not None
    assert fault.message == "with env.SIZE as set here, parameters.worker.config.value is not what k 1.0.0 takes"


def test_more_faults_are_counted(tmp_path: Path) -> None:
    body = {**request(HERE), "inputs": {"date": [{"file_id": "a"}]}}
    fault = unfit(tmp_path, of(enum=["large"]), body)
    assert fault is not None
    assert fault.message == "inputs.date: k 1.0.0 has no input port 'date' (and 1 more)"


@pytest.mark.parametrize(
    "more", [{"pipeline_type": "training"}, {"inputs": {"date": []}}, {"parameters": {"walker": {}}}]
)
def test_type_inputs_and_components_are_checked_as_well(tmp_path: Path, more: dict[str, Any]) -> None:
    assert unfit(tmp_path, {}, {**request(HERE), **more}) is not None


def test_what_is_not_known_is_not_held_against_a_job(tmp_path: Path) -> None:
    schema = of(enum=["large"])
    assert unfit(tmp_path, schema, request(HERE), "large") is None
    assert unfit(tmp_path, schema, request("${{ env.UNSET }}")) is None
    assert unfit(tmp_path, schema, request(HERE, pipeline_version="2.0.0")) is None
    assert unfit(tmp_path, {"$ref": "https://elsewhere.example/schema"}, request(HERE)) is None
    assert unfit(tmp_path, schema, request(HERE, pipeline_version="2.0.0"), version="2.0.0") is not None
    assert Foresight(pipelines=tmp_path / "none").unfit(request(HERE), Secrets({"SIZE": SECRET})) is None


def test_a_plan_that_cannot_be_followed_is_the_same_plan_told_otherwise() -> None:
    facts = Facts({"a": desired("a", 2)}, state(a=recorded("RUNNING", 1)))
    (before,), (after,) = (
        make_plan(each).actions for each in (facts, Facts(facts.desired, facts.state, faults={"a": "no file 'x'"}))
    )
    assert before.reason == "1 field changed; cancels job_1 (RUNNING)"
    assert after.reason == "1 field changed; would cancel job_1 (RUNNING)"
    assert after.fault == "no file 'x'"
    told = {"reason": before.reason, "fault": None}
    assert after.model_copy(update=told) == before
    titles = [title for title, _ in sections(make_plan(Facts(facts.desired, facts.state, faults={"a": "no file"})))]
    assert titles == ["Refused as things are, and nothing is cancelled for it"]


def test_without_a_platform_the_snapshot_is_asked_all_the_same(tmp_path: Path) -> None:
    unfit(tmp_path, of(enum=["large"]), request(HERE))
    want = replace(desired("a"), request=request(HERE), env=("SIZE",))
    (action,) = make_plan(Facts({"a": want}, state(0))).actions

    def faults(value: str) -> Any:
        found = Foresight(pipelines=tmp_path).faults(None, [action], Secrets({"SIZE": value}))
        return asyncio.run(found)

    assert isinstance(action, Action)
    assert list(faults(SECRET)) == ["a"]
    assert faults("large") == {}
