"""The platform that knows the truth, for the length of a test session."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from harness import scratch, start_platform
from trial import Control, Trial

_COUNTER = itertools.count(1)


@pytest.fixture(scope="session")
def platform_port() -> Iterator[int]:
    """The port of the stand-in."""
    with tempfile.TemporaryDirectory(dir=scratch()) as folder:
        process, port = start_platform(Path(folder))
        yield port
        process.kill()
        process.wait()


@pytest.fixture
def new_trial(platform_port: int) -> Iterator[Callable[[], Trial]]:
    """Makes trials; all are removed afterwards."""
    trials: list[Trial] = []
    with tempfile.TemporaryDirectory(dir=scratch()) as folder:

        def make() -> Trial:
            number = next(_COUNTER)
            trials.append(Trial(Path(folder) / str(number), Control(platform_port, str(number))))
            return trials[-1]

        yield make
        for trial in trials:
            trial.close()
