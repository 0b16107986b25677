"""Rounds against the real service in this process, with time that passes only when the loop rests."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from http_server import Clock
from starlette.responses import JSONResponse

from reconciler.apply import Outcome
from reconciler.client import Client, Transport
from reconciler.errors import Diagnostic, ExitCode, SpecError, UsageError
from reconciler.facts import PlanOptions
from reconciler.guards import parse_limit
from reconciler.loop.following import Folder
from reconciler.loop.health import Health
from reconciler.loop.leading import Leadership
from reconciler.loop.logs import Log
from reconciler.loop.loop import Loop
from reconciler.loop.metrics import Metrics
from reconciler.loop.rounds import Round, Rounds
from reconciler.loop.telling import Telling
from reconciler.reconcile import PlanRequest, Settings, cancel
from reconciler.reconcile.session import open_session
from reconciler.service.embedded import embedded

PIPELINES = Path(__file__).parents[1] / "acceptance" / "pipelines"
KEY = "sk_loop_0123456789"


@dataclass(frozen=True, slots=True)
class Here(Settings):
    """Settings whose platform is an application in this process; without one, nobody listens."""

    app: Any = None

    @contextlib.asynccontextmanager
    async def connect(self, *, run_jobs: bool = False) -> AsyncIterator[Client]:
        if self.app is None:
            async with Settings.connect(self) as client:
                yield client
            return
        async with Transport("http://local/v0.5", KEY, app=self.app, timing=self.timing) as transport:
            yield Client(transport)


async def _swallow(message: Any) -> None:
    pass


@dataclass
class Heard:
    """Passes on what is told, and keeps the rounds."""

    telling: Telling
    made: list[Round]

    def progress(self) -> None:
        self.telling.progress()

    def outcome(self, number: int, outcome: Outcome) -> None:
        self.telling.outcome(number, outcome)

    def round(self, made: Round) -> None:
        self.made.append(made)
        self.telling.round(made)


@dataclass
class Scene:
    """A project, a platform, and what a loop on them told. `before` sees each request before the platform does."""

    root: Path
    app: Any
    clock: Clock = field(default_factory=Clock)
    options: dict[str, Any] = field(default_factory=dict)
    before: Callable[[str], Awaitable[None] | None] = lambda line: None
    lost: bool = False
    """Whether the answer to a submission is lost, and nothing is answered any more."""
    down: bool = False
    """Whether nobody listens."""
    status: int | None = None
    """What is answered to requests that `refuses`, instead of an answer."""
    refuses: Callable[[str], bool] = lambda line: True
    requests: list[str] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    made: list[Round] = field(default_factory=list)
    rests: list[float] = field(default_factory=list)
    broken: Exception | None = None
    """What reading the settings raises."""
    metrics: Metrics = field(default_factory=Metrics)
    health: Health = field(default_factory=lambda: Health(900))
    loop: Loop = field(init=False)

    def __post_init__(self) -> None:
        self.loop = self.another()

    def another(self, form: Any = "text") -> Loop:
        """One more loop on the same project."""
        leadership = Leadership("run")
        log = Log(self.lines.append, form, (KEY,), now=self.clock.now)
        heard = Heard(Telling(log, self.health, leadership, self.metrics), self.made)
        rounds = Rounds(Folder(), self.read, leadership, heard, now=self.clock.now)
        return Loop(rounds, 60.0, random=lambda: 0.5)

    def read(self) -> tuple[Settings, PlanRequest]:
        if self.broken:
            raise self.broken
        state = self.root / ".reconciler" / "state.json"
        timing = self.clock.timing(0)
        endpoint, app = "http://127.0.0.1:9/v0.5", None if self.down else self.witness
        settings = Here(self.root, state, endpoint, KEY, settle_time=1, timing=timing, app=app)
        return settings, PlanRequest((self.root / "specs",), PlanOptions(**self.options))

    async def witness(self, scope: Any, receive: Any, send: Any) -> None:
        line = f"{scope['method']} {scope['path'].removeprefix('/v0.5')}"
        self.requests.append(line)
        if (pause := self.before(line)) is not None:
            await pause
        if self.status is not None and self.refuses(line):
            await JSONResponse({"errors": [{"code": "no", "message": "not with this key"}]}, self.status)(
                scope, receive, send
            )
            return
        if self.lost and scope["method"] == "POST":
            self.down_after_this()
            await self.app(scope, receive, _swallow)
            raise ConnectionResetError
        await self.app(scope, receive, send)

    def down_after_this(self) -> None:
        def down(line: str) -> None:
            raise ConnectionResetError

        self.before = down

    def write(self, name: str, **config: Any) -> None:
        spec = {"name": name, "pipeline_type": "batch", "pipeline_key": "echo"}
        path = self.root / "specs" / f"{name}.json"
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(spec | {"parameters": {"worker": {"config": config}}}))

    def posts(self) -> int:
        return self.requests.count("POST /batch/jobs")

    def jobs(self) -> dict[str, str]:
        state = json.loads((self.root / ".reconciler" / "state.json").read_text())
        return {name: record["job_id"] for name, record in state["jobs"].items()}

    def results(self) -> list[str]:
        return [made.result for made in self.made]

    def sample(self, name: str) -> float:
        lines = self.metrics.text().decode().splitlines()
        return next(float(line.split()[-1]) for line in lines if line.startswith(f"reconciler_{name} "))

    async def run(self, *steps: Callable[[], Any], loop: Loop | None = None) -> ExitCode:
        """Run the loop: after each round comes the next step, and after the last one SIGTERM."""
        running, left = loop or self.loop, list(steps)

        async def pause(event: asyncio.Event, seconds: float) -> None:
            self.rests.append(seconds)
            if not left:
                running.stop(signal.SIGTERM)
                return
            if asyncio.iscoroutine(waits := left.pop(0)()):
                await waits
            if not event.is_set():
                await self.clock.sleep(seconds)

        running.pause = pause
        try:
            return await running.run()
        finally:
            await running.rounds.close()


def scene(folder: Path, play: Callable[[Scene], Awaitable[None]], *, run_jobs: bool = False) -> Scene:
    """Play on a platform whose jobs stay PENDING, but with `run_jobs`."""

    async def run() -> Scene:
        async with embedded(folder / "platform", run_jobs=run_jobs, pipelines=PIPELINES) as app:
            (folder / "work").mkdir()
            made = Scene(folder / "work", app)
            await play(made)
            assert not any(KEY in line for line in made.lines)
            return made

    return asyncio.run(run())


def nothing() -> None:
    """A step that leaves all as it is."""


def test_it_submits_once_and_then_what_is_new(tmp_path: Path) -> None:
    async def play(it: Scene) -> None:
        it.write("a", text="one")
        code = await it.run(nothing, lambda: it.write("b", text="two"), nothing)
        assert code == ExitCode.OK
        assert it.results() == ["done"] * 4
        assert it.posts() == 2
        assert set(it.jobs()) == {"a", "b"}
        assert [made.trigger for made in it.made] == ["start", "interval", "interval", "interval"]
        assert it.rests == [60.0] * 4
        assert it.sample('rounds_total{result="done"}') == 4
        assert it.sample('jobs{status="PENDING"}') == 2
        assert it.sample('actions_total{action="create",outcome="done"}') == 2

    scene(tmp_path, play)


def test_the_pause_has_jitter(tmp_path: Path) -> None:
    async def play(it: Scene) -> None:
        it.write("a")
        for value, expected in ((0.0, 54.0), (1.0, 66.0)):
            loop = it.another()
            loop.random = lambda value=value: value  # type: ignore[misc]
            await it.run(loop=loop)
            assert it.rests[-1] == pytest.approx(expected)

    scene(tmp_path, play)


def test_triggers_during_a_round_are_one_more_round(tmp_path: Path) -> None:
    async def play(it: Scene) -> None:
        it.write("a")

        def before(line: str) -> None:
            if line.startswith("POST"):
                for _ in range(50):
                    it.loop.trigger("hook")

        it.before = before
        await it.run(nothing, lambda: it.loop.trigger("signal"))
        assert [made.trigger for made in it.made] == ["start", "hook", "interval", "signal"]
        assert len(it.rests) == 3, "no rest between a round and one that was asked for during it"

    scene(tmp_path, play)


def test_a_job_that_is_refused_is_tried_after_1_2_4_minutes_and_the_others_go_on(tmp_path: Path) -> None:
    async def play(it: Scene) -> None:
        it.loop.interval = 20.0
        it.write("bad", level=7)
        it.write("good", level=1)
        tried: list[float] = []
        began = it.clock.now()
        it.before = lambda line: tried.append((it.clock.now() - began).total_seconds()) if "POST" in line else None
        late = [nothing] * 12 + [lambda: it.write("late", level=1)] + [nothing] * 12
        await it.run(*late)
        assert tried == [0, 0, 60, 180, 260, 420]
        assert "late" in it.jobs()
        assert it.sample("held_back_jobs") == 1
        told = [line for line in it.lines if "not before" in line]
        assert len(told) == 4, "that it waits is told once for each pause"
        assert "bad: new; the last try failed" in told[0]

    scene(tmp_path, play)


def test_it_wakes_up_for_a_job_whose_time_has_come(tmp_path: Path) -> None:
    async def play(it: Scene) -> None:
        it.loop.interval = 600.0
        it.write("bad", level=7)
        await it.run(nothing, nothing, nothing)
        assert it.rests == [60.0, 120.0, 240.0, 480.0]
        assert [made.trigger for made in it.made][1:] == ["backoff"] * 3

    scene(tmp_path, play)


def test_a_changed_spec_is_tried_at_once(tmp_path: Path) -> None:
    async def play(it: Scene) -> None:
        it.loop.interval = 10.0
        it.write("a", level=7)
        await it.run(nothing, lambda: it.write("a", level=8), nothing, lambda: it.write("a", level=1), nothing)
        assert it.posts() == 3
        assert it.results() == ["failed", "done", "failed", "done", "done", "done"]
        assert it.loop.rounds.backoff.failing == {}

    scene(tmp_path, play)


@pytest.mark.network
def test_an_outage_slows_the_rounds_down_and_blames_no_job(tmp_path: Path) -> None:
    async def play(it: Scene) -> None:
        it.write("a")

        def down() -> None:
            it.down = True
            it.write("b")
            it.write("c")

        def up() -> None:
            it.down = False

        await it.run(down, *[nothing] * 5, up, nothing)
        assert it.results() == ["done", *["unavailable"] * 6, "done", "done"]
        assert it.rests == [60, 60, 120, 240, 480, 600, 600, 60, 60]
        assert it.made[1].unobserved == 1
        assert it.posts() == 3
        assert set(it.jobs()) == set("abc")
        assert it.made[-1].held == frozenset()

    scene(tmp_path, play)


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_key_slows_the_rounds_down_blames_no_job_and_is_over_when_it_works_again(
    tmp_path: Path, status: int
) -> None:
    async def play(it: Scene) -> None:
        it.write("a")

        def revoked() -> None:
            it.status = status
            it.write("b")

        def restored() -> None:
            assert it.health.reasons() == ["the platform refuses the API key, or what it asks for"]
            assert it.health.alive()
            it.status = None

        await it.run(revoked, *[nothing] * 5, restored, nothing)
        assert it.results() == ["done", *["denied"] * 6, "done", "done"]
        assert it.rests == [60, 60, 120, 240, 480, 600, 600, 60, 60]
        assert it.sample('rounds_total{result="denied"}') == 6
        assert {made.held for made in it.made} == {frozenset()}
        assert it.health.reasons() == []
        assert set(it.jobs()) == {"a", "b"}
        assert it.posts() == 2
        assert sum("not with this key" in line for line in it.lines) == 6

    scene(tmp_path, play)


def test_a_key_that_may_look_but_not_submit_blames_no_job(tmp_path: Path) -> None:
    async def play(it: Scene) -> None:
        it.write("a")

        def reading_only() -> None:
            it.status, it.refuses = 403, lambda line: line.startswith("POST")
            it.write("b")
            it.write("c")

        def restored() -> None:
            it.status = None

        await it.run(reading_only, nothing, restored)
        assert it.results() == ["done", "denied", "denied", "done"]
        assert it.rests[1:] == [60, 120, 60]
        assert any("denied in" in line and "check ATAI_API_KEY" in line for line in it.lines)
        assert set(it.jobs()) == {"a", "b", "c"}

    scene(tmp_path, play)


def test_one_job_that_the_key_may_not_submit_holds_up_no_other(tmp_path: Path) -> None:
    async def play(it: Scene) -> None:
        it.write("a")

        def only_this() -> None:
            it.status, it.refuses = 403, lambda line: line.startswith("POST")
            it.write("b")

        await it.run(only_this)
        assert it.results() == ["done", "failed"]
        assert it.made[-1].held == {"b"}
        assert it.health.reasons() == []

    scene(tmp_path, play)


@pytest.mark.network
def test_an_outage_at_the_very_start_is_over_at_once_when_somebody_says_so(tmp_path: Path) -> None:
    async def play(it: Scene) -> None:
        it.write("a")

        def up() -> None:
            it.down = False
            it.loop.trigger("signal")

        it.down = True
        await it.run(up)
        assert it.results() == ["unavailable", "done"]
        assert it.clock.now() == Clock().time

    scene(tmp_path, play)


def test_a_lost_answer_is_settled_by_the_next_round(tmp_path: Path) -> None:
    async def play(it: Scene) -> None:
        it.write("a")
        it.lost = True

        def up() -> None:
            it.lost = False
            it.before = lambda line: None

        await it.run(up, nothing)
        assert it.made[0].outcomes[0].outcome == "unknown"
        assert it.results() == ["failed", "done", "done"]
        assert it.posts() == 1
        assert it.sample("unknown_submissions") == 0
        assert any("answer to its submission was lost" in line for line in it.lines)

    scene(tmp_path, play)


def test_invalid_specs_do_nothing_and_the_jobs_go_on_being_observed(tmp_path: Path) -> None:
    async def play(it: Scene) -> None:
        it.write("a", text="one")

        def spoil() -> None:
            it.write("b", text="two")
            (it.root / "specs" / "c.yaml").write_text("name: c\npipeline_typ: batch\n")

        async def finished() -> None:
            assert it.made[-1].result == "invalid"
            assert it.sample("spec_errors") == 2
            await asyncio.sleep(0)
            for _ in range(200):
                if (await client(it).observe(it.jobs()["a"])).job.status == "COMPLETED":  # type: ignore[union-attr]
                    return
                await asyncio.sleep(0.05)

        def mend() -> None:
            (it.root / "specs" / "c.yaml").unlink()

        await it.run(spoil, finished, nothing, mend)
        assert it.results() == ["done", "invalid", "invalid", "invalid", "done"]
        assert it.made[3].jobs is not None
        assert it.made[3].jobs["a"].status == "COMPLETED"
        assert it.made[3].plan is None
        assert it.sample("spec_errors") == 0
        assert set(it.jobs()) == {"a", "b"}
        faults = [line for line in it.lines if "unknown-field" in line]
        assert len(faults) == 1, "a fault is told once, not at each round"
        assert "c.yaml:2:1" in faults[0]

    scene(tmp_path, play, run_jobs=True)


def client(it: Scene) -> Client:
    return Client(Transport("http://local/v0.5", KEY, app=it.app))


def test_a_plan_that_a_guard_refuses_changes_nothing(tmp_path: Path) -> None:
    async def play(it: Scene) -> None:
        it.options = {"limits": {"max_submissions": parse_limit("1")}}
        it.write("a")
        it.write("b")
        await it.run(nothing, lambda: it.options.clear())
        assert it.results() == ["refused", "refused", "done"]
        assert it.made[0].jobs == {}
        assert any(
            "refused in" in line and "2 jobs would be submitted, max_submissions allows 1" in line for line in it.lines
        )
        assert it.posts() == 2

    scene(tmp_path, play)


def test_removed_specs_are_pruned_only_when_it_is_asked_for(tmp_path: Path) -> None:
    async def play(it: Scene) -> None:
        it.write("a")
        it.write("b")
        orphans: list[float] = []

        def prune() -> None:
            orphans.append(it.sample("plan_orphans"))
            it.options["prune"] = True

        await it.run(lambda: (it.root / "specs/b.json").unlink(), prune)
        assert orphans == [1]
        assert set(it.jobs()) == {"a"}

    scene(tmp_path, play)


@pytest.mark.parametrize(
    ("what", "words"),
    [
        ("older", "has gone back: it had serial 3, and has 2 now"),
        ("gone", "is gone"),
        ("other", "is of another history now"),
    ],
)
def test_a_state_that_git_put_back_or_took_away_is_refused_until_the_newer_one_is_back(
    tmp_path: Path, what: str, words: str
) -> None:
    """As 'git reset --hard' does, or 'git clean -fdx', in a folder whose state was committed. The jobs that the older
    one does not know would be submitted a second time.
    """

    async def play(it: Scene) -> None:
        state = it.root / ".reconciler" / "state.json"
        kept: list[bytes] = []
        it.write("a")

        def keep() -> None:
            kept.append(state.read_bytes())
            it.write("b")

        def put_back() -> None:
            kept.append(state.read_bytes())
            it.write("c")
            if what == "older":
                state.write_bytes(kept[0])
            elif what == "gone":
                state.unlink()
            else:
                other = json.loads(kept[1]) | {"lineage": "00000000-0000-4000-8000-000000000000", "serial": 99}
                state.write_text(json.dumps(other))

        def bring_back() -> None:
            state.write_bytes(kept[1])

        await it.run(keep, put_back, nothing, bring_back)
        assert it.results() == ["done", "done", "error", "error", "done"]
        assert words in str(it.made[2].error)
        assert it.posts() == 3
        assert set(it.jobs()) == {"a", "b", "c"}

    scene(tmp_path, play)


def test_a_second_loop_stands_by_and_takes_over(tmp_path: Path) -> None:
    async def play(it: Scene) -> None:
        it.write("a")
        second = it.another()
        roles: list[float] = []

        async def stand_by() -> None:
            before = len(it.requests)
            await it.run(nothing, nothing, loop=second)
            assert len(it.requests) == before, "who stands by asks the platform nothing"
            roles.append(it.sample("leader"))

        await it.run(stand_by)
        assert roles == [0]
        assert it.results()[1:4] == ["standby"] * 3
        assert it.rests[1:4] == [5.0] * 3
        told = [line for line in it.lines if "another loop leads" in line]
        assert len(told) == 1
        assert "'run' of" in told[0]
        await it.run(nothing, loop=it.another())
        assert it.results()[-2:] == ["done", "done"], "the lead is free when its holder has ended"
        assert it.posts() == 1

    scene(tmp_path, play)


def test_between_rounds_people_work_on_the_state_by_hand(tmp_path: Path) -> None:
    async def play(it: Scene) -> None:
        it.write("a")

        async def by_hand() -> None:
            from reconciler.reconcile import Hooks
            from reconciler.signals import Stop

            made = await cancel(it.read()[0], [it.root / "specs"], ["a"], PlanOptions(), Stop(), Hooks())
            assert [o.outcome for o in made.outcomes] == ["done"]

        await it.run(by_hand, nothing)
        assert it.results() == ["done"] * 3
        assert it.posts() == 1
        assert it.sample('jobs{status="CANCELLED"}') == 1
        assert any("a is CANCELLED, was PENDING" in line for line in it.lines)

    scene(tmp_path, play)


def test_while_somebody_holds_the_state_a_round_is_left_out(tmp_path: Path) -> None:
    async def play(it: Scene) -> None:
        it.write("a")
        it.loop.interval = 3600.0
        async with open_session(it.read()[0]):
            await it.run(nothing)
        assert it.results() == ["locked", "locked"]
        assert it.rests == [60.0, 60.0]
        await it.run(loop=it.another())
        assert it.results()[-1] == "done"

    scene(tmp_path, play)


def test_what_was_started_wrongly_ends_at_once_and_later_is_a_failed_round(tmp_path: Path) -> None:
    async def play(it: Scene) -> None:
        it.write("a")
        it.broken = UsageError("there is no API key")
        with pytest.raises(UsageError):
            await it.run()

        def mend() -> None:
            it.broken = None

        def spoil() -> None:
            it.broken = UsageError("no such environment")

        it.broken = None
        await it.run(spoil, mend, loop=it.another())
        assert it.results() == ["error", "done", "error", "done"]

    scene(tmp_path, play)


def test_a_bug_is_told_with_its_place_and_the_loop_goes_on(tmp_path: Path) -> None:
    async def play(it: Scene) -> None:
        it.write("a")
        loop = it.another("json")

        def spoil() -> None:
            it.broken = ZeroDivisionError(f"with the key {KEY}")

        def mend() -> None:
            it.broken = None

        await it.run(spoil, mend, loop=loop)
        assert it.results() == ["done", "error", "done"]
        line = next(json.loads(line) for line in it.lines if '"error"' in line)
        assert "this is a bug" in line["message"]
        assert "test_loop.py" in line["traceback"]

    scene(tmp_path, play)


def test_a_signal_during_a_round_ends_it_as_apply_does(tmp_path: Path) -> None:
    async def play(it: Scene) -> None:
        for name in "abcde":
            it.write(name)

        def third(line: str) -> None:
            if it.posts() == 3:
                it.loop.stop(signal.SIGTERM)

        it.before = third
        settings, request = it.read()
        it.loop.rounds.read = lambda: (settings_with(settings, parallelism=1), request)
        assert await it.run() == ExitCode.SIGTERM
        assert it.results() == ["interrupted"]
        assert set(it.jobs()) == set("abc"), "the request in flight was finished, and no other begun"
        it.before = lambda line: None
        assert await it.run(loop=it.another()) == ExitCode.OK
        assert set(it.jobs()) == set("abcde")
        assert it.posts() == 5

    scene(tmp_path, play)


def settings_with(settings: Settings, **how: Any) -> Settings:
    import dataclasses

    return dataclasses.replace(settings, **how)


def test_a_signal_while_an_invalid_round_observes_ends_it_in_good_order(tmp_path: Path) -> None:
    async def play(it: Scene) -> None:
        it.write("a")

        def spoil() -> None:
            (it.root / "specs" / "c.yaml").write_text("name: c\npipeline_typ: batch\n")
            it.before = lambda line: it.loop.stop(signal.SIGTERM)

        assert await it.run(spoil) == ExitCode.SIGTERM
        assert it.results() == ["done", "interrupted"]

    scene(tmp_path, play)


def test_a_bug_in_what_observes_does_not_end_it_either(tmp_path: Path) -> None:
    async def play(it: Scene) -> None:
        it.write("a")

        def spoil() -> None:
            it.broken = SpecError([Diagnostic("not-settings", "more than one document")])
            it.loop.rounds.settings = Here(it.root, Path("state.json"), "local", parallelism=None)  # type: ignore[arg-type]

        def mend() -> None:
            it.broken = None

        await it.run(spoil, mend)
        assert it.results() == ["done", "error", "done"]
        assert any("this is a bug" in line for line in it.lines)

    scene(tmp_path, play)


def test_a_signal_while_it_rests_ends_it_at_once(tmp_path: Path) -> None:
    async def play(it: Scene) -> None:
        it.write("a")
        running = asyncio.create_task(it.loop.run())  # with the clock of this machine
        while "done" not in "".join(it.lines) or it.loop._round is not None:
            await asyncio.sleep(0.02)
        it.loop.stop(signal.SIGINT)
        assert await asyncio.wait_for(running, 10) == ExitCode.OK
        await it.loop.rounds.close()

    scene(tmp_path, play)


def test_each_round_and_each_action_is_a_line_of_json(tmp_path: Path) -> None:
    async def play(it: Scene) -> None:
        it.write("good", level=1)
        it.write("bad", level=7)
        await it.run(loop=it.another("json"))
        lines = [json.loads(line) for line in it.lines]
        actions = {line["name"]: line for line in lines if line["event"] == "action"}
        assert actions["good"]["job_id"] == it.jobs()["good"]
        assert (actions["bad"]["outcome"], actions["bad"]["level"]) == ("failed", "error")
        last = lines[-1]
        assert (last["event"], last["round"], last["result"], last["trigger"]) == ("round", 1, "failed", "start")
        assert last["outcomes"] == {"done": 1, "failed": 1}
        assert last["time"] == "2026-04-14T10:00:00Z"

    scene(tmp_path, play)


@pytest.mark.parametrize("form", ["text", "json"])
def test_no_line_holds_a_control_character_a_key_or_a_password(form: Any) -> None:
    lines: list[str] = []
    log = Log(lines.append, form, ("s3cret",))
    log.line("error", "x", "a\nb\x1b[2J \u202e https://ann:pw@host/ s3cret", name="c\rd s3cret")
    assert len(lines) == 1
    assert lines[0].isprintable()
    assert "s3cret" not in lines[0]
    assert "pw@" not in lines[0]


def test_quiet_leaves_out_what_went_well() -> None:
    lines: list[str] = []
    log = Log(lines.append, quiet=True)
    log.line("info", "x", "well")
    log.line("warning", "x", "not so well")
    assert len(lines) == 1
