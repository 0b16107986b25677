"""What a CI run does, by the event that started it."""

from __future__ import annotations

from typing import Any

import pytest

from reconciler.ci.command import extra_arguments
from reconciler.ci.decision import Decision, decide, decide_on_gitlab
from reconciler.errors import UsageError

REPOSITORY = {"full_name": "octo/jobs", "default_branch": "trunk"}


def pull(head: str | None = "octo/jobs", action: str = "opened") -> dict[str, Any]:
    repo = {"full_name": head} if head else None
    return {"action": action, "repository": REPOSITORY, "pull_request": {"number": 7, "head": {"repo": repo}}}


@pytest.mark.parametrize(
    ("asked", "name", "ref", "event", "decision"),
    [
        ("auto", "pull_request", "refs/pull/7/merge", pull(), Decision("plan", 7)),
        ("auto", "pull_request", "refs/pull/7/merge", pull("mallory/jobs"), Decision("plan", 7, fork=True)),
        ("auto", "pull_request", "refs/pull/7/merge", pull(None), Decision("plan", 7, fork=True)),
        ("auto", "pull_request", "refs/pull/7/merge", pull(action="closed"), Decision("closed", 7)),
        ("apply", "pull_request", "refs/pull/7/merge", pull(action="closed"), Decision("closed", 7)),
        ("auto", "push", "refs/heads/trunk", {"repository": REPOSITORY}, Decision("apply")),
        ("auto", "push", "refs/heads/main", {"repository": REPOSITORY}, Decision("plan")),
        ("auto", "push", "refs/tags/trunk", {"repository": REPOSITORY}, Decision("plan")),
        ("auto", "workflow_dispatch", "refs/heads/trunk", {"repository": REPOSITORY}, Decision("plan")),
        ("auto", "merge_group", "refs/heads/trunk", {}, Decision("plan")),
        ("apply", "workflow_dispatch", "refs/heads/trunk", {}, Decision("apply")),
        ("validate", "push", "refs/heads/trunk", {"repository": REPOSITORY}, Decision("validate")),
        ("auto", "push", "refs/heads/None", {"repository": "a text", "pull_request": []}, Decision("plan")),
    ],
)
def test_what_is_done_about_an_event(
    asked: str, name: str, ref: str, event: dict[str, Any], decision: Decision
) -> None:
    assert decide(asked, name, ref, event) == decision


def test_pull_request_target_and_unknown_commands_are_refused() -> None:
    with pytest.raises(UsageError, match="pull_request_target"):
        decide("plan", "pull_request_target", "refs/heads/trunk", pull())
    with pytest.raises(UsageError, match="'destroy'"):
        decide("destroy", "push", "refs/heads/trunk", {})


@pytest.mark.parametrize(
    ("source", "branch", "mode"),
    [
        ("merge_request_event", "", "plan"),
        ("push", "main", "apply"),
        ("push", "topic", "plan"),
        ("schedule", "", "plan"),
    ],
)
def test_what_is_done_on_gitlab(source: str, branch: str, mode: str) -> None:
    assert decide_on_gitlab(source, "7", False, branch, "main").mode == mode


def test_extra_arguments_are_words_and_nothing_else() -> None:
    assert extra_arguments("--prune --target 'a  $(b)' \"`c`\"") == ["--prune", "--target", "a  $(b)", "`c`"]
    assert extra_arguments("a;b && c | d > e *\n~") == ["a;b", "&&", "c", "|", "d", ">", "e", "*", "~"]
    for refused in ("--format=json", "--out x", "-C /", "'open"):
        with pytest.raises(UsageError):
            extra_arguments(refused)
