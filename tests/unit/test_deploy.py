"""What is in `deploy/` fits the program, and the lock file what it needs."""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path

import click

from reconciler.cli.main import cli
from reconciler.cli.running import run

TOP = Path(__file__).parents[2]
NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]*")


def options(words: list[str]) -> click.Context:
    """What `run` understands of a command line that begins with it."""
    assert words[0] == "run"
    assert "run" in cli.commands
    return run.make_context("run", words[1:])


def environment(text: str) -> set[str]:
    return set(re.findall(r"RECONCILER_RUN_([A-Z_]+)", text))


def test_the_unit_starts_the_loop() -> None:
    text = (TOP / "deploy" / "reconciler.service").read_text()
    line = next(line for line in text.splitlines() if line.startswith("ExecStart="))
    program, *words = shlex.split(line.removeprefix("ExecStart="))
    assert program.endswith("/bin/reconciler")
    assert options(words).params["checkout"].startswith("/var/lib/reconciler/")
    assert "Restart=on-failure" in text
    assert "kill -HUP $MAINPID" in text


def test_the_container_starts_the_loop() -> None:
    text = (TOP / "deploy" / "Containerfile").read_text()
    entry = next(line for line in text.splitlines() if line.startswith("ENTRYPOINT "))
    program, *words = re.findall(r'"([^"]+)"', entry)
    assert program == "reconciler"
    assert options(words).params["log_format"] == "json"
    assert "--require-hashes -r /build/requirements.lock" in text


def test_what_the_environment_sets_there_is_an_option() -> None:
    known = {(param.name or "").upper() for param in run.params}
    for name in ("reconciler.service", "Containerfile"):
        assert environment((TOP / "deploy" / name).read_text()) <= known
    assert environment((TOP / "docs" / "run.md").read_text()) - {""} <= known


def test_the_lock_file_has_all_that_is_needed_with_hashes_and_names_no_registry() -> None:
    text = (TOP / "requirements.lock").read_text()
    project = tomllib.loads((TOP / "pyproject.toml").read_text())
    needed = [
        *project["build-system"]["requires"],
        *project["project"]["dependencies"],
        *project["project"]["optional-dependencies"]["service"],
    ]
    pinned = re.findall(r"^([A-Za-z0-9._-]+)==\S+ \\\n    --hash=sha256:[0-9a-f]{64}", text, re.MULTILINE)
    locked = re.findall(r"^[A-Za-z0-9._-]+==", text, re.MULTILINE)
    assert len(pinned) == len(locked) > 20
    for requirement in needed:
        match = NAME.match(requirement)
        assert match is not None
        assert match[0].lower().replace("_", "-") in pinned, "run 'make lock'"
    assert "://" not in text
    assert "--index-url" not in text
