"""Carrying out a plan against the real service in this process, with a witness between the two."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from nouns import desired

from reconciler.actions import Action
from reconciler.apply import Outcome, Tools, carry_out
from reconciler.client import Client, Transport
from reconciler.entries import Intent, NotSubmitted, Submitted, token
from reconciler.facts import Facts
from reconciler.job import Source, Upload
from reconciler.journal import FileSink, Journal
from reconciler.plan import make_plan
from reconciler.record import fold
from reconciler.service.embedded import embedded
from reconciler.state import new_state

PIPELINES = Path(__file__).parents[1] / "acceptance" / "pipelines"
NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Scene:
    """A service, a journal and the outcomes. `before` sees every request before the service does."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state = new_state("local")
        self.outcomes: list[Outcome] = []
        self.requests: list[str] = []
        self.before: Callable[[str], Awaitable[None] | None] = lambda line: None
        self.stop = asyncio.Event()
        self.writable = True

    async def carry_out(self, *actions: Action, parallelism: int = 4) -> dict[str, Outcome]:
        async with embedded(self.folder / "data", run_jobs=False, pipelines=PIPELINES) as service:

            async def witness(scope: Any, receive: Any, send: Any) -> None:
                line = f"{scope['method']} {scope['path'].removeprefix('/v0.5')}"
                self.requests.append(line)
                if (pause := self.before(line)) is not None:
                    await pause
                await service(scope, receive, send)

            async with Transport("http://local/v0.5", None, app=witness) as transport:
                self.journal = Journal.start(self.folder / "state.journal", self.state)
                if not self.writable:
                    # Writing through a descriptor that is open for reading fails as a full disk does: with OSError.
                    readable = os.open(self.folder / "state.journal", os.O_RDONLY)
                    self.journal = Journal(self.folder / "state.journal", FileSink(readable))
                tools = Tools(
                    client=Client(transport),
                    journal=self.journal,
                    lineage=self.state.lineage,
                    root=self.folder,
                    folder=self.folder,
                    now=lambda: NOW,
                    stop=self.stop,
                    source=Source(commit="c0ffee", author="A. Person"),
                    parallelism=parallelism,
                    done=self.outcomes.append,
                )
                await carry_out(actions, tools)
        return {o.name: o for o in self.outcomes}

    def on_disk(self) -> list[dict[str, Any]]:
        lines = (self.folder / "state.journal").read_text().splitlines()
        return [json.loads(line)["entry"] for line in lines[1:]]


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def creation(name: str = "a", **more: Any) -> Action:
    plan = make_plan(Facts({name: desired(name)}, new_state("local")))
    body = {"pipeline_type": "batch", "pipeline_key": "echo", "parameters": {"worker": {"config": {"text": name}}}}
    return plan.actions[0].model_copy(update={"request": body, **more})


def test_the_intent_is_on_the_disk_before_the_request_leaves(scene: Scene) -> None:
    journals: list[list[str]] = []
    scene.before = lambda line: journals.append([e["kind"] for e in scene.on_disk()])
    outcome = asyncio.run(scene.carry_out(creation()))["a"]
    assert scene.requests == ["POST /batch/jobs"]
    assert journals == [["intent"]]
    assert [e["kind"] for e in scene.on_disk()] == ["intent", "submitted"]
    assert (outcome.outcome, outcome.status) == ("done", "PENDING")
    folded = fold(scene.state, scene.journal.entries)
    assert not folded.unresolved
    assert folded.state.jobs["a"].job_id == outcome.job_id
    assert folded.state.jobs["a"].commit == "c0ffee"
    assert folded.state.jobs["a"].source == Source(commit="c0ffee", author="A. Person")
    assert folded.state.jobs["a"].line == 1


def test_the_token_is_the_same_for_the_same_decision_and_only_for_it(scene: Scene) -> None:
    asyncio.run(scene.carry_out(creation()))
    intent = scene.journal.entries[0]
    assert isinstance(intent, Intent)
    assert intent.token == token(scene.state.lineage, "a", 1)
    others = {token(scene.state.lineage, "a", 2), token(scene.state.lineage, "b", 1), token("other", "a", 1)}
    assert intent.token not in others
    assert len(others) == 3


def test_the_version_of_the_plan_is_submitted_and_the_intent_says_so(scene: Scene) -> None:
    action = creation(pipeline_version="1.0.0", request={"pipeline_type": "batch", "pipeline_key": "shout"})
    asyncio.run(scene.carry_out(action))
    intent = scene.journal.entries[0]
    assert isinstance(intent, Intent)
    assert intent.sent == {**intent.request, "pipeline_version": "1.0.0"}
    record = fold(scene.state, scene.journal.entries).state.jobs["a"]
    assert record.pipeline_version == "1.0.0"  # the service's latest is 1.1.0
    assert record.request == action.request


def test_a_refusal_is_definite_and_leaves_the_others_alone(scene: Scene) -> None:
    wrong = creation("wrong", request={"pipeline_type": "batch", "pipeline_key": "no-such-pipeline"})
    outcomes = asyncio.run(scene.carry_out(wrong, creation("right")))
    assert (outcomes["wrong"].outcome, outcomes["right"].outcome) == ("failed", "done")
    assert "no-such-pipeline" in (outcomes["wrong"].error or "")
    refusal = next(e for e in scene.journal.entries if isinstance(e, NotSubmitted))
    assert refusal.refused
    assert fold(scene.state, scene.journal.entries).state.generations == {"wrong": 1, "right": 1}


def test_a_job_that_was_cancelled_for_a_refused_one_goes_on_with_its_old_spec(scene: Scene) -> None:
    first = asyncio.run(scene.carry_out(creation()))["a"]
    scene.state = fold(scene.state, scene.journal.entries).state
    scene.journal.close()
    wrong = {"pipeline_type": "batch", "pipeline_key": "no-such-pipeline"}
    changed = creation(action="replace", request=wrong, job_id=first.job_id, generation=2, cancels=True, attempt=1)
    outcome = asyncio.run(scene.carry_out(changed))["a"]
    assert outcome.outcome == "failed"
    assert f"{first.job_id} was cancelled for it, so nothing runs now" in (outcome.hint or "")
    state = fold(scene.state, scene.journal.entries).state
    assert (state.jobs["a"].job_id, state.jobs["a"].status) == (first.job_id, "CANCELLED")
    want = replace(desired("a"), fingerprint=state.jobs["a"].fingerprint)
    (again,) = make_plan(Facts({"a": want}, state)).actions
    assert again.action == "retry"
    assert again.reason.startswith("cancelled for another job that was not submitted in its place")


def test_no_more_than_the_parallelism_is_under_way(scene: Scene) -> None:
    under_way, most = 0, 0

    async def pause(line: str) -> None:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        for _ in range(10):
            await asyncio.sleep(0)
        under_way -= 1

    scene.before = pause
    outcomes = asyncio.run(scene.carry_out(*(creation(f"j{i}") for i in range(12)), parallelism=3))
    assert {o.outcome for o in outcomes.values()} == {"done"}
    assert most <= 3


def test_after_a_signal_nothing_new_begins(scene: Scene) -> None:
    scene.before = lambda line: scene.stop.set()
    outcomes = asyncio.run(scene.carry_out(*(creation(f"j{i}") for i in range(5)), parallelism=1))
    assert [o.outcome for o in outcomes.values()] == ["done", "skipped", "skipped", "skipped", "skipped"]
    assert scene.requests == ["POST /batch/jobs"]


def test_a_broken_disk_stops_everything_before_the_request(scene: Scene) -> None:
    """The intent comes first: when it cannot be written, nothing is sent."""
    scene.writable = False
    asyncio.run(scene.carry_out(creation()))
    assert scene.requests == []
    assert [o.outcome for o in scene.outcomes] == ["failed"]
    assert scene.journal.entries == []
    assert scene.stop.is_set()


def upload(folder: Path, content: bytes) -> Upload:
    import hashlib

    (folder / "x.csv").write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    return Upload("x.csv", f"x.{digest[:16]}.csv", f"sha256:{digest}", len(content), "text/csv")


def test_a_file_that_several_jobs_need_is_sent_once(scene: Scene) -> None:
    file = upload(scene.folder, b"t,v\n1,2\n")
    asyncio.run(scene.carry_out(*(creation(f"j{i}", uploads=(file,)) for i in range(4))))
    assert scene.requests.count("POST /files") == 1
    assert scene.requests.count(f"GET /files/metadata/{file.file_id}") == 1
    scene.outcomes.clear()
    asyncio.run(scene.carry_out(creation("later", uploads=(file,), generation=2)))
    assert scene.requests.count("POST /files") == 1, "the platform has it already"


def test_a_file_that_changed_since_the_plan_is_not_sent(scene: Scene) -> None:
    file = upload(scene.folder, b"t,v\n1,2\n")
    (scene.folder / "x.csv").write_bytes(b"t,v\n1,3\n")
    outcome = asyncio.run(scene.carry_out(creation(uploads=(file,))))["a"]
    assert (outcome.outcome, outcome.error) == ("failed", "x.csv has changed since the plan was made")
    assert "POST /batch/jobs" not in scene.requests


def test_the_same_token_twice_is_one_job(scene: Scene) -> None:
    """Two runners that hold the same state, as far as a platform that honours the token is concerned."""
    first = asyncio.run(scene.carry_out(creation()))["a"]
    scene.outcomes.clear()
    second = asyncio.run(scene.carry_out(creation()))["a"]
    assert first.job_id == second.job_id
    assert isinstance(scene.journal.entries[-1], Submitted)
