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
        expiry = self._clock() + LIFETIME
        seconds = int(expiry.timestamp())
        signature = self._sign(content_id, seconds)
        ref = f"/batch/contents/{content_id}?expires={seconds}&signature={signature}"
        return Link(ref, stamp(datetime.fromtimestamp(seconds, expiry.tzinfo)))

    def check(self, content_id: str, expires: int, signature: str) -> None:
        """Raises `ApiError` 403 for links that were not made here or have expired."""
        if not hmac.compare_digest(self._sign(content_id, expires).encode(), signature.encode()):
            raise refuse(403, "invalid_signature", "the link was not made by this service")
        if self._clock().timestamp() >= expires:
            raise refuse(403, "link_expired", "the link has expired", "list the outputs again for a fresh link")

    def _sign(self, content_id: str, expires: int) -> str:
        return hmac.new(self._secret, f"{content_id}\n{expires}".encode(), hashlib.sha256).hexdigest()
