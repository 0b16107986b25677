"""Errors and diagnostics: what went wrong, where, and what to do next.

Faults of the input are collected as `Diagnostic` values and shown together. Everything else is raised as a
`ReconcilerError`, whose class decides the exit code. Only the command line prints them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Literal


class ExitCode(IntEnum):
    """What the process ends with. Any code that is not in this table is a failure."""

    OK = 0
    FAILED = 1
    CHANGES = 2
    INVALID = 3
    JOBS_FAILED = 4
    TRY_LATER = 5
    UNKNOWN = 6
    USAGE = 64
    BUG = 70
    SIGINT = 130
    SIGTERM = 143


@dataclass(frozen=True, slots=True, order=True)
class Location:
    """A place in a file. Lines and columns count from 1; 0 means the whole file."""

    path: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        if not self.line:
            return self.path
        return f"{self.path}:{self.line}:{self.column}" if self.column else f"{self.path}:{self.line}"


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """A message about input. `code` is stable and kebab-case; `summary` is one line."""

    code: str
    summary: str
    location: Location | None = None
    severity: Literal["error", "warning"] = "error"
    detail: str | None = None
    hint: str | None = None


class ReconcilerError(Exception):
    """What happened (`message`, and a line each, `details`) and what to do next (`hint`)."""

    exit_code = ExitCode.FAILED

    def __init__(self, message: str, hint: str | None = None, details: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.details = tuple(details)


class UsageError(ReconcilerError):
    """The command line, the environment or `reconciler.yaml` asks for something that cannot be."""

    exit_code = ExitCode.USAGE


class SpecError(ReconcilerError):
    """The specs are invalid; `diagnostics` holds every fault that was found."""

    exit_code = ExitCode.INVALID

    def __init__(self, diagnostics: Sequence[Diagnostic]) -> None:
        count = sum(d.severity == "error" for d in diagnostics)
        super().__init__(f"{count} {'error' if count == 1 else 'errors'}")
        self.diagnostics = tuple(diagnostics)


class PlanRefused(ReconcilerError):
    """A plan that cannot be made, or cannot be carried out as it is."""


class StateError(ReconcilerError):
    """The state file or its journal cannot be used as it is. Nothing was changed."""


class StateLocked(StateError):
    """Another process holds the lock of the state, or has taken it over."""

    exit_code = ExitCode.TRY_LATER


class StateUnavailable(StateError):
    """The place of a shared state could not be reached, or gave no usable answer."""

    exit_code = ExitCode.TRY_LATER


class PlatformError(ReconcilerError):
    """The platform refused a request. `status` is the HTTP status, when there was one."""

    def __init__(
        self, message: str, hint: str | None = None, *, status: int | None = None, code: str | None = None
    ) -> None:
        super().__init__(message, hint)
        self.status = status
        self.code = code


class KeyRefused(PlatformError):
    """The platform refuses the key, or does not let it do what was asked for: HTTP 401 or 403."""


class PlatformUnavailable(PlatformError):
    """The platform could not be reached, or asked for patience for longer than we have."""

    exit_code = ExitCode.TRY_LATER


class TimedOut(ReconcilerError):
    """The time that we were given is over; what was waited for goes on."""

    exit_code = ExitCode.TRY_LATER


class Interrupted(ReconcilerError):
    """A signal asked us to stop; the state is consistent."""

    def __init__(self, signal_number: int) -> None:
        super().__init__("stopped by a signal; the state is consistent", "run the command again to go on")
        # SIGHUP, a terminal that went away, ends a run as SIGTERM does.
        self.exit_code = ExitCode.SIGINT if signal_number == 2 else ExitCode.SIGTERM
