"""The lines that a worker writes. `pipelines/README.md` describes them for those who write workers."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from reconciler.service import strictjson

LONGEST_LINE = 1 << 20  # bytes
_SHOWN = 200  # bytes of a line that is not understood
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


class EventLine(BaseModel):
    """An entry for the job's log."""

    type: Literal["event"]
    level: Literal["INFO", "WARN", "ERROR", "SUCCESS", "FAILED"] = "INFO"
    event_type: str = "info"
    message: str | None = None
    payload: dict[str, Any] = Field(default_factory=dict)
    input_id: str | None = None


class ProgressLine(BaseModel):
    """How far the worker is."""

    type: Literal["progress"]
    kind: str
    step: Annotated[int, Field(ge=0, lt=1 << 63)]
    message: str | None = None
    metrics: dict[str, Any] = Field(default_factory=dict)
    payload: dict[str, Any] = Field(default_factory=dict)
    input_id: str | None = None


class InputLine(BaseModel):
    """A tracked input has reached a status."""

    type: Literal["input"]
    input_id: str
    status: Literal["processing", "completed", "failed"]
    error_message: str | None = None


class OutputLine(BaseModel):
    """A finished file, relative to the worker's output folder."""

    type: Literal["output"]
    port: str
    path: Annotated[str, Field(min_length=1)]
    file_type: str = "application/octet-stream"
    input_id: str | None = None


class ErrorDetail(BaseModel):
    """Why a job failed."""

    code: str
    message: str
    suggestion: str | None = None
    details: dict[str, Any] | None = None


class ErrorLine(BaseModel):
    """The worker gives up."""

    type: Literal["error"]
    error: ErrorDetail


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that is not of the protocol; `reason` says why, `text` is how it began."""

    reason: str
    text: str


class CheckpointLine(BaseModel):
    """A finished checkpoint, relative to the worker's output folder."""

    type: Literal["checkpoint"]
    name: Annotated[str, Field(min_length=1)]
    step: Annotated[int, Field(ge=0, lt=1 << 63)]
    path: Annotated[str, Field(min_length=1)]
    metrics: dict[str, Any] = Field(default_factory=dict)
    file_type: str = "application/octet-stream"


class HeartbeatLine(BaseModel):
    """The worker is alive. Any other line says so too."""

    type: Literal["heartbeat"]


class DoneLine(BaseModel):
    """The worker has done all of its work; nothing after this line counts, nor how the process ends."""

    type: Literal["done"]


Said = EventLine | ProgressLine | InputLine | OutputLine | CheckpointLine | ErrorLine | HeartbeatLine | DoneLine
Line = Said | BadLine

_ADAPTER: TypeAdapter[Said] = TypeAdapter(Annotated[Said, Field(discriminator="type")])


def printable(text: str) -> str:
    """`text` without characters that would move a terminal's cursor; tabs and new lines stay."""
    return _CONTROL.sub("", text)


def parse(raw: bytes) -> Line:
    """What one line says; never raises."""
    try:
        return _ADAPTER.validate_python(strictjson.loads(raw))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"]))
        reason = f"{where}: {first['msg']}" if where else first["msg"]
    except ValueError as error:
        reason = str(error)
    return BadLine(printable(reason), printable(raw[:200].decode("utf-8", "replace")))


class LineSplitter:
    """Cuts a stream into lines. `consumed` counts the bytes of the lines that are complete.

    A line longer than `LONGEST_LINE` is not kept; when it ends it is reported as a `BadLine`.
    """

    def __init__(self) -> None:
        self.consumed = 0
        self._rest = b""
        self._dropped = 0

    def feed(self, chunk: bytes) -> list[Line]:
        """The lines that `chunk` ends; empty ones are left out."""
        *whole, rest = (self._rest + chunk).split(b"\n")
        lines = []
        for raw in whole:
            lines += self._finish(raw)
            self.consumed += len(raw) + self._dropped + 1
            self._dropped = 0
        if len(rest) > LONGEST_LINE:
            self._dropped += len(rest) - _SHOWN
            rest = rest[:_SHOWN]
        self._rest = rest
        return lines

    def end(self) -> list[Line]:
        """The last line, when the stream did not end with a line end."""
        raw, self._rest = self._rest, b""
        self.consumed += len(raw) + self._dropped
        return self._finish(raw)

    def _finish(self, raw: bytes) -> list[Line]:
        if len(raw) + self._dropped > LONGEST_LINE:
            shown = printable(raw[:_SHOWN].decode("utf-8", "replace"))
            return [BadLine(f"the line is longer than {LONGEST_LINE:,} bytes", shown)]
        return [parse(raw)] if raw.strip() else []
