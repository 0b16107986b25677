"""What a service that died had not recorded ends as it would have: the files that workers wrote decide."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from scripting import pipeline, submit
from service_client import running

from reconciler.service import registry
from reconciler.service.attempts import Attempts
from reconciler.service.clock import system_clock
from reconciler.service.contents import Contents, EscapingOutput
from reconciler.service.database import DEFAULT_ORGANISATION, Database
from reconciler.service.folder import DataFolder
from reconciler.service.jobs import Job
from reconciler.service.protocol import LineSplitter
from reconciler.service.recovery import recover
from reconciler.service.runs import speaker
from reconciler.service.store import NewJob, Store
from reconciler.service.wire import CreateJob

DONE = {"type": "done"}
ERROR = {"type": "error", "error": {"code": "out_of_luck", "message": "no luck"}}
EVENT = {"type": "event", "event_type": "said"}
CUT = '{"type": "do'


class Dead:
    """A service that died while a job of two indexes ran."""

    def __init__(self, folder: Path) -> None:
        self.folder = DataFolder(folder / "data")
        self.folder.prepare()
        self.database = Database(self.folder.database)
        self.org = self.database.organisation(DEFAULT_ORGANISATION)
        store = Store(self.database, system_clock)
        known = registry.load([pipeline(folder / "pipelines")])
        self.contents = Contents(self.folder)
        self.attempts = Attempts(self.database, store, self.contents, known, system_clock)
        body = CreateJob(name="n", pipeline_type="batch", pipeline_key="scripted")
        store.create(NewJob(self.org, body, "1.0.0", {"worker": {"parallelism": 2}}, frozenset()), None)
        head = self.attempts.head()
        assert head
        admitted = self.attempts.admit(head)
        assert admitted
        self.job: Job = admitted[0]
        self.attempts.begin(self.job)
        self.store = store

    def wrote(self, index: int, *lines: dict[str, Any] | str, recorded: int = 0) -> None:
        """The index wrote the lines; the first `recorded` were recorded."""
        home = self.folder.attempt(self.job.id, self.job.attempt) / str(index)
        greeting = {"index": index, "parallelism": 2, "inputs": {}, "output_dir": str(home / "outputs")}
        (home / "outputs").mkdir(parents=True)
        (home / "task.json").write_text(json.dumps(greeting))
        texts = [line if isinstance(line, str) else json.dumps(line) + "\n" for line in lines]
        (home / "stdout").write_text("".join(texts))
        if recorded:
            known = self.attempts.pipeline(self.job)
            assert known
            splitter = LineSplitter()
            batch = splitter.feed("".join(texts[:recorded]).encode())
            self.attempts.record(speaker(self.job, known, greeting), batch, 0, splitter.consumed)

    def recovered(self) -> Job:
        recover(self.folder, self.attempts)
        assert not list(self.folder.runs.iterdir())
        return self.store.get(self.org, self.job.id).job

    def said(self) -> int:
        with self.database.read() as tx:
            return int(tx.execute("SELECT COUNT(*) FROM events WHERE event_type = 'said'").fetchone()[0])


@pytest.fixture
def dead(tmp_path: Path) -> Iterator[Dead]:
    made = Dead(tmp_path)
    yield made
    made.database.close()


@pytest.mark.parametrize("recorded", [0, 1, 2])
def test_who_had_said_that_they_were_done_are_not_run_again(dead: Dead, recorded: int) -> None:
    dead.wrote(0, EVENT, DONE, recorded=recorded)
    dead.wrote(1, EVENT, DONE, ERROR, EVENT)  # what comes after it does not count
    job = dead.recovered()
    assert (job.status, job.attempt, job.preemption_count) == ("COMPLETED", 1, 0)
    assert dead.said() == 2


@pytest.mark.parametrize("other", [[], [EVENT], [EVENT, CUT]])
def test_one_index_that_was_not_done_runs_the_job_again(dead: Dead, other: list[Any]) -> None:
    dead.wrote(0, DONE)
    dead.wrote(1, *other)
    job = dead.recovered()
    assert (job.status, job.preemption_count, job.retry_count) == ("PENDING", 1, 0)
    assert dead.said() == other.count(EVENT)


def test_an_index_that_was_never_started_runs_the_job_again(dead: Dead) -> None:
    dead.wrote(0, DONE)
    assert dead.recovered().status == "PENDING"


@pytest.mark.parametrize("recorded", [0, 2, 3])
@pytest.mark.parametrize("then", [EVENT, DONE])
def test_an_error_fails_the_job_also_when_it_was_recorded_already(
    dead: Dead, then: dict[str, Any], recorded: int
) -> None:
    dead.wrote(0, EVENT, ERROR, then, recorded=recorded)
    dead.wrote(1, DONE)
    job = dead.recovered()
    assert (job.status, job.error) == ("FAILED", ERROR["error"])


@pytest.mark.parametrize("recorded", [0, 1])
def test_an_output_that_could_not_be_taken_fails_the_job_also_when_that_was_recorded(dead: Dead, recorded: int) -> None:
    stray = {"type": "output", "port": "out", "path": "../stray"}
    if recorded:
        with pytest.raises(EscapingOutput):
            dead.wrote(0, stray, DONE, recorded=recorded)
    else:
        dead.wrote(0, stray, DONE)
    dead.wrote(1, DONE)
    job = dead.recovered()
    assert (job.status, (job.error or {})["code"]) == ("FAILED", "invalid_output")


def test_what_two_read_at_once_is_recorded_once(dead: Dead) -> None:
    dead.wrote(0, EVENT, recorded=1)
    greeting = json.loads((dead.folder.attempt(dead.job.id, 1) / "0" / "task.json").read_text())
    known = dead.attempts.pipeline(dead.job)
    assert known
    who = speaker(dead.job, known, greeting)
    text = (json.dumps(EVENT) + "\n").encode()
    assert not dead.attempts.record(who, LineSplitter().feed(text), 0, len(text))
    assert dead.said() == 1
    assert dead.attempts.record(who, LineSplitter().feed(text), len(text), 2 * len(text))
    assert dead.said() == 2


def test_a_second_death_changes_nothing(dead: Dead) -> None:
    dead.wrote(0, EVENT, DONE)
    dead.wrote(1, DONE)
    first = dead.recovered()
    assert dead.recovered() == first
    assert dead.said() == 1


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_a_service_that_lives_decides_alike(tmp_path: Path) -> None:
    async with running(tmp_path / "d", pipelines=pipeline(tmp_path / "p")) as api:
        failed = await api.wait(await submit(api, ["say", ERROR], ["say", DONE]))
        assert (failed["status"], failed["error"]["code"]) == ("FAILED", "out_of_luck")
        done = await api.wait(await submit(api, ["say", DONE], ["say", ERROR], ["exit", 1]))
        assert done["status"] == "COMPLETED"
