"""What became of a request: an answer, or why there is none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from reconciler.client import wire
from reconciler.errors import KeyRefused, PlatformError, PlatformUnavailable

AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Statuses after which the same request may be answered otherwise."""


class _Lost(PlatformUnavailable):
    """There is no answer. `seconds`: how long one was waited for."""

    def __init__(self, message: str, hint: str | None = None, *, seconds: float = 0.0) -> None:
        super().__init__(message, hint)
        self.seconds = seconds


class NotSent(_Lost):
    """The request certainly did not reach the platform."""


class NotAllowed(PlatformUnavailable):
    """The request was not sent, since whoever asked for it has lost the right to act meanwhile."""


class NoAnswer(_Lost):
    """The request may have reached the platform; there is no usable answer."""


@dataclass(frozen=True, slots=True)
class Response:
    """An answer, its body read within limits. `value` is its JSON, or None when it is not JSON."""

    status: int
    headers: Mapping[str, str]
    text: str
    value: Any

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300

    def error(self, what: str) -> PlatformError:
        """The error that this answer is."""
        message, suggestion, code = wire.error_text(self.status, self.text)
        if 300 <= self.status < 400:
            target = wire.host(self.headers.get("location", "")) or "another place"
            message = f"HTTP {self.status}: redirected to {target}"
            suggestion = "redirects are not followed: fix --endpoint"
        elif self.status == 401:
            suggestion = suggestion or "check ATAI_API_KEY: keys belong to one deployment"
        kind = PlatformUnavailable if self.status in AGAIN else PlatformError
        if self.status in (401, 403):
            kind = KeyRefused
        return kind(f"{what}: {message}", suggestion, status=self.status, code=code)
