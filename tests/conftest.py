"""No test talks to anything but this machine, and only if it says so."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import settings

# No test is about time: a busy machine is no failure.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


@pytest.fixture(autouse=True)
def no_network(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    """Refuse connections; with the mark `network`, refuse those that leave this machine."""
    allowed = request.node.get_closest_marker("network") is not None
    connect = socket.socket.connect

    def guarded(self: socket.socket, address: Any) -> None:
        local = self.family == socket.AF_UNIX or str(address[0]) in ("127.0.0.1", "::1", "localhost")
        if not local or (self.family != socket.AF_UNIX and not allowed):
            raise AssertionError(f"a test without the mark 'network' connects to {address!r}")
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", guarded)
    # The environment of who runs the tests is none of theirs.
    for name in ("ATAI_API_KEY", "ATAI_API_ENDPOINT", "RECONCILER_ENDPOINT", "RECONCILER_STATE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RECONCILER_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
    yield
