"""`cancel`, `retry`, `state mv`, `state rm` and `import --all`, killed at every point and run again: the record is
whole, and what the person asked for has happened once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from trial import Command, Trial

from reconciler.facts import PlanOptions
from reconciler.job import RecordedJob
from reconciler.reconcile import Applied, Hooks, adopt_all, cancel, forget, move, retry
from reconciler.signals import Stop
from reconciler.state import read_state

pytestmark = pytest.mark.network

SPECS = {"a": 1, "b": 1, "c": 1}
EVERY = pytest.param(1, marks=pytest.mark.slow, id="every point")
SOME = pytest.param(7, id="every seventh point")


@pytest.fixture(params=[SOME, EVERY])
def step(request: pytest.FixtureRequest) -> int:
    return int(request.param)


def applied(new_trial: Callable[[], Trial], status: str | None = None) -> Trial:
    """A trial whose jobs were submitted; with `status` that of `a` has ended so, and nobody has looked since."""
    trial = new_trial()
    trial.write(SPECS)
    assert trial.run()[0] == 0
    if status is not None:
        trial.control.call("control/event", id=records(trial)["a"].job_id, status=status)
    return trial


def records(trial: Trial) -> dict[str, RecordedJob]:
    state = read_state(trial.folder / "state.json")
    assert state is not None
    return state.jobs


def told(trial: Trial) -> dict[str, Any]:
    """The platform's jobs by name; there is one of each."""
    jobs = trial.control.truth()["jobs"].values()
    assert len({job["name"] for job in jobs}) == len(jobs)
    return {job["name"]: job for job in jobs}


def by_hand(trial: Trial, work: Any, *what: Any) -> Command:
    async def command() -> Applied:
        done: Applied = await work(trial.settings, *what, PlanOptions(), Stop(), Hooks())
        return done

    return command


def kills(make: Callable[[], Trial], command: Callable[[Trial], Command], step: int) -> Iterator[tuple[Trial, str]]:
    """Trials in which `command` was killed, at every `step`-th point."""
    trial = make()
    code, count = trial.run(command=command(trial))
    assert code == 0
    assert count > 5
    for at in range(1, count + 1, step):
        trial = make()
        trial.run(kill_at=at, command=command(trial))
        yield trial, f"killed at point {at} of {count}"


def whole(trial: Trial, what: str, names: Sequence[str]) -> dict[str, RecordedJob]:
    """The records, when nothing is left half done: those of `names`, each with a job of its own."""
    assert not (trial.folder / "state.journal").exists(), what
    found = records(trial)
    assert sorted(found) == list(names), what
    assert len({record.job_id for record in found.values()}) == len(names), what
    return found


def test_a_killed_cancel_is_never_undone_by_a_retry_policy(new_trial: Callable[[], Trial], step: int) -> None:
    """The specs allow three attempts: an apply after the kill must not take what was cancelled for a misfortune."""

    def command(trial: Trial) -> Command:
        return by_hand(trial, cancel, [trial.folder / "specs"], ["[ab]"])

    for trial, what in kills(lambda: applied(new_trial), command, step):
        assert trial.run()[0] == 0, what
        assert [job["retry_count"] for job in told(trial).values()] == [0, 0, 0], what
        assert trial.run(command=command(trial))[0] == 0, what
        assert trial.run()[0] == 0, what
        found = whole(trial, what, ["a", "b", "c"])
        assert [r.status for r in found.values()] == ["CANCELLED", "CANCELLED", "PENDING"], what
        assert {n: j["status"] for n, j in told(trial).items()} == {n: r.status for n, r in found.items()}, what


def test_a_killed_retry_runs_the_job_once_more_and_not_twice(new_trial: Callable[[], Trial], step: int) -> None:
    def command(trial: Trial) -> Command:
        return by_hand(trial, retry, [trial.folder / "specs"], ["a"])

    def make() -> Trial:
        trial = applied(new_trial, "FAILED")
        trial.run(
            command=by_hand(trial, cancel, [trial.folder / "specs"], ["a"])
        )  # it looks, and finds that the job has ended
        assert records(trial)["a"].status == "FAILED"
        return trial

    for trial, what in kills(make, command, step):
        assert trial.run(command=command(trial))[0] in (0, 1), what  # refused when it runs again already
        found = whole(trial, what, ["a", "b", "c"])
        assert told(trial)["a"]["retry_count"] == 1, what
        assert found["a"].status == told(trial)["a"]["status"] == "PENDING", what
        assert found["a"].attempts >= 2, what


def test_a_killed_move_leaves_the_record_under_one_name(new_trial: Callable[[], Trial], step: int) -> None:
    def command(trial: Trial) -> Command:
        return by_hand(trial, move, [trial.folder / "specs"], "a", "z")

    for trial, what in kills(lambda: applied(new_trial), command, step):
        assert trial.run(command=command(trial))[0] in (0, 1), what  # refused when it has moved already
        found = whole(trial, what, ["b", "c", "z"])
        assert found["z"].job_id == told(trial)["a"]["id"], what
        assert [m.moved_from for m in found["z"].moves] == ["a"], what


def test_a_killed_rm_forgets_what_was_asked_and_cancels_nothing(new_trial: Callable[[], Trial], step: int) -> None:
    def command(trial: Trial) -> Command:
        return by_hand(trial, forget, [trial.folder / "specs"], ["[ab]"])

    for trial, what in kills(lambda: applied(new_trial), command, step):
        left = sorted(records(trial))
        assert left in (["a", "b", "c"], ["c"]), what
        assert trial.run(command=command(trial))[0] in (0, 1), what  # refused when they are forgotten already
        whole(trial, what, ["c"])
        assert {job["status"] for job in told(trial).values()} == {"PENDING"}, what


def test_a_killed_import_takes_over_every_job_once(new_trial: Callable[[], Trial], step: int) -> None:
    def command(trial: Trial) -> Command:
        return by_hand(trial, adopt_all, [trial.folder / "specs"], [])

    def make() -> Trial:
        trial = applied(new_trial)
        (trial.folder / "state.json").unlink()
        return trial

    for trial, what in kills(make, command, step):
        assert trial.run(command=command(trial))[0] == 0, what
        found = whole(trial, what, ["a", "b", "c"])
        assert {n: r.job_id for n, r in found.items()} == {n: j["id"] for n, j in told(trial).items()}, what
        assert trial.run()[0] == 0, what
        assert trial.judge().created == 3, what
