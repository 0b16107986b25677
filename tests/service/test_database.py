"""The database file: older versions, counts, and readers that do not wait."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.service import queue
from reconciler.service.clock import system_clock
from reconciler.service.database import Database
from reconciler.service.errors import ServiceError
from reconciler.service.jobs import LEGAL, JobStatus
from reconciler.service.migrations import MIGRATIONS
from reconciler.service.store import JobFilter, NewJob, Store, load_job
from reconciler.service.wire import CreateJob


def body(name: str = "n", kind: str = "batch") -> CreateJob:
    return CreateJob.model_validate({"name": name, "pipeline_type": kind, "pipeline_key": "k"})


def new(org_id: str, *, kind: str = "batch", priority: int = 0) -> NewJob:
    return NewJob(org_id, body(kind=kind), "1", {}, frozenset(), priority)


def test_a_file_of_the_first_version_is_taken_over(tmp_path: Path) -> None:
    path = tmp_path / "service.db"
    old = sqlite3.connect(path)
    old.executescript(
        MIGRATIONS[0]
        + """PRAGMA user_version = 1;
        INSERT INTO meta VALUES ('org_id', 'org_old');
        UPDATE meta SET value = '3' WHERE name = 'next_ticket';
        INSERT INTO files (file_uid, file_id, file_type, num_bytes, attributes, created_at)
            VALUES ('fil_1', 'a.txt', 'text/plain', 1, '{}', 't');
        INSERT INTO jobs (id, name, pipeline_type, pipeline_key, pipeline_version, status, parameters, ticket,
            created_at, updated_at, idempotency_key, body_digest)
            VALUES ('job_1', 'n', 'batch', 'k', '1', 'COMPLETED', '{}', 1, 't', 't', 'key', 'd'),
                   ('job_2', 'n', 'batch', 'k', '1', 'PENDING', '{}', 2, 't', 't', NULL, NULL);
        INSERT INTO inputs (id, job_id, port_name, file_id, file_uid, metadata, status, created_at)
            VALUES ('inp_1', 'job_1', 'data', 'a.txt', 'fil_1', '{}', 'completed', 't');
        INSERT INTO events (job_id, event_type, level, payload, created_at) VALUES ('job_1', 'x', 'INFO', '{}', 't');
        """
    )
    old.close()
    database = Database(path)
    store = Store(database, system_clock)
    assert database.organisation("default") == "org_old"
    assert store.get("org_old", "job_1").job.status is JobStatus.COMPLETED
    waiting = store.get("org_old", "job_2")
    assert (waiting.queue_position, waiting.queue_depth) == (1, 1)
    made, _ = store.create(new("org_old"), None)
    assert (made.queue_position, made.job.ticket) == (2, 4)
    assert store.page(JobFilter("org_old"), offset=0, limit=10)[0] == 3
    with database.read() as tx:
        assert tx.execute("PRAGMA foreign_key_check").fetchall() == []
        assert tx.execute("SELECT org_id FROM files").fetchone()[0] == "org_old"
    database.close()
    Database(path).close()  # and once more, with nothing to do


def test_a_newer_file_and_one_of_something_else_are_refused(tmp_path: Path) -> None:
    newer = sqlite3.connect(tmp_path / "newer.db")
    newer.execute("PRAGMA user_version = 99")
    newer.close()
    with pytest.raises(ServiceError, match="newer version"):
        Database(tmp_path / "newer.db")
    (tmp_path / "text.db").write_text("this is no database, whatever its name says")
    with pytest.raises(ServiceError, match="not a database"):
        Database(tmp_path / "text.db")


def test_who_reads_does_not_wait_for_who_writes(tmp_path: Path) -> None:
    database = Database(tmp_path / "service.db")
    seen: list[int] = []

    def look() -> None:
        with database.read() as tx:
            seen.append(tx.execute("SELECT COUNT(*) FROM jobs").fetchone()[0])

    with database.write() as tx:
        tx.execute("UPDATE meta SET value = value")
        thread = threading.Thread(target=look)
        thread.start()
        thread.join(timeout=10)
        assert seen == [0]
    database.close()


@pytest.mark.parametrize(
    ("query", "index"),
    [
        ("SELECT * FROM jobs WHERE org_id = 'o' ORDER BY seq DESC LIMIT 20", "jobs_newest"),
        ("SELECT * FROM jobs WHERE org_id = 'o' AND status IN ('FAILED') ORDER BY seq DESC LIMIT 20", "jobs_status"),
        (
            "SELECT * FROM jobs WHERE status = 'PENDING' AND pipeline_type = 'batch' AND not_before IS NULL"
            " ORDER BY priority DESC, turn, ticket LIMIT 1",
            "jobs_ready",
        ),
    ],
)
def test_what_is_asked_often_reads_an_index_in_its_order(tmp_path: Path, query: str, index: str) -> None:
    database = Database(tmp_path / "service.db")
    with database.read() as tx:
        steps = [row["detail"] for row in tx.execute(f"EXPLAIN QUERY PLAN {query}")]
    database.close()
    assert [index in step for step in steps] == [True], steps  # one step: nothing is sorted


ORGANISATIONS = ("a", "b")
JOBS = st.tuples(
    st.sampled_from(ORGANISATIONS),
    st.sampled_from(("batch", "training")),
    st.sampled_from((-1, 0, 5)),
    st.sampled_from((0, 1, 63, 64, 4095, 4096, 9000)),  # turns that went by before: waiting jobs are counted by turns
)
MOVES = st.tuples(st.integers(0, 30), st.sampled_from(JobStatus))


@settings(max_examples=40, deadline=None)
@given(st.lists(st.one_of(JOBS, MOVES), max_size=40))
def test_counts_and_places_are_those_of_a_recount(
    steps: list[tuple[str, str, int, int] | tuple[int, JobStatus]],
) -> None:
    database = Database(Path(":memory:"))
    store = Store(database, system_clock)
    ids = {name: database.organisation(name) for name in ORGANISATIONS}
    jobs: list[str] = []
    with database.write() as tx:
        for step in steps:
            if len(step) == 4:
                org, kind, priority, gone_by = step
                tx.execute(
                    "UPDATE turns SET turn = turn + ? WHERE pipeline_type = ? AND priority = ?",
                    (gone_by, kind, priority),
                )
                job = store._insert(tx, new(ids[org], kind=kind, priority=priority), None)
                jobs.append(job.id)
            elif step[0] < len(jobs):
                row = tx.execute("SELECT org_id FROM jobs WHERE id = ?", (jobs[step[0]],)).fetchone()
                job = load_job(tx, row[0], jobs[step[0]])
                if step[1] not in LEGAL[job.status]:
                    continue
                if step[1] is JobStatus.PENDING and job.status is not JobStatus.PREEMPTED:
                    store.queue_again(tx, job)
                else:
                    moved = store.change(tx, job, step[1], error={} if step[1] is JobStatus.FAILED else None)
                    if step[1] is JobStatus.ADMITTED:
                        queue.admitted(tx, moved)
        counted = "SELECT org_id, pipeline_type, status, COUNT(*) FROM jobs GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"
        kept = "SELECT * FROM job_counts WHERE n != 0 ORDER BY 1, 2, 3"
        assert [tuple(row) for row in tx.execute(kept)] == [tuple(row) for row in tx.execute(counted)]
        for kind in ("batch", "training"):
            waiting = tx.execute(
                "SELECT id, org_id FROM jobs WHERE status = 'PENDING' AND pipeline_type = ?"
                " ORDER BY priority DESC, turn, ticket",
                (kind,),
            ).fetchall()
            places = [queue.position(tx, load_job(tx, row["org_id"], row["id"])) for row in waiting]
            assert places == list(range(1, len(waiting) + 1))
            assert queue.depth(tx, kind) == len(waiting)
    database.close()
