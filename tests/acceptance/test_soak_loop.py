"""The short version of `make soak-loop`."""

from __future__ import annotations

from pathlib import Path

import pytest
from soak_loop import Soak


@pytest.mark.slow
@pytest.mark.network
def test_a_busy_minute_of_a_loop_and_a_service_that_are_killed(tmp_path: Path) -> None:
    soak = Soak(tmp_path, seed=3)
    soak.run(60)
    assert not soak.violations, soak.summary()
    assert min(soak.counts[what] for what in ("kill_loop", "kill_service", "force", "spoil")) > 0
    assert soak.counts["jobs"] > 10
