"""What a shell completes beside names of commands and options."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.shell_completion import BashComplete

from reconciler.cli.main import cli

CONFIG = """\
environments:
  staging: {}
  production: {}
"""


def completions(*words: str, begun: str = "") -> list[tuple[str, str]]:
    shell = BashComplete(cli, {}, "reconciler", "_RECONCILER_COMPLETE")
    return [(item.type, item.value) for item in shell.get_completions(list(words), begun)]


@pytest.mark.parametrize("command", ["run", "plan", "apply", "status", "wait"])
def test_the_environments_of_the_folder_are_completed(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "reconciler.yaml").write_text(CONFIG)
    monkeypatch.chdir(tmp_path)
    assert completions(command, "--environment") == [("plain", "staging"), ("plain", "production")]
    assert completions(command, "--environment", begun="pro") == [("plain", "production")]


def test_minus_c_says_where_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "jobs").mkdir()
    (tmp_path / "jobs" / "reconciler.yaml").write_text(CONFIG)
    monkeypatch.chdir(tmp_path)
    assert completions("run", "--environment") == []
    assert completions("-C", "jobs", "run", "--environment", begun="s") == [("plain", "staging")]


@pytest.mark.parametrize("text", ["environments: [", "environment: 1\nunknown: 2\n", "- a\n"])
def test_where_the_file_is_broken_there_are_none(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "reconciler.yaml").write_text(text)
    monkeypatch.chdir(tmp_path)
    assert completions("run", "--environment") == []


@pytest.mark.parametrize("command", ["run", "plan", "apply", "validate"])
def test_a_path_is_completed_by_the_shell(command: str) -> None:
    assert completions(command, begun="spe") == [("file", "spe")]
