"""What a step has around it: inputs in the environment, the files of GitHub's runner, and a folder for its notes."""

from __future__ import annotations

import json
import secrets
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from reconciler.errors import UsageError
from reconciler.job import JsonObject

SUMMARY = 1024 * 1024
"""Bytes that a step may write to the summary of its run."""


@dataclass(frozen=True, slots=True)
class Runner:
    """The surroundings of one step."""

    environment: Mapping[str, str]

    def input(self, name: str) -> str:
        """The action's input `name`, stripped; empty when it is not given."""
        return self.environment.get(f"INPUT_{name.upper().replace('-', '_')}", "").strip()

    def switch(self, name: str) -> bool:
        """The input `name` as yes or no. Raises `UsageError` for anything else than true and false."""
        value = self.input(name) or "false"
        if value not in ("true", "false"):
            raise UsageError(f"the input '{name}' is {value!r}", "it is true or false")
        return value == "true"

    @property
    def environment_name(self) -> str | None:
        """The environment of `reconciler.yaml` that is asked for."""
        return self.input("environment") or self.environment.get("RECONCILER_ENVIRONMENT") or None

    @property
    def on_github(self) -> bool:
        return self.environment.get("GITHUB_ACTIONS") == "true"

    @property
    def folder(self) -> Path:
        """Where the specs' project is: the input `working-directory`, in the checkout."""
        top = self.environment.get("GITHUB_WORKSPACE") or self.environment.get("CI_PROJECT_DIR") or "."
        return Path(top, self.input("working-directory"))

    @property
    def event(self) -> JsonObject:
        """The event that started the run, as GitHub tells it."""
        path = self.environment.get("GITHUB_EVENT_PATH")
        value = json.loads(Path(path).read_bytes()) if path else {}
        return value if isinstance(value, dict) else {}

    @property
    def run_url(self) -> str | None:
        env = self.environment
        if "GITHUB_RUN_ID" in env and "GITHUB_REPOSITORY" in env:
            server = env.get("GITHUB_SERVER_URL", "https://github.com")
            return f"{server}/{env['GITHUB_REPOSITORY']}/actions/runs/{env['GITHUB_RUN_ID']}"
        return env.get("CI_JOB_URL")

    # -- notes of one step for the next ones --

    @property
    def notes_folder(self) -> Path:
        """Where this job's plan and notes are. Raises `UsageError` before the step `begin` has made it."""
        folder = self.environment.get("RECONCILER_CI_FOLDER")
        if not folder:
            raise UsageError("RECONCILER_CI_FOLDER is not set", "the step 'begin' makes the folder and says its name")
        return Path(folder)

    def notes(self) -> dict[str, Any]:
        path = self.notes_folder / "notes.json"
        value = json.loads(path.read_bytes()) if path.exists() else {}
        assert isinstance(value, dict)
        return value

    def note(self, **facts: Any) -> None:
        path = self.notes_folder / "notes.json"
        path.write_text(json.dumps({**self.notes(), **facts}), encoding="utf-8")

    # -- what is told to the runner and to people --

    def say(self, text: str) -> None:
        sys.stdout.write(f"{text}\n")
        sys.stdout.flush()

    def annotate(self, level: Literal["error", "warning", "notice"], message: str) -> None:
        """An annotation of the run; on other systems than GitHub a line."""
        self.say(f"::{level} title=reconciler::{_escaped(message)}" if self.on_github else f"{level}: {message}")

    @contextmanager
    def verbatim(self) -> Iterator[None]:
        """What is printed meanwhile is only text, though a name in it may read like a command to the runner."""
        word = secrets.token_hex(16)
        if self.on_github:
            self.say(f"::stop-commands::{word}")
        try:
            yield
        finally:
            if self.on_github:
                self.say(f"::{word}::")

    def output(self, name: str, value: str) -> None:
        """Set an output of the step. A value of several lines, or one that looks like an output, stays a value."""
        path = self.environment.get("GITHUB_OUTPUT")
        if path:
            end = f"end_{secrets.token_hex(16)}"
            with Path(path).open("a", encoding="utf-8", errors="backslashreplace") as file:
                file.write(f"{name}<<{end}\n{value}\n{end}\n")

    def summarise(self, markdown: str) -> None:
        """Add to the summary of the run, as much as fits; where a run has none, to a file in the folder of notes."""
        data = (markdown.rstrip("\n") + "\n\n").encode("utf-8", errors="backslashreplace")
        if len(data) > SUMMARY:
            data = data[: SUMMARY - 100].rpartition(b"\n")[0] + b"\n\n**The rest has no room here.**\n"
        with Path(self.environment.get("GITHUB_STEP_SUMMARY") or self.notes_folder / "summary.md").open("ab") as file:
            file.write(data)


def _escaped(message: str) -> str:
    return message.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
