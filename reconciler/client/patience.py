"""The one policy of what is sent again, when, and how often, on `tenacity`.

Pauses have full jitter, so that many requests do not come back in step; a `Retry-After` is honoured. Patience ends with
the seconds that one request may wait, in pauses and for answers that do not come, and with the retries that all
requests share: when a platform is down, ten thousand jobs must not each find it out for themselves.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import tenacity

T = TypeVar("T")
FIRST_PAUSE, LONGEST_PAUSE = 0.5, 30.0
"""Seconds. The n-th pause is between 0 and 2^n times the first one, and never longer than the longest."""
_SILENT = 5.0
"""Seconds that a request is waited for before anything is said of it."""
_TELL_AGAIN = timedelta(seconds=30)


async def _sleep(seconds: float) -> None:
    import asyncio

    await asyncio.sleep(seconds)


@dataclass(frozen=True, slots=True)
class Timing:
    """How long to be patient, and the clock to be patient by. `budget`: seconds that one request may wait in all."""

    budget: float = 60.0
    sleep: Callable[[float], Awaitable[None]] = _sleep
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    tell: Callable[[str], None] = lambda text: None
    """Hears that it is waited."""


@dataclass(slots=True)
class Retries:
    """The retries that all requests share: some to begin with, and one more for every few answers that were usable."""

    left: float = 160.0
    most: float = 160.0
    earned: float = field(default=0.2)
    told_at: datetime | None = None

    def take(self) -> bool:
        """Whether one more retry is allowed; it is used up."""
        if self.left < 1:
            return False
        self.left -= 1
        return True

    def tell(self, timing: Timing) -> None:
        """Say that the platform is waited for, once for all requests, and not too often."""
        now = timing.now()
        if self.told_at is None or now - self.told_at >= _TELL_AGAIN:
            self.told_at = now
            timing.tell(f"The platform does not answer as it should; trying again, for {timing.budget:g} s a request")

    def earn(self) -> None:
        """An answer was usable."""
        self.left = min(self.most, self.left + self.earned)


@dataclass(frozen=True, slots=True)
class Patience:
    """Runs attempts until one need not be made again."""

    timing: Timing
    retries: Retries

    async def until_done(
        self,
        attempt: Callable[[], Awaitable[T]],
        *,
        again: Callable[[T], bool],
        again_after: tuple[type[Exception], ...],
        asked: Callable[[T], float | None],
    ) -> T:
        """The first result that is not `again`, or the last one when patience is over; an exception likewise.

        `asked`: the seconds that a result asks to wait, if it does.
        """
        import tenacity

        unanswered = 0.0

        def over(state: tenacity.RetryCallState) -> bool:
            waited = state.idle_for + unanswered
            if waited + state.upcoming_sleep > self.timing.budget or not self.retries.take():
                return True
            if waited >= _SILENT:
                self.retries.tell(self.timing)
            return False

        retrying = tenacity.AsyncRetrying(
            sleep=self.timing.sleep,
            wait=_pauses(asked),
            stop=over,
            retry=tenacity.retry_if_exception_type(again_after) | tenacity.retry_if_result(again),
            retry_error_callback=lambda state: state.outcome.result() if state.outcome else None,
        )

        async def call() -> T:  # tenacity awaits coroutine functions, and a lambda is none
            nonlocal unanswered
            try:
                return await attempt()
            except again_after as error:
                unanswered += getattr(error, "seconds", 0.0)
                raise

        result: T = await retrying(call)
        if not again(result):
            self.retries.earn()
        return result


def _pauses(asked: Callable[[T], float | None]) -> Callable[[tenacity.RetryCallState], float]:
    """The seconds before each retry."""
    from tenacity.wait import wait_random_exponential

    jitter = wait_random_exponential(multiplier=FIRST_PAUSE, max=LONGEST_PAUSE)

    def wait(state: tenacity.RetryCallState) -> float:
        seconds = None
        if state.outcome is not None and not state.outcome.failed:
            seconds = asked(state.outcome.result())
        # "At once" is not followed to the letter: what counts is seconds waited, so it would last for ever.
        return seconds if seconds is not None and seconds >= 1 else jitter(state)

    return wait
