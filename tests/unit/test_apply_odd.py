"""Actions against a platform that answers as it likes: what is then sent, recorded, and said."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from nouns import desired, recorded, state

from reconciler.actions import Action
from reconciler.apply import Outcome, Tools, carry_out
from reconciler.byhand import Facts as ByHand
from reconciler.byhand import plan_cancel
from reconciler.client import Client, Transport
from reconciler.client.patience import Timing
from reconciler.facts import Facts, PlanOptions
from reconciler.journal import Journal
from reconciler.plan import make_plan
from reconciler.record import Folded, fold

JOB = {"id": "job_1", "name": "a", "pipeline_key": "k"}
NEW = {"id": "job_2", "name": "a", "pipeline_key": "k", "status": "PENDING"}


class Scene:
    """A state with the job `job_1` of `a`, and answers by request, the last one for ever."""

    def __init__(self, folder: Path, status: str, **answers: list[tuple[int, Any]]) -> None:
        self.folder = folder
        self.state = state(a=recorded(status))
        self.answers = {key.replace("_", " /", 1): list(value) for key, value in answers.items()}
        self.requests: list[str] = []

    async def app(self, scope: Any, receive: Any, send: Any) -> None:
        path = scope["path"].removeprefix("/v0.5/batch/jobs").strip("/").removeprefix("job_1")
        line = f"{scope['method']} /{path.strip('/')}"
        self.requests.append(line)
        left = self.answers[line]
        status, value = left.pop(0) if len(left) > 1 else left[0]
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": json.dumps(value).encode()})

    def carry_out(self, action: Action) -> tuple[Outcome, Folded]:
        outcomes: list[Outcome] = []

        async def run() -> Journal:
            journal = Journal.start(self.folder / "state.journal", self.state)
            timing = Timing(budget=0.0)
            async with Transport("http://local/v0.5", None, app=self.app, timing=timing) as transport:
                tools = Tools(
                    client=Client(transport),
                    journal=journal,
                    lineage="L",
                    root=self.folder,
                    folder=self.folder,
                    now=lambda: datetime(2026, 1, 1, tzinfo=UTC),
                    stop=asyncio.Event(),
                    known=frozenset({"job_1"}),
                    done=outcomes.append,
                )
                await carry_out([action], tools)
            return journal

        journal = asyncio.run(run())
        return outcomes[0], fold(self.state, journal.entries)


def planned(scene: Scene, options: PlanOptions = PlanOptions(), **spec: Any) -> Action:
    return make_plan(Facts({"a": desired(**spec)} if spec else {}, scene.state), options).actions[0]


def test_the_old_job_is_cancelled_before_the_new_one_is_submitted(tmp_path: Path) -> None:
    cancelled = {**JOB, "status": "CANCELLED"}
    scene = Scene(tmp_path, "RUNNING", POST_cancel=[(200, {})], GET_=[(200, cancelled)], POST_=[(201, NEW)])
    outcome, folded = scene.carry_out(planned(scene, value=2))
    assert scene.requests == ["POST /cancel", "GET /", "POST /"]
    assert (outcome.outcome, outcome.job_id) == ("done", "job_2")
    assert [(p.job_id, p.status) for p in folded.state.jobs["a"].history] == [("job_1", "CANCELLED")]


def test_a_cancel_that_is_refused_while_the_job_runs_stops_the_replacement(tmp_path: Path) -> None:
    running = {**JOB, "status": "ADMITTED"}
    scene = Scene(tmp_path, "RUNNING", POST_cancel=[(409, {})], GET_=[(200, running)])
    outcome, folded = scene.carry_out(planned(scene, value=2))
    assert (outcome.outcome, "POST /" in scene.requests) == ("failed", False)
    assert "ADMITTED" in (outcome.error or "")
    assert folded.state.jobs["a"].job_id == "job_1"


def test_a_cancel_with_an_answer_that_is_none_is_not_believed(tmp_path: Path) -> None:
    running = {**JOB, "status": "RUNNING"}
    scene = Scene(tmp_path, "RUNNING", POST_cancel=[(200, "<html>")], GET_=[(200, running)])
    outcome, _ = scene.carry_out(planned(scene, value=2))
    assert (outcome.outcome, "POST /" in scene.requests) == ("failed", False)


def test_a_job_that_cannot_be_cancelled_is_not_forgotten(tmp_path: Path) -> None:
    running = {**JOB, "status": "ADMITTED"}
    scene = Scene(tmp_path, "RUNNING", POST_cancel=[(409, {})], GET_=[(200, running)])
    outcome, folded = scene.carry_out(planned(scene, PlanOptions(prune=True)))
    assert outcome.outcome == "failed"
    assert "a" in folded.state.jobs


@pytest.mark.parametrize("seen", [(200, {**JOB, "status": "COMPLETED"}), (404, {"errors": []})])
def test_a_cancel_that_is_refused_because_the_job_has_ended_is_fine(tmp_path: Path, seen: tuple[int, Any]) -> None:
    scene = Scene(tmp_path, "RUNNING", POST_cancel=[(409, {})], GET_=[seen], POST_=[(201, NEW)])
    outcome, _ = scene.carry_out(planned(scene, value=2))
    assert (outcome.outcome, outcome.job_id) == ("done", "job_2")


def by_hand(scene: Scene) -> Action:
    return plan_cancel(ByHand(scene.state), ["a"], PlanOptions()).actions[0]


def test_a_cancel_by_hand_keeps_the_record_and_says_whose_wish_it_was(tmp_path: Path) -> None:
    cancelled = {**JOB, "status": "CANCELLED"}
    scene = Scene(tmp_path, "RUNNING", POST_cancel=[(200, {})], GET_=[(200, cancelled)])
    outcome, folded = scene.carry_out(by_hand(scene))
    assert (outcome.outcome, outcome.status) == ("done", "CANCELLED")
    assert folded.state.jobs["a"].status == "CANCELLED"
    assert folded.state.jobs["a"].cancelled_by_hand


def test_a_cancel_by_hand_that_came_too_late_is_not_called_done(tmp_path: Path) -> None:
    scene = Scene(tmp_path, "RUNNING", POST_cancel=[(409, {})], GET_=[(200, {**JOB, "status": "COMPLETED"})])
    outcome, folded = scene.carry_out(by_hand(scene))
    assert (outcome.outcome, outcome.error) == (
        "skipped",
        "job_1 had ended before it could be cancelled: it is COMPLETED",
    )
    assert folded.state.jobs["a"].status == "COMPLETED"


@pytest.mark.parametrize(("status", "wish_stays"), [(403, False), (400, False), (500, True), (503, True)])
def test_the_wish_to_cancel_stays_on_record_unless_it_was_certainly_refused(
    tmp_path: Path, status: int, wish_stays: bool
) -> None:
    scene = Scene(tmp_path, "RUNNING", POST_cancel=[(status, {})])
    outcome, folded = scene.carry_out(by_hand(scene))
    assert outcome.outcome == "failed"
    assert folded.state.jobs["a"].cancelled_by_hand is wish_stays


def test_an_answer_with_a_job_that_is_recorded_already_is_not_believed(tmp_path: Path) -> None:
    scene = Scene(tmp_path, "COMPLETED", POST_=[(201, {**NEW, "id": "job_1"})])
    outcome, folded = scene.carry_out(planned(scene, value=2))
    assert outcome.outcome == "unknown"
    assert [i.name for i in folded.unresolved] == ["a"]


@pytest.mark.parametrize("status", [400, 409, 429])
def test_a_retry_that_is_refused_costs_no_attempt(tmp_path: Path, status: int) -> None:
    failed = {**JOB, "status": "FAILED"}
    scene = Scene(tmp_path, "FAILED", POST_retry=[(status, {})], GET_=[(200, failed)])
    outcome, folded = scene.carry_out(planned(scene, value=1, attempts=3))
    assert outcome.outcome == "failed"
    assert (folded.state.jobs["a"].attempts, folded.state.jobs["a"].status) == (1, "FAILED")


def test_a_retry_without_an_answer_counts(tmp_path: Path) -> None:
    """It may have run and failed again: the budget must not be overdrawn."""
    failed = {**JOB, "status": "FAILED"}
    scene = Scene(tmp_path, "FAILED", POST_retry=[(504, {})], GET_=[(200, failed)])
    _, folded = scene.carry_out(planned(scene, value=1, attempts=3))
    assert folded.state.jobs["a"].attempts == 2


def test_a_job_that_somebody_retried_meanwhile_is_left_alone(tmp_path: Path) -> None:
    scene = Scene(tmp_path, "FAILED", GET_=[(200, {**JOB, "status": "COMPLETED"})])
    outcome, folded = scene.carry_out(planned(scene, value=1, attempts=3))
    assert (outcome.outcome, outcome.status) == ("done", "COMPLETED")
    assert scene.requests == ["GET /"]
    assert folded.state.jobs["a"].attempts == 1


def test_a_platform_that_holds_the_token_is_not_one_that_refuses(tmp_path: Path) -> None:
    """409 from a platform that honours tokens: an earlier request with this one may still be under way."""
    scene = Scene(tmp_path, "COMPLETED", POST_=[(409, {})])
    assert scene.carry_out(planned(scene, value=2))[0].outcome == "failed"
    app = scene.app

    async def honours(scope: Any, receive: Any, send: Any) -> None:
        async def with_header(message: Any) -> None:
            if message["type"] == "http.response.start":
                message = {**message, "headers": [(b"idempotency-key-honored", b"true")]}
            await send(message)

        await app(scope, receive, with_header)

    scene.app = honours  # type: ignore[method-assign]
    assert scene.carry_out(planned(scene, value=2))[0].outcome == "unknown"
