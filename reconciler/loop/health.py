"""How the loop is, for whoever asks: the main thread writes it, the thread of the web server reads it."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from reconciler.job import timestamp
from reconciler.loop.rounds import WORKED, Round

_WHY = {
    "refused": "a guard refuses the plan",
    "invalid": "the specs are invalid",
    "fetch_failed": "the repository cannot be fetched",
    "unavailable": "the platform does not answer",
    "denied": "the platform refuses the API key, or what it asks for",
    "error": "the last round failed",
    "standby": "another loop leads",
}


@dataclass(slots=True)
class Health:
    """`hung_after`: seconds without any progress after which the loop counts as hung."""

    hung_after: float
    clock: Callable[[], float] = time.monotonic
    last: Round | None = None
    """The last round that said something: one that found the state locked did not."""
    _good_until: float = field(init=False)

    def __post_init__(self) -> None:
        self.beat()

    def beat(self, seconds: float = 0.0) -> None:
        """Something has moved; the next sign of life comes after `seconds`."""
        self._good_until = self.clock() + seconds + self.hung_after

    def heard(self, made: Round) -> None:
        """A round is over."""
        if made.result not in ("locked", "interrupted"):
            self.last = made
        self.beat()

    def alive(self) -> bool:
        """Whether the loop moves. One that does not is to be started anew."""
        return self.clock() <= self._good_until

    def reasons(self) -> list[str]:
        """Why the loop does not do its work; none when it does. They name no job and no file."""
        reasons = [] if self.alive() else ["no progress for too long"]
        if self.last is None:
            return [*reasons, "no round is over yet"]
        if self.last.result not in WORKED:
            reasons.append(_WHY.get(self.last.result, self.last.result))
        return reasons

    def document(self) -> dict[str, Any]:
        """What `/readyz` answers."""
        last, reasons = self.last, self.reasons()
        told = None
        if last is not None:
            ended = timestamp(last.ended) if last.ended else None
            told = {"number": last.number, "result": last.result, "ended": ended, "commit": last.commit}
        return {"ready": not reasons, "reasons": reasons, "last_round": told}
