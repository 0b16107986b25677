"""When jobs waited and ran."""

from __future__ import annotations

from datetime import timedelta

import pytest
from nouns import recorded
from report_samples import NOON, RECORDS, job

from reconciler.report.times import duration, ran_for, times

NOW = NOON + timedelta(seconds=200)


def spans(name: str) -> list[tuple[str, float, float]]:
    return [(p, (a - NOON).total_seconds(), (b - NOON).total_seconds()) for p, a, b in times(RECORDS[name]).spans(NOW)]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("completed", [("waited", 0, 60), ("ran", 60, 180)]),
        ("cancelled", [("waited", 10, 95)]),
        ("running", [("waited", 20, 100), ("ran", 100, 200)]),
        ("pending", [("waited", 50, 200)]),
        ("preempted", [("earlier", 5, 40), ("ran", 40, 80), ("waited", 80, 200)]),
        ("retried", [("earlier", 0, 120), ("ran", 120, 170)]),
        ("gone", [("waited", 15, 70), ("ran", 70, 110)]),
        ("from the future", [("waited", 25, 200)]),
    ],
)
def test_a_job_waits_until_it_starts_and_runs_until_it_ends(name: str, expected: list[object]) -> None:
    assert spans(name) == expected


def test_a_job_that_was_queued_again_has_not_started() -> None:
    """What a platform may have left of the run before is none of this one's."""
    record = job("PENDING", 0, 10, failed_at="2026-03-04T12:00:20Z")
    assert times(record).started is None
    assert times(record).ended is None
    assert ran_for(record) is None


def test_nothing_lasts_less_than_no_time() -> None:
    record = job("COMPLETED", 50, 40, 30)
    assert ran_for(record) == 0
    assert all(begin <= end for _, begin, end in times(record).spans(NOW))


@pytest.mark.parametrize("odd", [7, None, "soon", {"a": 1}, "2026-13-40T00:00:00Z"])
def test_times_that_are_none_are_not_known(odd: object) -> None:
    record = recorded("COMPLETED", observed={"started_at": odd, "completed_at": odd}).model_copy(
        update={"submitted_at": None}
    )
    assert list(times(record).spans(NOW)) == []


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.04, "0.0 s"), (59.9, "59.9 s"), (200, "3 min 20 s"), (7500, "2 h 5 min"), (273_600, "3 d 4 h")],
)
def test_durations_have_two_units_at_most(seconds: float, text: str) -> None:
    assert duration(seconds) == text
