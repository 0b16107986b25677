"""Where the work of jobs runs: what the service asks of an engine, whichever it is.

The service decides what is run and what it has led to; an engine gives it a place to run. All calls are idempotent:
whoever does not know whether a call was carried out makes it again. What work says is not the engine's affair: each
index writes its lines into a file in a folder that both sides see, and the service reads them there, also when the
engine, or the service, was away meanwhile.

A place has a marker, a name that no other place ever has. A place that has been given up is never used again.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

from reconciler.service.definition import Resources
from reconciler.service.engines.tasks import Task


@dataclass(frozen=True, slots=True)
class Work:
    """What a place is for: `indexes` processes at the same time. `folder` is the place's own, and seen where it works.

    `name` is for people. `tasks` is empty until the work may begin, then one an index, prepared.
    """

    name: str
    folder: Path
    indexes: int
    resources: Resources
    priority: int = 0
    timeout: float | None = None  # seconds; after that it may be ended by the engine, too
    tasks: tuple[Task, ...] = ()


@dataclass(frozen=True, slots=True)
class Handle:
    """A place: its marker, and what the engine calls it. An engine may use an `id` again, never a marker."""

    marker: str
    id: str = ""


class Phase(StrEnum):
    """How far a place is."""

    WAITING = "waiting"  # in a queue of the engine's
    READY = "ready"  # it has room, and waits to be told that it may begin
    WORKING = "working"
    ENDED = "ended"  # nothing begins there any more; `Record.ending` says why


class How(StrEnum):
    """Why a place ended before its work did."""

    PREEMPTED = "preempted"  # something more urgent needed the room
    CANCELLED = "cancelled"  # somebody asked the engine to, and it was not the service
    FAILED = "failed"  # it broke a limit, or cannot be started
    LOST = "lost"  # a machine or a process of the engine's died


NOT_STARTED = "not_started"  # the code of an ending: the place had room, and nothing could be started there


@dataclass(frozen=True, slots=True)
class Ending:
    """How a place ended, and the error of a job that fails of it."""

    how: How
    error: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Record:
    """What an engine knows of a place. `exits`: the exit status of each index that has ended by itself, negative for
    a signal. What an index wrote before is in its file when the status is here.
    """

    phase: Phase
    exits: Mapping[int, int] = field(default_factory=dict)
    ending: Ending | None = None


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What an engine can do. `slots`: indexes that can work at the same time, if nobody else takes room."""

    name: str
    slots: int
    queues: bool  # it has a queue, and preempts by priority itself; else the service does
    outlives: bool  # work goes on while the service is away
    look: float  # seconds between two looks at what work has written


class EngineUnavailable(Exception):
    """The engine gave no answer. Whether it did what it was asked is not known: ask again."""


class WorkRefused(Exception):
    """The engine will never do this work; `error` is what the job shows."""

    def __init__(self, error: dict[str, Any]) -> None:
        super().__init__(error["message"])
        self.error = error


class Engine(Protocol):
    """The five calls. A call may raise `EngineUnavailable`."""

    async def ensure(self, marker: str, attempt: int | None, work: Work) -> Handle:
        """There is a place with the marker for the work. With `attempt` it may begin, as that attempt, with
        `work.tasks`. It begins once, however often this is called. Raises `WorkRefused`.
        """

    async def find(self, marker: str) -> list[Handle]:
        """The places whose marker is `marker`, or all with "", that this service has not given up or that the engine
        has not yet let go of.
        """

    async def observe(self, handles: Sequence[Handle], patience: float = 0) -> dict[Handle, Record]:
        """How far the places are. Waits for at most `patience` seconds, if it has nothing new to tell before."""

    async def cancel(self, handle: Handle, *, asked: bool = False) -> None:
        """Give the place up. When this returns nothing works there any more, and nothing ever will. `asked`: its user
        did not want it any more; an engine that keeps a record of its own says so there.
        """

    def capabilities(self) -> Capabilities:
        """What it can do, as it is now."""
