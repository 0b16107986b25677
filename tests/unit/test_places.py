"""Places of the state, as the command line has them."""

from __future__ import annotations

import json
from pathlib import Path

import click
import pytest

from reconciler.cli.main import cli, run
from reconciler.cli.options import Options
from reconciler.cli.running import _as_they_are

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
        settings, _ = _as_they_are(Options(state=state), None, HOW)
    assert settings.lock_timeout == patience


def test_a_duration_of_the_environment_is_named(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECONCILER_LEASE", "soon")
    assert run(["state", "list"]) == 64
    assert "RECONCILER_LEASE: 'soon' is not a duration" in capsys.readouterr().err
