"""A Slurm cluster for each module that names this one in `pytest_plugins`, and a service on it for each test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster import Cluster, started
from slurmtrial import Trial, trial


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with started(tmp_path_factory.mktemp("cluster")) as running:
        yield running


@pytest.fixture
def service(tmp_path: Path, cluster: Cluster) -> Iterator[Trial]:
    with trial(tmp_path, cluster) as made:
        yield made
