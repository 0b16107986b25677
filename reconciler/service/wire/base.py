"""What all bodies and answers have in common."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict
from pydantic_core import PydanticCustomError

PipelineType = Literal["batch", "training"]
InputStatus = Literal["pending", "processing", "completed", "failed", "reference"]
EventLevel = Literal["INFO", "WARN", "ERROR", "SUCCESS", "FAILED"]
Json = dict[str, Any]


def _number(value: Any) -> Any:
    if isinstance(value, bool | str):
        raise PydanticCustomError("int_type", "Input should be a valid integer")
    return value


# As in JSON Schema, 3.0 is an integer; "3" and true are not.
WHOLE = BeforeValidator(_number)


class Request(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Page(BaseModel):
    """What all lists by offset have in common; `limit` is the one that was used."""

    total: int
    offset: int
    limit: int


class DataRef(BaseModel):
    """Where content is. `ref` begins with `/` and is relative to the base of the API; fetch it with the same key."""

    ref: str
    filename: str
    file_type: str
    file_extension: str
    num_bytes: int
    metadata: Json
    file_attributes: Json


class ErrorEntry(BaseModel):
    """One fault."""

    code: str
    message: str
    suggestion: str | None
    error_uid: str


class ErrorEnvelope(BaseModel):
    """Every answer that is not a success."""

    errors: list[ErrorEntry]
