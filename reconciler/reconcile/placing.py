"""What a plan says of the place of the state: who has its lock, and whether its jobs are where all can find them."""

from __future__ import annotations

from reconciler.connect import LOCAL
from reconciler.reconcile.settings import Settings


def holder_note(holder: str) -> str:
    """That a run works on the state, or was killed; `holder` says which."""
    behind = "this plan may be behind; an apply settles what was cut off"
    return f"{holder} has the lock of the state, or was cut off with it: {behind}"


def one_machine(settings: Settings) -> tuple[str, ...]:
    """A warning where machines share a state, and each has a platform of its own."""
    if settings.address is None or settings.endpoint != LOCAL:
        return ()
    gone = f"the jobs of endpoint local are on this machine only, and others find them gone in {settings.address}"
    return (f"{gone}; let them share a platform as well, the vendor's or a 'reconciler serve'",)
