"""A secret goes to the platform, and nowhere else."""

from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec.structs import replace
from nouns import desired, recorded, request, state

from reconciler.errors import PlanRefused
from reconciler.facts import Facts
from reconciler.plan import make_plan
from reconciler.secrets import Secrets, digest, digests, env_names

TOKEN = "${{ env.TOKEN }}"
TEMPLATE = request({"token": f"Bearer {TOKEN}", "list": [1, TOKEN], "open": "yes"})


def secrets(**environment: str) -> Secrets:
    return Secrets(environment, {"a": (TEMPLATE,)})


def test_what_is_sent_has_the_value_and_what_is_kept_has_the_name() -> None:
    sent = secrets(TOKEN="s3cret").fill(TEMPLATE)
    assert sent == request({"token": "Bearer s3cret", "list": [1, "s3cret"], "open": "yes"})
    assert env_names(TEMPLATE) == {"TOKEN"}
    assert "s3cret" not in str(TEMPLATE)


def test_without_the_value_nothing_is_sent() -> None:
    with pytest.raises(PlanRefused, match="the environment has no TOKEN"):
        secrets(OTHER="x").fill(TEMPLATE)


@pytest.mark.parametrize("now", ["s3cret", "another", ""])
def test_an_answer_is_hidden_whatever_the_environment_has_now(now: str) -> None:
    """The job may have been submitted with a value that nobody knows any more."""
    job = {"id": "job_1", "name": "a", **Secrets({"TOKEN": "s3cret"}).fill(TEMPLATE), "status": "RUNNING"}
    hidden = secrets(TOKEN=now).hide(job)
    assert hidden["parameters"] == TEMPLATE["parameters"]
    assert "s3cret" not in str(hidden)


def test_only_what_the_request_names_is_hidden() -> None:
    job = {"name": "a", "status": "RUNNING", "parameters": {"worker": {"config": {"value": {"open": "s3cret"}}}}}
    assert secrets(TOKEN="s3cret").hide(job) == job
    assert secrets(TOKEN="s3cret").hide({**job, "name": "b"}) == {**job, "name": "b"}
    assert secrets(TOKEN="s3cret").hide("no job") == "no job"


@pytest.mark.parametrize("value", ["s3cret", 'quote"and\\slash', "two\nlines"])
def test_messages_are_hidden_as_they_are_and_as_json_writes_them(value: str) -> None:
    error = {"message": f"{value} is not a token", "code": "x", "details": [value]}
    hidden = secrets(TOKEN=value).hide({"name": "b", "error": error})
    assert hidden["error"] == {"message": f"{TOKEN} is not a token", "code": "x", "details": [TOKEN]}
    assert value not in json.loads(secrets(TOKEN=value).hide_text(json.dumps({"message": value})))["message"]


def test_values_that_stand_everywhere_are_not_looked_for_in_messages() -> None:
    assert secrets(TOKEN="1").hide_text("1 of 10 failed") == "1 of 10 failed"


def test_a_digest_says_only_whether_it_is_the_same() -> None:
    assert digest("l", "TOKEN", "a") == digest("l", "TOKEN", "a")
    assert (
        len({digest("l", "TOKEN", "a"), digest("l", "TOKEN", "b"), digest("l", "T", "a"), digest("m", "TOKEN", "a")})
        == 4
    )
    assert digests("l", ["TOKEN", "NOT_SET"], {"TOKEN": "a"}) == {"TOKEN": digest("l", "TOKEN", "a")}


@pytest.mark.parametrize(
    ("then", "now", "action"),
    [
        ({"TOKEN": "d1"}, {"TOKEN": "d1"}, "keep"),
        ({"TOKEN": "d1"}, {"TOKEN": "d2"}, "replace"),
        ({"TOKEN": "d1"}, {}, "keep"),  # not set here: an absence of news never submits anything
        ({"TOKEN": ""}, {"TOKEN": "d2"}, "keep"),  # adopted: what it was submitted with is not known
        ({}, {"TOKEN": "d2"}, "keep"),
    ],
)
def test_another_value_is_another_job(then: dict[str, str], now: dict[str, str], action: str) -> None:
    job = replace(desired("a", TOKEN), env=("TOKEN",))
    facts: dict[str, Any] = {"desired": {"a": job}, "state": state(a=recorded("COMPLETED", TOKEN, secrets=then))}
    (made,) = make_plan(Facts(**facts, secrets=now)).actions
    assert made.action == action
    if action == "replace":
        assert made.reason == "another value of env.TOKEN"
        assert made.secrets == {"TOKEN": "d2"}
