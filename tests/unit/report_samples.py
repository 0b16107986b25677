"""A report with something of everything, and with text that would like to be more than text."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from nouns import desired, recorded, request, state

from reconciler.actions import Plan
from reconciler.apply import Outcome
from reconciler.facts import Facts, PlanOptions
from reconciler.job import FailureLog, RecordedJob, Source, timestamp
from reconciler.plan import make_plan
from reconciler.report.page import Report

HOSTILE = "\"'><script>hacked=1</script><img src=https://evil.example onerror=hacked=1>&lt;\u202e\x00\x1b[31m]]>{{7*7}}"
NOON = datetime(2026, 3, 4, 12, 0, 0, tzinfo=UTC)
SOURCE = Source(
    commit="0123456789abcdef0123456789abcdef01234567",
    branch="main",
    author="Ada Lovelace",
    dirty=False,
    folder="jobs",
    repository="https://github.com/acme/pumps",
    run_url="https://github.com/acme/pumps/actions/runs/7",
)


def job(status: str, *times: float | None, **seen: Any) -> RecordedJob:
    """A record of a job; `times` are the seconds after noon when it was queued, started and ended."""
    keys = ("created_at", "started_at", f"{status.lower()}_at")
    known = {
        key: timestamp(NOON + timedelta(seconds=at)) for key, at in zip(keys, times, strict=False) if at is not None
    }
    more: dict[str, Any] = {k: seen.pop(k) for k in ("gone", "observed_at") if k in seen}
    job_id = f"job_{'-'.join(str(at) for at in times)}"
    record = recorded(status, job_id=job_id, line=3, observed=known | seen, **more)
    return record.model_copy(update={"source": SOURCE, "spec_path": "specs/pumps.yaml"})


ERROR = {"code": "out_of_memory", "message": "the worker needed more than 8 GB", "suggestion": "lower batch_size"}
RECORDS = {
    "completed": job("COMPLETED", 0, 60, 180),
    "failed": job("FAILED", 0, 30, 90, error=ERROR),
    "cancelled": job("CANCELLED", 10, None, 95),
    "running": job("RUNNING", 20, 100, progress=1),
    "pending": job("PENDING", 50, queue_position=2, queue_depth=5),
    "preempted": job("PREEMPTED", 5, 40, updated_at=timestamp(NOON + timedelta(seconds=80)), preemption_count=1),
    "retried": job("COMPLETED", 0, 120, 170, retry_count=2),
    "gone": job("RUNNING", 15, 70, gone=True, observed_at=timestamp(NOON + timedelta(seconds=110))),
    "from the future": job("QUARANTINED", 25),
}
FAILURES = {
    "failed": FailureLog(
        events=({"created_at": "2026-03-04T12:01:30Z", "level": "ERROR", "event_type": "error", "message": "killed"},),
        events_left_out=7,
        inputs=({"port_name": "worker.text", "file_id": "a.csv", "error_message": "no column 'time'"},),
    )
}


def plan(**more: Any) -> Plan:
    """A plan that replaces, creates, retries, keeps, and leaves an orphan."""
    wanted = {n: desired(n, i) for i, n in enumerate("abc")} | {"again": desired("again", attempts=3)}
    have = {
        "a": recorded("RUNNING", "old"),
        "b": recorded("COMPLETED", 1),
        "again": recorded("FAILED"),
        "old": recorded("COMPLETED", 9),
    }
    return make_plan(Facts(wanted, state(**have)), PlanOptions(), source=SOURCE, **more)


def report(**more: Any) -> Report:
    """A report of an apply, with `more` in place of what it has."""
    values: dict[str, Any] = {
        "command": "apply",
        "at": NOON + timedelta(seconds=200),
        "endpoint": "https://platform.example/v0.5",
        "version": "1.2.3",
        "serial": 4,
        "source": SOURCE,
        "plan": plan(),
        "outcomes": (
            Outcome("c", "create", "done", "job_7", "PENDING"),
            Outcome("a", "replace", "failed", error="HTTP 422: no such pipeline", hint="look at the registry"),
        ),
        "records": RECORDS,
        "failures": FAILURES,
    }
    return Report(**(values | more))


def hostile() -> Report:
    """A report in which every text from outside is `HOSTILE`."""
    bad = "javascript:alert(1)"
    source = Source(commit=HOSTILE, branch=HOSTILE, author=HOSTILE, dirty=False, repository=bad, run_url=bad)
    error = {"code": HOSTILE, "message": HOSTILE, "suggestion": HOSTILE}
    record = job("FAILED", 0, 30, 90, error=error).model_copy(update={"source": source, "spec_path": HOSTILE})
    odd = job(HOSTILE, 0, 10)
    made = make_plan(
        Facts(
            {HOSTILE: desired(HOSTILE, HOSTILE)},
            state(**{HOSTILE: recorded(value=1).model_copy(update={"request": request(1, **{HOSTILE: HOSTILE})})}),
        ),
        source=source,
    ).model_copy(update={"warnings": (HOSTILE,), "unsettled": (HOSTILE,)})
    row = dict.fromkeys(
        ("created_at", "level", "event_type", "message", "file_id", "port_name", "error_message"), HOSTILE
    )
    return report(
        command=HOSTILE,
        endpoint=HOSTILE,
        source=source,
        plan=made,
        outcomes=(Outcome(HOSTILE, "create", "failed", HOSTILE, error=HOSTILE, hint=HOSTILE),),
        records={HOSTILE: record, f"{HOSTILE} 2": odd},
        failures={HOSTILE: FailureLog((row,), 1, (row,), HOSTILE)},
        unsettled={HOSTILE: HOSTILE},
        notes=(HOSTILE,),
        stopped=(HOSTILE,),
    )
