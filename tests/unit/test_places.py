"""Places of the state, as the command line has them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest
from shared_places import git

from reconciler.cli.main import cli, run
from reconciler.cli.options import Options
from reconciler.cli.running import _as_they_are
from reconciler.lock import locked

HOW = {"prune": False, "adopt": True, "allow_empty": False, "repository": None}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for variable in ("RECONCILER_STATE", "RECONCILER_LEASE", "RECONCILER_ENVIRONMENT", "ATAI_API_ENDPOINT"):
        monkeypatch.delenv(variable, raising=False)
    Path("reconciler.yaml").write_text("endpoint: local\nenvironments: {staging: {}}\n")
    Path(".reconciler").mkdir()
    for name in ("state.json", "state.staging.json"):
        state: dict[str, object] = {"version": 1, "lineage": name, "serial": 1, "endpoint": "local", "jobs": {}}
        Path(".reconciler", name).write_text(json.dumps(state))
    return tmp_path


@pytest.mark.parametrize(
    ("words", "setting"),
    [
        ([], "state: .reconciler/new.json"),
        (["--environment", "staging"], "environments: {staging: {state: .reconciler/new.json}}"),
    ],
)
def test_migrate_says_where_the_new_place_is_written(
    project: Path, capsys: pytest.CaptureFixture[str], words: list[str], setting: str
) -> None:
    assert run([*words, "state", "migrate", ".reconciler/new.json", "--yes"]) == 0
    assert f"write it into reconciler.yaml:  {setting}\n" in capsys.readouterr().err


@pytest.mark.parametrize(("state", "patience"), [("git:", 70.0), (".reconciler/state.json", 10.0)])
def test_a_round_waits_until_a_lock_without_a_sign_of_life_can_be_taken_over(
    project: Path, state: str, patience: float
) -> None:
    with click.Context(cli, info_name="reconciler") as group, click.Context(cli, group, "run"):
        settings, _ = _as_they_are(Options(state=state), None, HOW, print)
    assert settings.lock_timeout == patience


@pytest.mark.parametrize(("words", "told"), [([], 1), (["--quiet"], 0)])
def test_a_command_that_waits_for_the_lock_says_so_without_a_terminal(
    project: Path, capsys: pytest.CaptureFixture[str], words: list[str], told: int
) -> None:
    with locked(Path(".reconciler", "state.lock"), "apply"):
        assert run([*words, "--lock-timeout", "1200ms", "settle"]) == 5
    said = capsys.readouterr().err
    assert said.count("Waiting for the lock of .reconciler/state.json, held by 'apply' of ") == told
    assert "the state is locked by 'apply' of " in said


@pytest.mark.parametrize(("state", "warned"), [("git:", True), (".reconciler/state.json", False)])
def test_a_shared_state_of_jobs_that_are_on_one_machine_is_warned_of(
    project: Path, state: str, warned: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    git("init", "--quiet", "--bare", "origin.git", folder=project)
    git("init", "--quiet", folder=project)
    git("remote", "add", "origin", "origin.git", folder=project)
    Path("specs").mkdir()
    for command in ("plan", "apply"):
        assert (
            run(["--state", state, "--format", "json", command, "--allow-empty", *["--yes"][: command == "apply"]]) == 0
        )
        told = capsys.readouterr()
        assert ("others find them gone in git:refs/reconciler/default" in told.out + told.err) == warned


DIES = """
import asyncio, os, sys
from reconciler.cli.options import Options
async def hold():
    settings = Options(state=sys.argv[1]).settings("apply")
    async with settings.store().locked("apply", 0, print):
        os._exit(9)
asyncio.run(hold())
"""


@pytest.mark.parametrize("state", [".reconciler/state.json", "git:"])
def test_a_plan_beside_a_runner_that_was_killed_says_so_wherever_the_state_is(
    project: Path, state: str, capsys: pytest.CaptureFixture[str]
) -> None:
    git("init", "--quiet", "--bare", "origin.git", folder=project)
    git("init", "--quiet", folder=project)
    git("remote", "add", "origin", "origin.git", folder=project)
    Path("specs").mkdir()
    words = ["--state", state, "plan", "--allow-empty"]
    assert run(words) == 0
    assert "cut off" not in capsys.readouterr().out
    assert subprocess.run([sys.executable, "-c", DIES, state], check=False).returncode == 9
    assert run(words) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert re.search(
        r"'apply' of \S+ on \S+, pid \d+, since \S+ has the lock of the state, or was cut off with it", said
    )
    assert run(["--state", state, "--lock-timeout", "30s", "settle"]) == 0
    capsys.readouterr()
    assert run(words) == 0
    assert "cut off" not in capsys.readouterr().out


def test_a_round_that_waits_for_the_lock_has_a_line_in_the_log(project: Path) -> None:
    command = ["-m", "reconciler", "run", "--listen", "none", "--log-format", "json", "--lock-timeout", "60s"]
    with (
        locked(Path(".reconciler", "state.lock"), "apply"),
        subprocess.Popen([sys.executable, *command], stderr=subprocess.PIPE, text=True) as loop,
    ):
        assert loop.stderr is not None
        try:
            line = next(line for line in map(json.loads, loop.stderr) if line["event"] == "waiting")
        finally:
            loop.kill()
    assert line["level"] == "info"
    assert line["message"].startswith("Waiting for the lock of .reconciler/state.json, held by 'apply' of ")


def test_a_duration_of_the_environment_is_named(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECONCILER_LEASE", "soon")
    assert run(["state", "list"]) == 64
    assert "RECONCILER_LEASE: 'soon' is not a duration" in capsys.readouterr().err


@pytest.mark.parametrize(("word", "code"), [("on", 64), ("1", 64), ("OFF", 0), ("none", 0), ("kept", 0)])
def test_the_cache_is_a_folder_or_off(
    project: Path, word: str, code: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECONCILER_CACHE", word)
    before = set(project.iterdir())
    (project / "specs").mkdir()
    (project / "specs" / "a.yaml").write_text("name: a\npipeline_type: batch\npipeline_key: k\n")
    assert run(["validate"]) == code
    assert (f"RECONCILER_CACHE is {word!r}" in capsys.readouterr().err) == (code == 64)
    assert {path.name for path in set(project.iterdir()) - before} <= {"kept", "specs"}
