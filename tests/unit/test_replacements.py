"""What a log says of a state that takes the place of another."""

from __future__ import annotations

from nouns import recorded, state

from reconciler.report.replacements import log_text


def test_each_name_that_becomes_other_has_a_line() -> None:
    before = state(3, a=recorded("PENDING"), b=recorded("RUNNING"), c=recorded("COMPLETED"), same=recorded())
    after = state(
        4, a=recorded("PENDING", gone=True), b=recorded("PENDING", job_id="job_2"), d=recorded(), same=recorded()
    )
    assert log_text(before, after).splitlines() == [
        "1 new, 1 replaced, 1 forgotten, 1 changed, serial 4",
        "",
        "changed: a is job_1, GONE",
        "replaced: b is job_2, PENDING",
        "forgotten: c is job_1, COMPLETED",
        "new: d is job_1, RUNNING",
    ]
