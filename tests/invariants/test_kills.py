"""No job lost, no job twice, no state broken: the client is killed at every point, and run again.

The quick part. `make torture` does the same ten thousand times, with faults and several kills in a row.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from typing import Any

import pytest
from trial import Trial

from reconciler.state import read_state

pytestmark = pytest.mark.network

FIRST = {"a": 1, "b": 1, "c": 1}
THEN = {"a": 2, "b": 1, "d": 1}
"""`a` is replaced, `b` is kept, `c` is cancelled and forgotten, `d` is created."""

PLATFORMS: dict[str, dict[str, Any]] = {
    "honours tokens": {"honours": True},
    "ignores tokens": {},
    "lists late": {"lag": 3.0},
    "lists without parameters": {"rows_with_parameters": False},
    "an hour fast": {"skew": 3600.0},
    "an hour slow": {"skew": -3600.0, "lag": 3.0},
}


def prepared(new_trial: Callable[[], Trial], **platform: Any) -> Trial:
    """A trial in which FIRST was applied and THEN is to be."""
    trial = new_trial()
    trial.control.setup(**platform)
    trial.write(FIRST)
    assert trial.run()[0] == 0
    trial.write(THEN)
    return trial


def points(new_trial: Callable[[], Trial], **platform: Any) -> int:
    """How many points an apply of THEN passes when nobody kills it."""
    code, count = prepared(new_trial, **platform).run()
    assert code == 0
    return count


def check(trial: Trial, what: str) -> None:
    """A plain re-run, and then nothing is lost, twice, unreadable, or left to do."""
    assert trial.recover() == 0, what
    verdict = trial.judge()
    assert verdict.kept, f"{what}: {verdict}"
    before = (trial.folder / "state.json").read_bytes()
    made = verdict.created
    assert trial.run()[0] == 0
    assert (trial.folder / "state.json").read_bytes() == before, what
    assert trial.judge().created == made, what


def sweep(new_trial: Callable[[], Trial], step: int, **platform: Any) -> int:
    """Kill at every `step`-th point; how many kills there were."""
    kills = 0
    for at in range(1, points(new_trial, **platform) + 1, step):
        trial = prepared(new_trial, **platform)
        code, _ = trial.run(kill_at=at)
        kills += code == -9
        check(trial, f"killed at point {at}")
    return kills


def test_a_kill_at_any_point_of_an_apply(new_trial: Callable[[], Trial]) -> None:
    assert sweep(new_trial, 3, lag=3.0) > 10


@pytest.mark.slow
@pytest.mark.parametrize("platform", PLATFORMS.values(), ids=PLATFORMS)
def test_a_kill_at_every_point_on_every_platform(new_trial: Callable[[], Trial], platform: dict[str, Any]) -> None:
    assert sweep(new_trial, 1, **platform) > 30


@pytest.mark.slow
def test_a_kill_at_every_point_of_a_first_run(new_trial: Callable[[], Trial]) -> None:
    trial = new_trial()
    trial.write(FIRST)
    _, count = trial.run()
    for at in range(1, count + 1):
        trial = new_trial()
        trial.control.setup(lag=3.0)
        trial.write(FIRST)
        trial.run(kill_at=at)
        check(trial, f"killed at point {at}")


@pytest.mark.slow
@pytest.mark.parametrize("first", [20, 30, 40, 50])
def test_a_second_kill_while_recovering(new_trial: Callable[[], Trial], first: int) -> None:
    """Two crashes in a row, the second at every point of the recovery."""
    trial = prepared(new_trial, lag=2.0)
    trial.run(kill_at=first)
    _, count = trial.run()
    for at in range(1, count + 1):
        trial = prepared(new_trial, lag=2.0)
        trial.run(kill_at=first)
        trial.run(kill_at=at)
        check(trial, f"killed at point {first}, then {at}")


def lost_state(new_trial: Callable[[], Trial]) -> Trial:
    """Three jobs are there, their state was deleted, and two new specs came."""
    trial = new_trial()
    trial.write(FIRST)
    assert trial.run()[0] == 0
    (trial.folder / "state.json").unlink()
    trial.write({**FIRST, "d": 1, "e": 1})
    return trial


def adopt_under_kills(new_trial: Callable[[], Trial], step: int) -> None:
    """What was adopted before the kill and what was not: none of it is submitted again."""
    for at in range(1, lost_state(new_trial).run()[1] + 1, step):
        trial = lost_state(new_trial)
        trial.run(kill_at=at)
        check(trial, f"killed at point {at} while it adopted")
        assert trial.judge().created == 5


def test_a_kill_while_a_lost_state_is_made_good(new_trial: Callable[[], Trial]) -> None:
    adopt_under_kills(new_trial, 7)


@pytest.mark.slow
def test_a_kill_at_every_point_while_a_lost_state_is_made_good(new_trial: Callable[[], Trial]) -> None:
    adopt_under_kills(new_trial, 1)


def renamed(new_trial: Callable[[], Trial]) -> Trial:
    trial = new_trial()
    trial.file = "shared.csv"
    trial.write({"a": 1, "b": 2})
    assert trial.run()[0] == 0
    trial.write({"z": 1, "b": 2})
    return trial


@pytest.mark.slow
def test_a_kill_at_every_point_of_a_rename(new_trial: Callable[[], Trial]) -> None:
    """The job goes to the new name, and nothing is submitted."""
    for at in range(1, renamed(new_trial).run()[1] + 1):
        trial = renamed(new_trial)
        trial.run(kill_at=at)
        assert trial.recover() == 0
        state = read_state(trial.folder / "state.json")
        assert state is not None
        assert sorted(state.jobs) == ["b", "z"], f"killed at point {at}"
        assert len(trial.control.truth()["jobs"]) == 2, f"killed at point {at}"


def chained(new_trial: Callable[[], Trial], **platform: Any) -> Trial:
    """`a` has COMPLETED; `b` takes what it made, and `c` takes what `b` makes."""
    trial = new_trial()
    trial.control.setup(**platform)
    trial.chain = {"b": "a", "c": "b"}
    trial.write({"a": 1})
    assert trial.run()[0] == 0
    (job_id,) = trial.control.truth()["jobs"]
    trial.control.call("control/event", id=job_id, status="COMPLETED")
    trial.write({"a": 1, "b": 1, "c": 1})
    return trial


def chain_under_kills(new_trial: Callable[[], Trial], step: int, **platform: Any) -> None:
    for at in range(1, chained(new_trial, **platform).run()[1] + 1, step):
        trial = chained(new_trial, **platform)
        trial.run(kill_at=at)
        assert trial.recover() == 0
        jobs = trial.control.truth()["jobs"]
        assert sorted(job["name"] for job in jobs.values()) == ["a", "b"], f"killed at point {at}: c must wait for b"
        second = next(i for i, job in jobs.items() if job["name"] == "b")
        trial.control.call("control/event", id=second, status="COMPLETED")
        check(trial, f"killed at point {at}")


def test_a_kill_at_any_point_of_a_chain(new_trial: Callable[[], Trial]) -> None:
    chain_under_kills(new_trial, 5, lag=3.0)


@pytest.mark.slow
@pytest.mark.parametrize("platform", PLATFORMS.values(), ids=PLATFORMS)
def test_a_kill_at_every_point_of_a_chain(new_trial: Callable[[], Trial], platform: dict[str, Any]) -> None:
    chain_under_kills(new_trial, 1, **platform)


@pytest.mark.slow
@pytest.mark.parametrize("platform", PLATFORMS.values(), ids=PLATFORMS)
def test_a_kill_at_every_point_while_a_job_gets_another_name_and_content(
    new_trial: Callable[[], Trial], platform: dict[str, Any]
) -> None:
    def renamed_and_changed() -> Trial:
        trial = new_trial()
        trial.control.setup(**platform)
        trial.write({"a": 1})
        assert trial.run()[0] == 0
        trial.write({"a": 2})
        assert trial.run()[0] == 0
        trial.moved = {"z": "a"}
        trial.write({"z": 3})
        return trial

    for at in range(1, renamed_and_changed().run()[1] + 1):
        trial = renamed_and_changed()
        trial.run(kill_at=at)
        check(trial, f"killed at point {at}")
        state = read_state(trial.folder / "state.json")
        assert state is not None
        assert [past.status for past in state.jobs["z"].history] == ["CANCELLED", "CANCELLED"]


# A platform that does a job and answers 429 breaks the one promise that 429 makes: that is not among them.
FAULTS = [
    f"{when}:{what}" for when in ("before", "after") for what in ("500", "502", "503", "504", "408", "drop", "garbage")
]


@pytest.mark.slow
@pytest.mark.parametrize("fault", [*FAULTS, "before:429", "before:400"])
def test_a_fault_at_every_request(new_trial: Callable[[], Trial], fault: str) -> None:
    """Before the platform handles a request, or after: then it is done, and the answer lies about it."""
    trial = prepared(new_trial, lag=3.0)
    trial.control.setup()
    trial.run()
    for number in range(1, trial.control.truth()["requests"] + 1):
        trial = prepared(new_trial, lag=3.0)
        trial.control.setup(faults={str(number): fault})
        trial.run()
        check(trial, f"request {number}: {fault}")


def test_a_platform_that_cannot_list_is_never_sent_a_second_post(new_trial: Callable[[], Trial]) -> None:
    trial = new_trial()
    trial.write({"a": 1})
    trial.control.setup(can_list=True)
    assert trial.run()[0] == 0
    trial.write({"a": 2})
    trial.control.setup(can_list=False, faults={"7": "after:504"})  # the POST
    for _ in range(3):
        code, _ = trial.run()
        assert code == 6
        trial.control.setup(can_list=False, faults={})
    assert trial.judge().created == 2
    trial.control.setup(can_list=True)
    check(trial, "listing works again")


DISK_ERRORS = {"full": errno.ENOSPC, "broken": errno.EIO, "read-only": errno.EROFS}


def fail_the_disk(new_trial: Callable[[], Trial], error: int, step: int) -> None:
    """From every `step`-th point on nothing can be written any more; then it can again."""
    for at in range(1, points(new_trial) + 1, step):
        trial = prepared(new_trial, lag=3.0)
        before = (trial.folder / "state.json").read_bytes()
        code, _ = trial.run(kill_at=at, error=error)
        what = f"{os.strerror(error)} from point {at} on"
        assert code in (0, 1, 6), f"{what}: exit code {code}"
        assert (trial.folder / "state.json").exists(), what
        if code and (trial.folder / "state.json").read_bytes() == before:
            assert (trial.folder / "state.journal").exists() or trial.judge().created == len(FIRST), what
        check(trial, what)


def test_a_disk_that_fails_from_any_point_on(new_trial: Callable[[], Trial]) -> None:
    fail_the_disk(new_trial, errno.ENOSPC, 6)


@pytest.mark.slow
@pytest.mark.parametrize("error", DISK_ERRORS.values(), ids=DISK_ERRORS)
def test_a_disk_that_fails_from_every_point_on(new_trial: Callable[[], Trial], error: int) -> None:
    fail_the_disk(new_trial, error, 1)


def test_a_disk_that_is_full_from_the_start_submits_nothing(new_trial: Callable[[], Trial]) -> None:
    trial = new_trial()
    trial.write(FIRST)
    assert trial.run(kill_at=1, error=errno.ENOSPC)[0] == 1
    assert trial.judge().created == 0
    check(trial, "there is room again")
