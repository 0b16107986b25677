"""The short versions of `make torture-served`: racing runners and a real service, all of which are killed."""

from __future__ import annotations

import pytest
from torture_served import torture

pytestmark = pytest.mark.network


@pytest.mark.slow
def test_three_runners_at_once_and_a_service_that_die_at_random() -> None:
    assert torture(rounds=2, seed=1) == 0


@pytest.mark.slurm
def test_three_runners_at_once_and_a_service_on_a_cluster_that_die_at_random() -> None:
    assert torture(rounds=1, seed=2, where="slurm") == 0
