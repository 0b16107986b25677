"""What the service says when it cannot do what it was asked.

`ServiceError` is for whoever starts the service. `ApiError` becomes an answer over HTTP: a status and one or more
faults in the platform's envelope. The platform publishes few error codes; those used here are in lower snake case.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


class ServiceError(Exception):
    """The service cannot start or go on: what happened (`message`, and a line each, `details`) and what to do next."""

    def __init__(self, message: str, hint: str, details: Sequence[str] = ()) -> None:
        super().__init__("\n".join([message, *details]))
        self.message = message
        self.hint = hint
        self.details = tuple(details)


@dataclass(frozen=True, slots=True)
class Fault:
    """One entry of the error envelope, without the id that it gets when it is sent."""

    code: str
    message: str
    suggestion: str | None = None


class ApiError(Exception):
    """An answer that is not a success: HTTP `status` and at least one fault.

    `retry_after`, in whole seconds: when it makes sense to ask again.
    """

    def __init__(self, status: int, faults: Sequence[Fault], retry_after: int | None = None) -> None:
        super().__init__("; ".join(f.message for f in faults))
        self.status = status
        self.faults = tuple(faults)
        self.retry_after = retry_after


def refuse(
    status: int, code: str, message: str, suggestion: str | None = None, *, retry_after: int | None = None
) -> ApiError:
    """An `ApiError` with a single fault."""
    return ApiError(status, [Fault(code, message, suggestion)], retry_after)


def envelope(faults: Sequence[Fault]) -> dict[str, Any]:
    """`{"errors": [{code, message, suggestion, error_uid}]}`; each entry gets an id of its own."""
    return {
        "errors": [
            {
                "code": f.code,
                "message": f.message,
                "suggestion": f.suggestion,
                "error_uid": f"err-{uuid.uuid4()}",
            }
            for f in faults
        ]
    }
