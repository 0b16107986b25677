"""A register that many machines share: one document that changes by compare-and-swap alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from reconciler.errors import StateError

_WAY_OUT = "give the address of a state that reconciler wrote, or of nothing yet; nothing was changed"


class Lease(BaseModel):
    """Who holds the lock, for people; and `holder`, which nobody else ever has, for us."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    holder: str
    seconds: float = Field(gt=0, le=86_400, description="It is over after this long without a change.")
    renewed: str = Field("", description="When it last changed, by the clock of its holder.")
    pid: int = 0
    host: str = ""
    user: str = ""
    command: str = ""
    since: str = ""
    run: str | None = Field(None, description="The CI run, as an address.")

    def __str__(self) -> str:
        run = f", {self.run}" if self.run else ""
        return f"'{self.command}' of {self.user} on {self.host}, pid {self.pid}, since {self.since}{run}"


class Document(BaseModel):
    """What a register holds. `serial` counts every change of it, and is not that of the state."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    document: Literal[1] = 1
    serial: int = 0
    lease: Lease | None = None
    state: str | None = None
    journal: str = ""
    late: str = Field("", description="What runs that had lost the lock left: journals, one behind the other.")


def encode(document: Document) -> bytes:
    """A document as one JSON object."""
    return document.model_dump_json(indent=1).encode() + b"\n"


def decode(data: bytes, where: str) -> Document:
    """The document whose bytes are `data`. Raises `StateError` for anything else."""
    return validated(lambda: Document.model_validate_json(data), where)


def decode_parts(parts: Mapping[str, Any], where: str) -> Document:
    """The document with these fields, as `decode`."""
    return validated(lambda: Document.model_validate(parts), where)


def validated(make: Callable[[], Document], where: str) -> Document:
    """What `make` makes. Raises `StateError` where it is no document."""
    try:
        return make()
    except ValidationError as error:
        what = error.errors(include_url=False, include_input=False)[0]["msg"]
    except (ValueError, RecursionError) as error:
        what = str(error)
    raise StateError(f"{where} holds no document of reconciler: {what}", _WAY_OUT)


@dataclass(frozen=True, slots=True)
class Found:
    """A document, and the register's own mark of this very version of it; None when there is nothing yet."""

    document: Document
    mark: Any = None


@dataclass(frozen=True, slots=True)
class Limits:
    """Seconds without an answer after which one call gives up: a look, and a change, which a lease must outlive."""

    read: float = 60.0
    write: float = 30.0


def limits(patience: float, lease: float) -> Limits:
    """What `patience` means where a lock lasts for `lease`. Both in seconds."""
    least = max(1.0, patience)
    return Limits(least, min(least, max(10.0, lease / 2)))


class Lost(Exception):
    """The register holds something else than was expected: nothing was changed."""


class Occupied(Exception):
    """The server's own lock is taken; `found` has its mark, `who` what is known of its holder."""

    def __init__(self, found: Found, who: str) -> None:
        super().__init__(who)
        self.found, self.who = found, who


class Unsure(Exception):
    """There was no usable answer: the change may have happened, or may still."""


class Register(Protocol):
    """One place for one document. The text of it is how people write it, without credentials."""

    def read(self) -> Found:
        """What it holds. Raises `StateError`, and `StateUnavailable` when it cannot be asked."""

    def swap(self, found: Found, document: Document, message: str) -> Found:
        """Put `document` in place of `found`, if that is what it still holds; `message` says why, where there is a log.

        Raises `Lost`, `Unsure` or `Occupied`, and `StateError` when it refuses for good.
        """
