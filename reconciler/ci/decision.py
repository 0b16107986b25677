"""What a run on GitHub is to do: pure, from the event that started it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from reconciler.errors import UsageError
from reconciler.job import JsonObject

Mode: TypeAlias = Literal["validate", "plan", "apply", "closed"]
COMMANDS = ("auto", "validate", "plan", "apply")


@dataclass(frozen=True, slots=True)
class Decision:
    """`mode`: what to do, `closed` for a pull request that has ended. `fork`: its branch is in another repository."""

    mode: Mode
    pull_request: int | None = None
    fork: bool = False


def decide(asked: str, event_name: str, ref: str, event: JsonObject) -> Decision:
    """What to do about an event. Raises `UsageError` for what must not be done, or is no command.

    On its own it plans on pull requests, applies on a push to the default branch, and plans on anything else.
    """
    if asked not in COMMANDS:
        raise UsageError(f"the input 'command' is {asked!r}", f"it is one of {', '.join(COMMANDS)}")
    if event_name == "pull_request_target":
        raise UsageError(
            "the workflow runs on pull_request_target: specs of a stranger would be read with your key and token",
            "use 'on: pull_request'; without a key the plan goes to the summary of the run",
        )
    pull = _object(event.get("pull_request"))
    number = pull.get("number") if event_name == "pull_request" else None
    number = number if type(number) is int else None
    fork = number is not None and _elsewhere(pull, event)
    if number is not None and event.get("action") == "closed":
        return Decision("closed", number, fork)
    if asked != "auto":
        return Decision(asked, number, fork)  # type: ignore[arg-type]
    default = _object(event.get("repository")).get("default_branch")
    if event_name == "push" and isinstance(default, str) and ref == f"refs/heads/{default}":
        return Decision("apply")
    return Decision("plan", number, fork)


def decide_on_gitlab(source: str, merge_request: str, elsewhere: bool, branch: str, default: str) -> Decision:  # noqa: FBT001
    """What a pipeline is to do: plan for a merge request, apply on the default branch, and plan on anything else."""
    if source == "merge_request_event":
        return Decision("plan", int(merge_request), elsewhere)
    return Decision("apply" if branch and branch == default else "plan")


def _elsewhere(pull: dict[str, Any], event: JsonObject) -> bool:
    """Whether the branch is in another repository, which may be gone already."""
    head = _object(_object(pull.get("head")).get("repo")).get("full_name")
    return bool(head != _object(event.get("repository")).get("full_name"))


def _object(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}
