"""`reconciler run` as a process: signals, kills, a webhook, a repository, and a second loop that takes over."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from running import environment, running_platform, until

pytestmark = [pytest.mark.network, pytest.mark.slow]
SECRET = "a-secret-of-the-tests"


class Scene:
    """A project, a platform, and loops under way."""

    def __init__(self, folder: Path, platform: Path) -> None:
        self.folder, self.platform = folder, platform
        self.env = environment(platform)
        self.loops: list[subprocess.Popen[str]] = []

    def write(self, name: str, folder: Path | None = None) -> None:
        spec: dict[str, Any] = {"name": name, "pipeline_type": "batch", "pipeline_key": "echo"}
        spec["parameters"] = {"worker": {"config": {"text": name}}}
        path = (folder or self.folder) / "specs" / f"{name}.json"
        path.parent.mkdir(exist_ok=True)
        path.with_suffix(".new").write_text(json.dumps(spec))
        path.with_suffix(".new").rename(path)

    def start(self, *arguments: str, log: str = "log", **env: str) -> subprocess.Popen[str]:
        command = ["reconciler", "run", "--listen", "127.0.0.1:0", "--log-format", "json", *arguments]
        with (self.folder / log).open("a") as stderr:
            loop = subprocess.Popen(command, cwd=self.folder, env=self.env | env, text=True, stderr=stderr)
        self.loops.append(loop)
        return loop

    def lines(self, log: str = "log") -> list[Any]:
        path = self.folder / log
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def told(self, event: str, log: str = "log", **fields: Any) -> list[Any]:
        return [line for line in self.lines(log) if line["event"] == event and fields.items() <= line.items()]

    def fault(self, rule: str) -> None:
        (self.platform / "faults").write_text(rule)

    def posts(self) -> int:
        log = self.platform / "requests.log"
        return log.read_text().count("POST /v0.5/batch/jobs\n") if log.exists() else 0

    def on_platform(self) -> Counter[str]:
        """Names of all jobs that there are."""
        request = urllib.request.Request(self.env["ATAI_API_ENDPOINT"] + "/v0.5/batch/jobs?limit=100")
        request.add_header("Authorization", f"Bearer {self.env['ATAI_API_KEY']}")
        with urllib.request.urlopen(request, timeout=30) as answer:
            return Counter(job["name"] for job in json.load(answer)["jobs"])

    def ask(self, path: str, method: str = "GET", log: str = "log", **headers: str) -> tuple[int, str]:
        url = self.told("listen", log)[-1]["url"] + path
        request = urllib.request.Request(url, method=method, headers=headers, data=b"{}" if method == "POST" else None)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    with running_platform(tmp_path / "platform", queue_only=True) as platform:
        work = tmp_path / "work"
        work.mkdir()
        made = Scene(work, platform)
        try:
            yield made
        finally:
            for loop in made.loops:
                loop.kill()
                loop.wait()
        for file in work.glob("log*"):
            assert "sk_acceptance" not in file.read_text(), "the key in a log"
            assert SECRET not in file.read_text()


def test_hangup_and_hook_ask_for_rounds_and_sigterm_ends_it_when_it_rests(scene: Scene) -> None:
    scene.write("a")
    loop = scene.start("--interval", "1h", RECONCILER_HOOK_SECRET=SECRET)
    until(lambda: scene.told("round", result="done"))
    assert scene.ask("/healthz") == (200, "ok\n")
    assert scene.ask("/readyz")[0] == 200
    scene.write("b")
    loop.send_signal(signal.SIGHUP)
    until(lambda: scene.told("round", trigger="signal", result="done"))
    scene.write("c")
    assert scene.ask("/hook", "POST", **{"X-Gitlab-Token": "guess"})[0] == 401
    assert scene.ask("/hook", "POST", **{"X-Gitlab-Token": SECRET})[0] == 202
    until(lambda: scene.told("round", trigger="hook", result="done"))
    status, metrics = scene.ask("/metrics")
    assert status == 200
    assert 'reconciler_jobs{status="PENDING"} 3.0' in metrics
    assert "reconciler_leader 1.0" in metrics
    loop.send_signal(signal.SIGTERM)
    assert loop.wait(30) == 0
    assert scene.on_platform() == Counter("abc")
    assert not (scene.folder / ".reconciler/state.journal").exists()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_in_a_round_ends_it_in_good_order(scene: Scene, number: int, code: int) -> None:
    for name in "abcd":
        scene.write(name)
    scene.fault("POST /batch/jobs 2 1 hang")
    loop = scene.start("--parallelism", "1")
    until(lambda: scene.posts() == 3)
    loop.send_signal(number)
    assert loop.wait(30) == code
    assert scene.told("round", result="interrupted")
    assert sum(scene.on_platform().values()) == 2
    scene.fault("")
    again = scene.start()
    until(lambda: scene.told("round", result="done"))
    assert scene.on_platform() == Counter("abcd")
    again.send_signal(number)
    assert again.wait(30) == 0


def test_a_second_signal_ends_it_at_once(scene: Scene) -> None:
    for name in "abcd":
        scene.write(name)
    scene.fault("POST /batch/jobs 2 1 hang")
    loop = scene.start("--parallelism", "1")
    until(lambda: scene.posts() == 3)
    loop.send_signal(signal.SIGTERM)
    until(lambda: scene.told("signal"))
    began = time.monotonic()
    loop.send_signal(signal.SIGTERM)
    assert loop.wait(30) == 143
    assert time.monotonic() - began < 3, "it waited for the request in flight"


def test_killed_in_the_middle_of_rounds_there_is_one_job_for_each_spec(scene: Scene) -> None:
    chance = random.Random(20261126)
    scene.fault("POST /batch/jobs 3 2 after:504\nPOST /batch/jobs 9 1 cut\nGET /batch/jobs 4 1 status:503")
    for number in range(4):
        for name in range(2):
            scene.write(f"job-{number}-{name}")
        before = scene.posts()
        loop = scene.start("--interval", "1s", "--parallelism", "1", log=f"log-{number}")
        if number % 2:
            until(lambda: scene.posts() > before)  # noqa: B023 - the first of two submissions is under way
        else:
            until(lambda: scene.told("listen", f"log-{number}"))  # noqa: B023
            time.sleep(chance.uniform(0, 1))
        loop.kill()
        loop.wait()
    scene.start("--interval", "1s")
    until(lambda: scene.told("round", result="done"))
    wanted = Counter(f"job-{number}-{name}" for number in range(4) for name in range(2))
    scene.fault("")  # one that the rounds had no need to meet would meet this question
    assert scene.on_platform() == wanted


def test_a_second_loop_stands_by_and_takes_over_when_the_first_is_killed(scene: Scene) -> None:
    scene.write("a")
    first = scene.start("--interval", "1s", log="log1")
    until(lambda: scene.told("round", "log1", result="done"))
    second = scene.start("--interval", "1s", log="log2")
    until(lambda: scene.told("standby", "log2"))
    assert f"pid {first.pid}" in scene.told("standby", "log2")[0]["message"]
    status, text = scene.ask("/readyz", log="log2")
    assert (status, json.loads(text)["reasons"]) == (503, ["another loop leads"])
    assert scene.ask("/healthz", log="log2")[0] == 200
    assert not scene.told("round", "log2")
    first.kill()
    scene.write("b")
    until(lambda: scene.told("round", "log2", result="done"))
    until(lambda: scene.on_platform() == Counter("ab"))
    second.send_signal(signal.SIGTERM)
    assert second.wait(30) == 0


def test_a_round_that_hangs_is_noticed(scene: Scene) -> None:
    scene.write("a")
    scene.start("--interval", "1s", "--hung-after", "2s")
    until(lambda: scene.told("round", result="done"))
    time.sleep(3)
    assert scene.ask("/healthz") == (200, "ok\n"), "a loop that rests is well"
    scene.fault("POST /batch/jobs 0 9 hang")
    scene.write("b")
    until(lambda: scene.ask("/healthz") == (503, "no progress for too long\n"))
    assert "no progress for too long" in json.loads(scene.ask("/readyz")[1])["reasons"]


def test_a_key_that_is_refused_ends_nothing_and_it_goes_on_when_it_works_again(scene: Scene) -> None:
    refused = "GET .* 0 9999 status:401\nPOST .* 0 9999 status:401"
    scene.fault(refused)
    scene.write("a")
    loop = scene.start("--interval", "1s")
    until(lambda: scene.told("round", result="denied"))
    assert scene.ask("/readyz")[0] == 503
    assert json.loads(scene.ask("/readyz")[1])["reasons"] == ["the platform refuses the API key, or what it asks for"]
    assert scene.ask("/healthz") == (200, "ok\n")
    time.sleep(3)
    assert len(scene.told("round")) == 1, "it does not ask again at each interval"
    scene.fault("")
    loop.send_signal(signal.SIGHUP)
    until(lambda: scene.told("round", result="done"))
    assert scene.ask("/readyz")[0] == 200
    assert scene.on_platform() == Counter("a")


def test_it_follows_a_repository(scene: Scene, tmp_path: Path) -> None:
    scene.env |= {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_SYSTEM": "/dev/null"}
    bare, desk = tmp_path / "origin.git", tmp_path / "desk"

    def git(*arguments: str, folder: Path = desk) -> str:
        who = [word for key in ("user.name=Ann", "user.email=ann@example.com") for word in ("-c", key)]
        done = subprocess.run(["git", *who, *arguments], cwd=folder, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    def push(name: str, *options: str) -> str:
        scene.write(name, desk)
        git("add", "specs")
        git("commit", "--quiet", "--message", name)
        git("push", "--quiet", *options, "origin", "HEAD:main")
        return git("rev-parse", "HEAD")

    git("init", "--quiet", "--bare", "--initial-branch=main", str(bare), folder=tmp_path)
    git("clone", "--quiet", str(bare), str(desk), folder=tmp_path)
    first = push("a")
    scene.start("--interval", "1s", "--repository", "../origin.git", "--checkout", "clone")
    until(lambda: scene.told("round", result="done", commit=first))
    push("b")
    until(lambda: scene.on_platform() == Counter("ab"))
    bare.rename(tmp_path / "away")
    until(lambda: scene.told("round", result="fetch_failed"))
    assert json.loads(scene.ask("/readyz")[1])["reasons"] == ["the repository cannot be fetched"]
    (tmp_path / "away").rename(bare)
    git("reset", "--quiet", "--hard", first)
    forced = push("c", "--force")
    until(lambda: scene.told("round", result="done", commit=forced))
    assert scene.on_platform() == Counter("abc"), "the spec of b is gone; without --prune its job goes on"
    state = json.loads((scene.folder / "clone/.reconciler/state.json").read_text())
    assert git("config", "remote.origin.url", folder=scene.folder / "clone") == str(bare)
    assert state["jobs"]["c"]["source"]["commit"] == forced
    assert state["jobs"]["c"]["source"]["branch"] == "main"
    assert state["jobs"]["c"]["source"]["dirty"] is False


def test_loops_on_two_machines_share_a_state_at_a_ref(scene: Scene, tmp_path: Path) -> None:
    """Each has a clone of its own, and so a lead of its own: the lease of the state keeps their rounds apart."""
    scene.env |= {
        f"GIT_{who}_{what}": "ann@example.com" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
    }
    scene.env["RECONCILER_TIMEOUT"] = "60s"  # git takes its time on a busy machine
    bare, desk = tmp_path / "origin.git", tmp_path / "desk"
    subprocess.run(["git", "init", "--quiet", "--bare", "--initial-branch=main", bare], check=True)
    subprocess.run(["git", "clone", "--quiet", bare, desk], check=True, stderr=subprocess.DEVNULL)

    def push(name: str) -> None:
        scene.write(name, desk)
        for words in ("add specs", f"commit --quiet --message {name}", "push --quiet origin HEAD:main"):
            subprocess.run(["git", *words.split()], cwd=desk, env=scene.env, check=True)

    push("a")
    log = ["git", "log", "--format=%s", "refs/reconciler/default"]
    where = ("--repository", str(bare), "--checkout", "clone0", "--state", "git:")
    refused = scene.start("--interval", "1s", "--max-submissions", "0", *where, log="log0")
    until(lambda: len(scene.told("round", "log0", result="refused")) > 1)
    refused.send_signal(signal.SIGTERM)
    refused.wait(30)
    assert subprocess.run(log, cwd=bare, capture_output=True, check=False).returncode, "it left something in the log"
    for number in "12":
        where = ("--repository", str(bare), "--checkout", f"clone{number}", "--state", "git:")
        scene.start("--interval", "2s", *where, log=f"log{number}")
    until(lambda: scene.told("round", "log1", result="done") and scene.told("round", "log2", result="done"))
    told = subprocess.run(log, cwd=bare, capture_output=True, check=True, text=True).stdout.splitlines()
    assert told[-1] == "run: 1 new, serial 2"
    assert "nothing new" not in "".join(told)
    push("b")
    push("c")
    until(lambda: scene.on_platform() == Counter("abc"))
    before = [len(scene.told("round", log, result="done")) for log in ("log1", "log2")]
    until(lambda: all(len(scene.told("round", f"log{n}", result="done")) > before[n - 1] for n in (1, 2)))
    assert scene.on_platform() == Counter("abc")
    scene.loops[0].kill()
    push("d")
    until(lambda: scene.on_platform() == Counter("abcd"), seconds=120)


@pytest.mark.parametrize(
    ("arguments", "env", "words"),
    [
        (("--interval", "0s"), {}, "shorter than 1s"),
        (("--listen", "nowhere"), {}, "is not ADDRESS:PORT"),
        (("--listen", "none"), {"RECONCILER_HOOK_SECRET": SECRET}, "takes no hook"),
        ((), {"RECONCILER_HOOK_SECRET": "short"}, "less than 16 characters"),
        ((), {"ATAI_API_KEY": ""}, "there is no API key"),
        (("--checkout", "x"), {}, "there is no --repository"),
        (("--repository", "https://ann:pw@host/x"), {}, "name or a password"),
        (("--repository", "/nowhere", "--checkout", "specs"), {}, "is not empty"),
        (("--branch", "x"), {}, "there is no --repository"),
        (("--format", "json"), {}, "--format"),
        ((), {"RECONCILER_FORMAT": "json"}, "write --log-format json"),
        (("--intervall", "1s"), {}, "--intervall"),
        ((), {"RECONCILER_RUN_INTERVAL": "soon"}, "'soon' is not a duration"),
        (("--environment", "production"), {}, "has no environment 'production'"),
    ],
)
def test_what_is_asked_for_wrongly_is_said_at_once(
    scene: Scene, arguments: tuple[str, ...], env: dict[str, str], words: str
) -> None:
    scene.write("a")
    loop = scene.start(*arguments, **env)
    assert loop.wait(30) == 64
    last = scene.lines()[-1]
    assert (last["level"], last["event"], last["exit_code"]) == ("error", "stop", 64)
    assert words in f"{last['message']}; {last.get('hint')}"
    assert "Traceback" not in (scene.folder / "log").read_text()
    assert scene.posts() == 0


def test_with_json_each_line_is_json_also_a_warning_and_a_bug(scene: Scene, tmp_path: Path) -> None:
    scene.write("a")
    (tmp_path / "reconciler.yaml").write_text("parallelism: 1\n")
    loop = scene.start("--interval", "1s")
    until(lambda: len(scene.told("round", result="done")) > 2)
    loop.kill()
    assert [line["message"].partition(";")[0] for line in scene.told("warning")] == [
        "there is no reconciler.yaml here, but in ..: run it there (-C ..)"
    ]
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "prometheus_client.py").write_text("raise ValueError('as if it were broken')")
    loop = scene.start(log="log2", PYTHONPATH=str(broken))
    assert loop.wait(30) == 70
    last = scene.lines("log2")[-1]
    assert last["message"].endswith("ValueError: as if it were broken")
    assert "prometheus_client.py" in last["traceback"]


def test_in_text_an_error_at_the_start_is_told_as_by_every_command(scene: Scene) -> None:
    scene.write("a")
    scene.start("--log-format", "text", "--branch", "x").wait(30)
    text = (scene.folder / "log").read_text()
    assert text == "error: --branch is for a clone, and there is no --repository\n"


def test_a_port_that_is_taken_is_said_at_once(scene: Scene) -> None:
    scene.write("a")
    scene.start("--interval", "1h")
    until(lambda: scene.told("listen"))
    port = re.sub(r".*:", "", scene.told("listen")[0]["url"])
    loop = scene.start("--listen", f"127.0.0.1:{port}", log="log2")
    assert loop.wait(30) == 64
    assert "cannot listen" in (scene.folder / "log2").read_text()


def test_without_the_extra_it_runs_when_nobody_is_to_be_answered(scene: Scene, tmp_path: Path) -> None:
    """As in an installation without `[service]`, where these packages are not there."""
    missing = tmp_path / "missing"
    missing.mkdir()
    for name in ("uvicorn", "starlette", "prometheus_client", "fastapi"):
        (missing / f"{name}.py").write_text(f"raise ModuleNotFoundError('No module named {name}', name='{name}')")
    scene.write("a")
    loop = scene.start(PYTHONPATH=str(missing))
    assert loop.wait(30) == 64
    assert "pip install 'reconciler[service]'; or give --listen none" in (scene.folder / "log").read_text()
    (scene.folder / "log").unlink()
    scene.start("--listen", "none", PYTHONPATH=str(missing))
    until(lambda: scene.told("round", result="done"))
    assert scene.on_platform() == Counter("a")


def test_a_reader_of_the_log_that_goes_away_does_not_end_it(scene: Scene) -> None:
    scene.write("a")
    reading, writing = os.pipe()
    command = ["reconciler", "run", "--listen", "none", "--interval", "1s"]
    loop = subprocess.Popen(command, cwd=scene.folder, env=scene.env, stderr=writing)
    scene.loops.append(loop)  # type: ignore[arg-type]
    os.close(writing)
    os.read(reading, 10)
    os.close(reading)
    until(lambda: scene.on_platform() == Counter("a"))
    scene.write("b")
    until(lambda: scene.on_platform() == Counter("ab"))
    loop.send_signal(signal.SIGTERM)
    assert loop.wait(30) in (0, 143), "neither at rest nor in a round was it stopped in good order"
