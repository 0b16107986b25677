"""How much one apply may submit and cancel: limits by count or by percentage, and the refusal of a plan beyond them.

Pure. A percentage of a few jobs says nothing, so it never allows fewer than `FLOOR`; a count means what it says.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

from pydantic import BaseModel, ConfigDict, Field

from reconciler.text import one_line, plural

Guard: TypeAlias = Literal["max_submissions", "max_cancellations"]
GUARDS: tuple[Guard, ...] = get_args(Guard)
FLOOR = 10
"""Jobs that a percentage always allows."""

LIMIT = r"^(none|[0-9]{1,9}|[1-9][0-9]{0,3}%)$"
"""How a limit is written."""
_NAMED = 5  # jobs that a refusal names
_OF: Mapping[Guard, str] = {"max_submissions": "recorded job", "max_cancellations": "job in flight"}
_DOES: Mapping[Guard, str] = {"max_submissions": "submitted", "max_cancellations": "cancelled"}


@dataclass(frozen=True, slots=True)
class Limit:
    """`50` or `20%`."""

    number: int
    percent: bool = False

    def allowed(self, whole: int) -> int:
        """How many jobs it allows where there are `whole`."""
        return max(FLOOR, whole * self.number // 100) if self.percent else self.number

    def __str__(self) -> str:
        return f"{self.number}%" if self.percent else str(self.number)


def parse_limit(text: str) -> Limit | None:
    """A limit as it is written; None for `none`. Raises `ValueError` that says how to write one."""
    if not re.fullmatch(LIMIT, text):
        raise ValueError(f"{text!r} is not a limit; write a count such as 50, a percentage such as 20%, or none")
    if text == "none":
        return None
    return Limit(int(text.removesuffix("%")), text.endswith("%"))


class Refusal(BaseModel):
    """Why apply does not carry out a plan, and what to type to do it all the same."""

    model_config = ConfigDict(frozen=True, defer_build=True)

    guard: Guard
    limit: str = Field(description="As it was written: a count, or a percentage.")
    allowed: int = Field(description="How many jobs the limit allows here.")
    count: int = Field(description="How many jobs it would be.")
    names: tuple[str, ...] = Field(description="The first of these jobs.")
    reason: str
    override: str = Field(description="The command line that does it all the same.")


@dataclass(frozen=True, slots=True)
class Extent:
    """How much a plan does. `whole`: how many jobs there are to take a percentage of."""

    names: Sequence[str]
    whole: int


def refusals(
    limits: Mapping[Guard, Limit], extents: Mapping[Guard, Extent], command: Sequence[str]
) -> tuple[Refusal, ...]:
    """A refusal for each guard that the plan is beyond. `command` is the apply that is refused, as it was typed.

    They share one override: one that only lifts the first would meet the second.
    """
    beyond = [g for g in GUARDS if g in limits and len(extents[g].names) > limits[g].allowed(extents[g].whole)]
    for guard in beyond:
        command = with_option(command, f"--{guard.replace('_', '-')}", str(len(extents[guard].names)))
    return tuple(_refusal(g, limits[g], extents[g], shlex.join(command)) for g in beyond)


def _refusal(guard: Guard, limit: Limit, extent: Extent, override: str) -> Refusal:
    count, allowed = len(extent.names), limit.allowed(extent.whole)
    reason = f"{plural(count, 'job')} would be {_DOES[guard]}, {guard} allows {allowed:,}"
    if limit.percent:
        what = _OF[guard] if extent.whole == 1 else _OF[guard].replace("job", "jobs")
        floor = f", but never fewer than {FLOOR}" if allowed > extent.whole * limit.number // 100 else ""
        reason += f" ({limit} of {extent.whole:,} {what}{floor})"
    more = f" and {count - _NAMED:,} more" if count > _NAMED else ""
    named = ", ".join(one_line(name, 60) for name in extent.names[:_NAMED])
    return Refusal(
        guard=guard,
        limit=str(limit),
        allowed=allowed,
        count=count,
        names=tuple(extent.names[:_NAMED]),
        reason=f"{reason}: {named}{more}",
        override=override,
    )


def with_option(command: Sequence[str], option: str, value: str) -> tuple[str, ...]:
    """`command` with `option` set to `value`, in the place of another value if it has one."""
    parts = tuple(command)
    if option in parts:
        place = parts.index(option) + 1
        return (*parts[:place], value, *parts[place + 1 :])
    return (*parts, option, value)


def with_name(command: Sequence[str], option: str, name: str) -> str:
    """The line to type for `command` with one more `option`, for the job `name`."""
    return shlex.join([*command, f"{option}={name}"] if name.startswith("-") else [*command, option, name])
