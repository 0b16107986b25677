"""How many requests a key may make."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from reconciler.service.errors import refuse
from reconciler.service.middleware import error_response

_MOST = 1024  # buckets before those that are full again are dropped: a full bucket is as good as none


@dataclass(slots=True)
class _Bucket:
    tokens: float
    at: float


class Buckets:
    """A token bucket for each caller: `rate` a second on average, and as many at once as come together in a second."""

    def __init__(self, rate: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = rate
        self._burst = max(1.0, rate)
        self._clock = clock
        self._buckets: dict[str, _Bucket] = {}

    def take(self, who: str) -> float:
        """0, and one token is gone; or the seconds until there is one."""
        now = self._clock()
        if len(self._buckets) >= _MOST and who not in self._buckets:
            self._buckets = {name: each for name, each in self._buckets.items() if self._level(each, now) < self._burst}
        bucket = self._buckets.setdefault(who, _Bucket(self._burst, now))
        bucket.tokens, bucket.at = self._level(bucket, now), now
        if bucket.tokens >= 1:
            bucket.tokens -= 1
            return 0.0
        return (1 - bucket.tokens) / self._rate

    def _level(self, bucket: _Bucket, now: float) -> float:
        return min(self._burst, bucket.tokens + (now - bucket.at) * self._rate)


class RateLimit:
    """Answers 429 to a key that asks too often. Stands behind the check of keys, so that only good ones count."""

    def __init__(self, app: ASGIApp, *, buckets: Buckets, exempt: frozenset[str]) -> None:
        self._app = app
        self._buckets = buckets
        self._exempt = exempt

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        wait = 0.0
        if scope["type"] == "http" and scope["path"] not in self._exempt:
            wait = self._buckets.take(_caller(Headers(scope=scope)))
        if wait == 0:
            await self._app(scope, receive, send)
            return
        seconds = max(1, math.ceil(wait))
        error = refuse(
            429, "rate_limited", "this key makes too many requests", f"wait {seconds} s", retry_after=seconds
        )
        await error_response(error)(scope, receive, send)


def _caller(headers: Headers) -> str:
    """A digest of the key, however the header was written: keys themselves are not kept."""
    key = headers.get("authorization", "").partition(" ")[2].strip()
    return hashlib.sha256(key.encode()).hexdigest()
