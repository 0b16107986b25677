"""Places of the state, as the command line has them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import click
import pytest

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


def test_a_round_that_waits_for_the_lock_has_a_line_in_the_log(project: Path) -> None:
    command = ["-m", "reconciler", "run", "--listen", "none", "--log-format", "json", "--lock-timeout", "60s"]
    with (
        locked(Path(".reconciler", "state.lock"), "apply"),
        subprocess.Popen([sys.executable, *command], stderr=subprocess.PIPE, text=True) as loop,
    ):
        assert loop.stderr is not None
        try:
            line = next(line for line in map(json.loads, loop.stderr) if line["event"] == "lock")
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
