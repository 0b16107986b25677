"""What became of a submission that was cut off: adopted when it is sure, said when it is not, never guessed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from http_server import Answer, Clock, Request, Script, answer, talk
from nouns import ENDPOINT, recorded, state

from reconciler.client import Client, Made, Transport
from reconciler.entries import Intent, NotSubmitted, Submitted
from reconciler.job import PastJob, RecordedJob, State
from reconciler.service.embedded import embedded
from reconciler.settle import Settled, settle

EMPTY = State(lineage="L", endpoint=ENDPOINT)
PARAMETERS = {"worker": {"config": {"value": 1}}}
INPUTS = {"worker.text": [{"file_id": "a.txt", "metadata": {"class": "ok"}}, {"file_id": "b.txt"}]}
REQUEST = {"pipeline_type": "batch", "pipeline_key": "k", "parameters": PARAMETERS, "inputs": INPUTS}
WAIT = 20.0
NOW = Clock().now()


def rfc3339(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")


def intent(name: str = "a", at: datetime = NOW, **more: Any) -> Intent:
    return Intent(
        name=name,
        at=rfc3339(at),
        action="create",
        fingerprint="sha256:" + "0" * 64,
        generation=1,
        token=f"token-{name}",
        request=REQUEST,
        spec_path="specs/a.yaml",
        **more,
    )


class Platform:
    """A list of jobs with their inputs; `ahead` is how much its clock is ahead of ours."""

    def __init__(self, clock: Clock, ahead: timedelta = timedelta(0)) -> None:
        self.clock, self.ahead = clock, ahead
        self.jobs: list[dict[str, Any]] = []
        self.later: list[dict[str, Any]] = []
        self.hide_parameters = False
        self.listings = 0

    def job(self, job_id: str, age: float = 0, **more: Any) -> dict[str, Any]:
        """A job that fits the intent, made `age` seconds ago by the clock of the platform."""
        made = self.clock.now() + self.ahead - timedelta(seconds=age)
        raw = {"id": job_id, "name": "a", "status": "PENDING", "pipeline_type": "batch", "pipeline_key": "k"}
        return {**raw, "pipeline_version": "1", "parameters": PARAMETERS, "created_at": rfc3339(made), **more}

    def __call__(self, request: Request) -> Answer:
        *_, tail = path = urlsplit(request.target).path.removeprefix("/v0.5/batch/jobs").split("/")
        date = format_datetime(self.clock.now() + self.ahead, usegmt=True)
        if tail == "inputs":
            job = next(j for j in self.jobs if j["id"] == path[-2])
            return answer(200, {"inputs": job.get("inputs", self.inputs()), "total": 2}, Date=date)
        if tail:
            return answer(200, next(j for j in self.jobs if j["id"] == tail), Date=date)
        self.listings += 1
        if self.listings > 1:
            self.jobs, self.later = [*self.jobs, *self.later], []
        rows = [{**j, "parameters": {}} if self.hide_parameters else j for j in self.jobs]
        return answer(200, {"jobs": rows, "total": len(rows)}, Date=date)

    @staticmethod
    def inputs() -> list[dict[str, Any]]:
        one = {"id": "inp_1", "port_name": "worker.text", "file_id": "a.txt", "data": {"metadata": {"class": "ok"}}}
        return [{"id": "inp_2", "port_name": "worker.text", "file_id": "b.txt", "data": {"metadata": {}}}, one]


@pytest.fixture
def platform() -> Platform:
    return Platform(Clock())


def look(clock: Clock, script: Script, *intents: Intent, record: State = EMPTY) -> Settled:
    def call(client: Client) -> Any:
        return settle(client, intents or (intent(),), record, now=clock.now, sleep=clock.sleep, settle_time=WAIT)

    result = talk(script, call, clock, budget=0).result
    assert isinstance(result, Settled), result
    return result


def settled(platform: Platform, *intents: Intent, record: State = EMPTY) -> Settled:
    return look(platform.clock, platform, *intents, record=record)


def adopted(result: Settled) -> list[str]:
    assert result.unresolved == {}
    assert all(isinstance(e, Submitted) and e.adopted for e in result.entries)
    return [e.job_id for e in result.entries if isinstance(e, Submitted)]


def did_not_happen(result: Settled) -> bool:
    assert result.unresolved == {}
    return all(isinstance(e, NotSubmitted) and not e.refused for e in result.entries)


@pytest.mark.network
def test_the_one_job_that_fits_is_ours(platform: Platform) -> None:
    platform.jobs = [platform.job("job_other", name="b"), platform.job("job_ours")]
    result = settled(platform)
    assert adopted(result) == ["job_ours"]
    assert result.entries[0].token == "token-a"
    assert platform.clock.slept == []


@pytest.mark.network
def test_a_version_that_was_left_open_is_the_one_that_was_sent(platform: Platform) -> None:
    older = platform.job("job_older", pipeline_version="1.0")
    platform.jobs = [older, platform.job("job_ours", pipeline_version="1.1")]
    assert adopted(settled(platform, intent(sent={**REQUEST, "pipeline_version": "1.1"}))) == ["job_ours"]
    assert settled(platform, intent(sent={**REQUEST, "pipeline_version": "2"})).unresolved  # it nearly fits both


@pytest.mark.network
def test_no_job_in_two_listings_a_settle_time_apart_means_that_it_did_not_happen(platform: Platform) -> None:
    assert did_not_happen(settled(platform))
    assert platform.listings == 2
    assert platform.clock.slept == [WAIT]


@pytest.mark.network
def test_a_job_that_shows_up_late_is_ours(platform: Platform) -> None:
    platform.later = [platform.job("job_late")]
    assert adopted(settled(platform)) == ["job_late"]


@pytest.mark.network
def test_several_jobs_that_fit_are_left_to_a_person(platform: Platform) -> None:
    platform.jobs = [platform.job("job_1"), platform.job("job_2")]
    result = settled(platform)
    assert result.entries == ()
    assert "job_1" in result.unresolved["a"]
    assert "job_2" in result.unresolved["a"]


@pytest.mark.network
def test_several_late_jobs_are_left_to_a_person(platform: Platform) -> None:
    platform.later = [platform.job("job_1"), platform.job("job_2")]
    result = settled(platform)
    assert result.entries == ()
    assert "2 jobs fit" in result.unresolved["a"]


@pytest.mark.network
@pytest.mark.parametrize(
    "other",
    [
        {"parameters": {"worker": {"config": {"value": 2}}}},
        {"parameters": {"worker": {"config": {"value": True}}}},
        {"parameters": {"worker": {"config": {}}, "more": 1}},
        {"inputs": []},
        {"inputs": Platform.inputs()[:1]},
        {"inputs": [*Platform.inputs(), {"id": "inp_3", "port_name": "worker.text", "file_id": "c.txt"}]},
        {"inputs": [{**i, "port_name": "worker.other"} for i in Platform.inputs()]},
        {"inputs": [{**i, "data": {"metadata": {"class": "worn"}}} for i in Platform.inputs()]},
    ],
    ids=str,
)
def test_a_new_job_of_that_name_that_does_not_quite_fit_is_left_to_a_person(
    platform: Platform, other: dict[str, Any]
) -> None:
    """The platform may show values in another way than it was given them: that is no proof that it has no job."""
    platform.jobs = [platform.job("job_other", **other)]
    result = settled(platform)
    assert result.entries == ()
    assert "job_other" in result.unresolved["a"]


@pytest.mark.network
@pytest.mark.parametrize("other", [{"pipeline_key": "another"}], ids=str)
def test_a_job_of_another_pipeline_is_not_ours(platform: Platform, other: dict[str, Any]) -> None:
    platform.jobs = [platform.job("job_other", **other)]
    assert did_not_happen(settled(platform))


@pytest.mark.network
def test_defaults_that_the_platform_adds_do_not_make_it_another_job(platform: Platform) -> None:
    resolved = {"worker": {"parallelism": 1, "config": {"value": 1, "batch_size": 32}}, "sink": {}}
    platform.jobs = [platform.job("job_ours", parameters=resolved, status="SOMETHING_NEW")]
    assert adopted(settled(platform)) == ["job_ours"]


@pytest.mark.network
def test_a_list_without_parameters_is_completed_by_reading_the_job(platform: Platform) -> None:
    platform.hide_parameters = True
    platform.jobs = [
        platform.job("job_other", parameters={"worker": {"config": {"value": 2}}}),
        platform.job("job_ours"),
    ]
    result = settled(platform)
    assert adopted(result) == ["job_ours"]
    assert isinstance(result.entries[0], Submitted)
    assert result.entries[0].job["parameters"] == PARAMETERS


@pytest.mark.network
def test_a_job_that_is_older_than_the_intent_is_not_ours(platform: Platform) -> None:
    platform.jobs = [platform.job("job_old", age=63)]
    assert did_not_happen(settled(platform))


@pytest.mark.network
@pytest.mark.parametrize("created_at", [None, "", "yesterday", 5])
def test_a_job_that_does_not_say_its_age_is_not_ruled_out(platform: Platform, created_at: Any) -> None:
    platform.jobs = [platform.job("job_ours", created_at=created_at)]
    assert adopted(settled(platform)) == ["job_ours"]


@pytest.mark.network
@pytest.mark.parametrize("hours", [-1, 1])
@pytest.mark.parametrize("noted", [True, False])
def test_age_is_judged_by_the_clock_of_the_platform(hours: int, noted: bool) -> None:
    platform = Platform(Clock(), timedelta(hours=hours))
    at = platform.clock.now() - timedelta(minutes=10)
    known = rfc3339(at + platform.ahead) if noted else None
    asked = intent(at=at, platform_time=known)
    platform.jobs = [platform.job("job_old", age=663), platform.job("job_ours", age=599)]
    assert adopted(settled(platform, asked)) == ["job_ours"]
    platform.jobs = [platform.job("job_old", age=663)]
    assert did_not_happen(settled(platform, asked))


@pytest.mark.network
def test_a_recorded_job_is_not_taken_twice(platform: Platform) -> None:
    past = PastJob(job_id="job_past", fingerprint="sha256:" + "0" * 64, status="FAILED", reason="replaced")
    record: RecordedJob = recorded(job_id="job_known", history=(past,))
    platform.jobs = [platform.job("job_known"), platform.job("job_past")]
    assert did_not_happen(settled(platform, record=state(b=record)))
    platform.jobs.append(platform.job("job_ours"))
    assert adopted(settled(platform, record=state(b=record))) == ["job_ours"]


@pytest.mark.network
def test_each_intent_is_settled_for_itself(platform: Platform) -> None:
    platform.jobs = [
        platform.job("job_1", name="one"),
        platform.job("job_2", name="two"),
        platform.job("job_3", name="two"),
    ]
    platform.later = [platform.job("job_4", name="late")]
    result = settled(platform, intent("one"), intent("two"), intent("none"), intent("late"))
    assert list(result.unresolved) == ["two"]
    assert {e.name: getattr(e, "job_id", None) for e in result.entries} == {
        "one": "job_1",
        "none": None,
        "late": "job_4",
    }


def cannot(platform: Platform, when: Callable[[Request], bool], said: Answer) -> Callable[[Request], Answer]:
    return lambda request: said if when(request) else platform(request)


@pytest.mark.network
@pytest.mark.parametrize(
    "said", [answer(404), answer(500), answer(401), answer(200, {"jobs": [None]}), answer(200, b"<html>"), b""]
)
def test_a_platform_that_cannot_list_leaves_it_unknown(platform: Platform, said: Answer) -> None:
    platform.jobs = [platform.job("job_ours")]
    for when in (
        lambda r: "/batch/jobs?" in r.target,
        lambda r: "/inputs?" in r.target,
    ):
        result = look(platform.clock, cannot(platform, when, said))
        assert isinstance(result, Settled)
        assert result.entries == ()
        assert "could not be searched" in result.unresolved["a"]


@pytest.mark.network
def test_a_second_listing_that_fails_leaves_it_unknown(platform: Platform) -> None:
    script = cannot(platform, lambda r: platform.listings > 0, answer(503))
    result = look(platform.clock, script)
    assert result.entries == ()
    assert "could not be searched" in result.unresolved["a"]


@pytest.mark.network
def test_a_listed_job_that_cannot_be_read_leaves_it_unknown(platform: Platform) -> None:
    platform.hide_parameters = True
    platform.jobs = [platform.job("job_x")]
    script = cannot(platform, lambda r: r.target.endswith("/job_x"), answer(404, {"detail": "gone"}))
    result = look(platform.clock, script)
    assert result.entries == ()
    assert "job_x" in result.unresolved["a"]


@pytest.mark.network
def test_settling_never_submits(platform: Platform) -> None:
    requests: list[Request] = []

    def script(request: Request) -> Answer:
        requests.append(request)
        return platform(request)

    look(platform.clock, script)
    assert {r.method for r in requests} == {"GET"}


PIPELINES = Path(__file__).parents[1] / "acceptance" / "pipelines"


def test_a_lost_answer_of_the_embedded_service_is_settled(tmp_path: Path) -> None:
    async def run() -> None:
        clock = Clock(datetime.now().astimezone())
        async with (
            embedded(tmp_path, run_jobs=False, pipelines=PIPELINES) as app,
            Transport("http://local/v0.5", None, app=app) as transport,
        ):
            client = Client(transport)
            request = {"pipeline_type": "batch", "pipeline_key": "echo", "inputs": {}, "parameters": {}}
            asked = intent(at=clock.now()).model_copy(update={"request": request})

            async def find() -> Settled:
                return await settle(client, [asked], EMPTY, now=clock.now, sleep=clock.sleep, settle_time=WAIT)

            assert did_not_happen(await find())
            made = await client.submit("a", request, asked.token)
            assert isinstance(made, Made), made
            assert adopted(await find()) == [made.job.id]
            again = await client.submit("a", request, asked.token)
            assert isinstance(again, Made)
            assert again.job.id == made.job.id  # the token is the same, and so is the job

    asyncio.run(run())


@pytest.mark.network
@pytest.mark.parametrize(
    "other",
    [{"name": "A "}, {"pipeline_version": "1.1"}, {"pipeline_key": None}, {"pipeline_type": "training"}],
    ids=str,
)
def test_a_platform_that_shows_a_job_in_another_way_is_no_proof_of_absence(
    platform: Platform, other: dict[str, Any]
) -> None:
    platform.jobs = [platform.job("job_ours", **other)]
    pinned = intent()
    pinned = pinned.model_copy(update={"request": {**pinned.request, "pipeline_version": "1.1.1"}})
    result = settled(platform, pinned)
    assert result.entries == ()
    assert "job_ours" in result.unresolved["a"]


@pytest.mark.network
def test_clocks_of_a_platform_that_differ_a_little_are_left_to_a_person(platform: Platform) -> None:
    """A job in flight that was made shortly before the intent may be ours all the same; one that has ended is not."""
    platform.jobs = [platform.job("job_ours", age=20)]
    assert "job_ours" in settled(platform).unresolved["a"]
    platform.jobs = [platform.job("job_old", age=20, status="CANCELLED")]
    assert did_not_happen(settled(platform))
