"""«Exactly once» across machines: runners in clones of their own, on every place that they can share, killed and
stopped at every point. Whatever happens, there is one job for each spec, and the record has it.
"""

from __future__ import annotations

import itertools
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from harness import scratch
from shared import KINDS, LEASE, Places, SharedTrial, Striker, new_trial, places, verdict, wait_until_stopped, wake

pytestmark = pytest.mark.network

SPECS = {"a": 1, "b": 1, "c": 1}
THEN = {"a": 2, "b": 1, "d": 1}
_COUNTER = itertools.count(1)


@pytest.fixture(scope="session")
def servers() -> Iterator[Places]:
    with tempfile.TemporaryDirectory(dir=scratch()) as folder, places(Path(folder)) as running:
        yield running


Make = Callable[..., SharedTrial]


@pytest.fixture
def make(servers: Places, platform_port: int) -> Iterator[Make]:
    trials: list[SharedTrial] = []

    def new(kind: str, clones: int = 2, **platform: Any) -> SharedTrial:
        place = servers.new(kind)
        number = f"shared-{next(_COUNTER)}"
        trials.append(new_trial(servers.folder, number, platform_port, place, clones, **platform))
        return trials[-1]

    yield new
    for trial in trials:
        trial.close()


def prepared(make: Make, kind: str, **platform: Any) -> SharedTrial:
    """A trial in which SPECS were applied and THEN are to be."""
    trial = make(kind, **platform)
    trial.write(SPECS)
    assert trial.run()[0] == 0, trial.said()
    trial.write(THEN)
    return trial


@pytest.mark.parametrize("kind", KINDS)
def test_runners_that_apply_the_same_commit_at_once_make_one_job_for_each_spec(make: Make, kind: str) -> None:
    trial = make(kind, clones=3)
    trial.write(SPECS)
    runners = [trial.start(n) for n in range(3)]
    assert [trial.finish(runner) for runner in runners] == [0, 0, 0], trial.said()
    assert trial.judge().created == 3
    assert verdict(trial) is None


def struck(
    make: Make, kind: str, at: int, signal_number: int, *, blind: bool = False, **platform: Any
) -> tuple[SharedTrial, bool]:
    """One runner is killed or stopped at a point; another one applies meanwhile; the first one wakes up again.

    The trial, and whether the first one got so far.
    """
    trial = prepared(make, kind, **platform)
    first = trial.start(0, Striker(at, signal_number, blind=blind))
    if signal_number == signal.SIGKILL:
        return trial, trial.finish(first) == -signal.SIGKILL
    if not wait_until_stopped(first):
        return trial, False
    other = trial.start(1)
    assert trial.finish(other) in (0, 6), trial.said()
    wake(first)
    trial.finish(first)
    return trial, True


def sweep(make: Make, kind: str, signal_number: int, step: int, start: int = 1, **platform: Any) -> int:
    for strikes, at in enumerate(itertools.count(start, step)):
        trial, hit = struck(make, kind, at, signal_number, **platform)
        assert (broken := verdict(trial)) is None, f"point {at}: {broken}"
        trial.close()
        if not hit:
            return strikes
    raise AssertionError


@pytest.mark.slow
def test_a_runner_that_is_killed_loses_and_doubles_nothing(make: Make) -> None:
    assert sweep(make, "terraform", signal.SIGKILL, 5, lag=2.0) > 2


@pytest.mark.slow
def test_a_runner_that_was_stopped_for_longer_than_its_lease_harms_nothing(make: Make) -> None:
    assert sweep(make, "terraform", signal.SIGSTOP, 8, 3, lag=2.0) > 1


@pytest.mark.slow
def test_a_job_that_is_one_too_many_is_cancelled_and_in_the_history(make: Make) -> None:
    """What no look at the lock can prevent: a runner that was stopped within its very request."""
    withdrawn = 0
    for at in itertools.count(15):
        trial, hit = struck(make, "bucket", at, signal.SIGSTOP, blind=True, lag=3.0)
        assert (broken := verdict(trial)) is None, f"point {at}: {broken}"
        trial.judge()
        withdrawn += trial.withdrawn
        trial.close()
        if not hit or withdrawn >= 2:
            break
    assert withdrawn


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("platform", [{"honours": True}, {"lag": 3.0}], ids=["honours tokens", "ignores tokens"])
def test_a_kill_at_every_point(make: Make, kind: str, platform: dict[str, Any]) -> None:
    few = 3 if platform.get("honours") else 1
    assert sweep(make, kind, signal.SIGKILL, 4 * few if kind == "git" else few, **platform) > 5


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_stop_beyond_the_lease_at_every_point(make: Make, kind: str) -> None:
    assert sweep(make, kind, signal.SIGSTOP, 9 if kind == "git" else 4, lag=3.0) > 4


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["git", "bucket", "gitlab"])
def test_a_lock_whose_holder_died_elsewhere_is_taken_over_after_its_lease(make: Make, kind: str) -> None:
    trial = make(kind)
    trial.write(SPECS)
    assert trial.finish(trial.start(0, Striker(14))) == -signal.SIGKILL
    began = time.monotonic()
    assert trial.finish(trial.start(1)) == 0, trial.said()
    assert time.monotonic() - began >= LEASE
    assert verdict(trial) is None


@pytest.mark.slow
def test_three_runners_at_once_that_die_and_sleep_at_random() -> None:
    """The short one; `make torture-shared` is the long one."""
    from torture_shared import torture

    assert torture(rounds=25, seed=int(time.time())) == 0
