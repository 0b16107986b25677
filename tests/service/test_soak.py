"""The short version of `make soak`."""

from __future__ import annotations

from pathlib import Path

import pytest
from soak import Soak


@pytest.mark.slow
@pytest.mark.network
def test_a_quarter_of_a_simulated_hour(tmp_path: Path) -> None:
    soak = Soak(tmp_path, seed=1)
    soak.run(900)
    assert not soak.violations, soak.summary()
    assert soak.counts["transitions"] > 100
