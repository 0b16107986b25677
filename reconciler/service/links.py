"""Links to content that work for a while: an id and an expiry, signed."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from datetime import datetime, timedelta

from reconciler.service.clock import Clock, stamp
from reconciler.service.errors import refuse

LIFETIME = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Signed:
    """A query string that says until when something is allowed, and that it was said here."""

    query: str
    expires_at: str


@dataclass(frozen=True, slots=True)
class Link:
    """`ref` is relative to the base of the API and begins with `/`."""

    ref: str
    expires_at: str


class Links:
    """Makes and checks links with one secret."""

    def __init__(self, secret: str, clock: Clock) -> None:
        self._secret = secret.encode()
        self._clock = clock

    def make(self, content_id: str) -> Link:
        """A link to the content that works for `LIFETIME`."""
        signed = self.sign(content_id)
        return Link(f"/batch/contents/{content_id}?{signed.query}", signed.expires_at)

    def sign(self, subject: str) -> Signed:
        """Allow `subject` for `LIFETIME`."""
        expiry = self._clock() + LIFETIME
        seconds = int(expiry.timestamp())
        query = f"expires={seconds}&signature={self._signature(subject, seconds)}"
        return Signed(query, stamp(datetime.fromtimestamp(seconds, expiry.tzinfo)))

    def check(
        self,
        subject: str,
        expires: int,
        signature: str,
        *,
        suggestion: str = "list the outputs again for a fresh link",
    ) -> None:
        """Raises `ApiError` 403 for what was not signed here or has expired; then the `suggestion` helps."""
        if not hmac.compare_digest(self._signature(subject, expires).encode(), signature.encode()):
            raise refuse(403, "invalid_signature", "the link was not made by this service")
        if self._clock().timestamp() >= expires:
            raise refuse(403, "link_expired", "the link has expired", suggestion)

    def _signature(self, subject: str, expires: int) -> str:
        return hmac.new(self._secret, f"{subject}\n{expires}".encode(), hashlib.sha256).hexdigest()
