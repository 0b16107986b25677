"""A life with the tool, made up by hypothesis: edits, applies, faults, kills and events, in any order.

Whatever happened, a plain apply afterwards leaves one job for each spec, and nothing to do.
"""

from __future__ import annotations

import itertools
import tempfile
from pathlib import Path

import pytest
from harness import scratch
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from trial import Control, Trial

_COUNTER = itertools.count(1_000_000)
NAMES = ("a", "b", "c", "d")
FAULTS = (
    "before:500",
    "after:500",
    "before:503",
    "after:504",
    "before:429",
    "before:drop",
    "after:drop",
    "after:garbage",
)


class Life(RuleBasedStateMachine):
    """Rules are what users, the platform and bad luck do."""

    port: int

    def __init__(self) -> None:
        super().__init__()
        number = next(_COUNTER)
        self.folder = tempfile.TemporaryDirectory(dir=scratch())
        self.trial = Trial(Path(self.folder.name) / "t", Control(self.port, str(number)))
        self.settled = True

    def teardown(self) -> None:
        self.clean_apply()
        self.trial.close()
        self.folder.cleanup()

    @initialize(
        honours=st.booleans(),
        lag=st.sampled_from([0.0, 1.0, 3.0]),
        parameters=st.booleans(),
        skew=st.sampled_from([0.0, 3600.0, -3600.0]),
    )
    def platform(self, honours: bool, lag: float, parameters: bool, skew: float) -> None:
        self.trial.control.setup(honours=honours, lag=lag, rows_with_parameters=parameters, skew=skew)
        self.trial.write({})

    @rule(name=st.sampled_from(NAMES), value=st.integers(1, 3))
    def edit(self, name: str, value: int) -> None:
        self.trial.write({**self.trial.specs, name: value})
        self.settled = False

    @precondition(lambda self: self.trial.specs)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.trial.specs)))
        self.trial.write({n: v for n, v in self.trial.specs.items() if n != name})
        self.settled = False

    @rule(
        at=st.integers(1, 80), faults=st.dictionaries(st.integers(1, 12).map(str), st.sampled_from(FAULTS), max_size=2)
    )
    def apply_and_die(self, at: int, faults: dict[str, str]) -> None:
        self.trial.control.setup(faults=faults)
        self.trial.run(kill_at=at)
        self.trial.control.setup(faults={})
        self.settled = False

    @rule(faults=st.dictionaries(st.integers(1, 12).map(str), st.sampled_from(FAULTS), min_size=1, max_size=3))
    def apply_with_faults(self, faults: dict[str, str]) -> None:
        self.trial.control.setup(faults=faults)
        self.trial.run()
        self.trial.control.setup(faults={})
        self.settled = False

    @rule(seconds=st.sampled_from([1.0, 10.0]))
    def time_passes(self, seconds: float) -> None:
        self.trial.control.call("control/advance", seconds=seconds)

    @rule(data=st.data(), status=st.sampled_from(["RUNNING", "COMPLETED", "FAILED", "CANCELLED", "PREEMPTED", "NOVEL"]))
    def event(self, data: st.DataObject, status: str) -> None:
        jobs = self.trial.control.truth()["jobs"]
        live = sorted(i for i, j in jobs.items() if j["status"] not in ("COMPLETED", "FAILED", "CANCELLED"))
        if live:
            self.trial.control.call("control/event", id=data.draw(st.sampled_from(live)), status=status)
            self.settled = False

    @rule()
    def clean_apply(self) -> None:
        assert self.trial.recover() == 0, (self.trial.folder / "error").read_text()
        self.settled = True

    @invariant()
    def the_promise(self) -> None:
        if self.settled and self.trial.specs:
            verdict = self.trial.judge()
            assert verdict.kept, verdict
            before = (self.trial.folder / "state.json").read_bytes()
            assert self.trial.run()[0] == 0
            assert (self.trial.folder / "state.json").read_bytes() == before, "a second apply changed something"
            assert self.trial.judge().created == verdict.created


def live(port: int, *, examples: int, steps: int) -> None:
    """Live `examples` lives of at most `steps` steps."""
    Life.port = port
    checks = [HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large]
    how = settings(max_examples=examples, stateful_step_count=steps, deadline=None, suppress_health_check=checks)
    run_state_machine_as_test(Life, settings=how)


@pytest.mark.network
def test_some_lives(platform_port: int) -> None:
    live(platform_port, examples=8, steps=12)


@pytest.mark.network
@pytest.mark.slow
def test_many_lives(platform_port: int) -> None:
    live(platform_port, examples=60, steps=30)
