"""Which of several loops on one state leads: the one that holds a lock beside the state, for as long as it lives.

It is another lock than the one of the state, which a round takes as `apply` does and gives back: between two rounds
people may cancel, import or apply by hand. A loop that follows cannot get in between, for it does not lead.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

from reconciler.errors import StateError, StateLocked
from reconciler.lock import locked


class Standby(StateLocked):
    """Another loop leads; `message` says which."""


class Leadership:
    """The lock that this loop leads by, while it has it."""

    def __init__(self, command: str) -> None:
        self._command = command
        self._held: contextlib.ExitStack | None = None
        self._check: Callable[[], None] = lambda: None
        self.path: Path | None = None
        """The lock that it has, or tries to get."""

    @property
    def held(self) -> bool:
        """Whether this loop leads."""
        return self._held is not None

    def take(self, path: Path) -> None:
        """Lead by the lock at `path`, and by no other. Raises `Standby` when another loop does, and `StateError`."""
        path = path.absolute()
        if self.held and path == self.path:
            try:
                self._check()
            except StateError:
                self.release()  # somebody removed the file: whoever made it anew may lead by now
            else:
                return
        self.release()
        self.path = path
        stack = contextlib.ExitStack()
        try:
            self._check = stack.enter_context(locked(path, self._command))
        except StateLocked as error:
            who = error.message.removeprefix("the state is locked by ")
            raise Standby(f"another loop leads: {who}", error.hint) from error
        self._held = stack

    def release(self) -> None:
        """Lead no longer."""
        if self._held is not None:
            self._held.close()
            self._held = None
