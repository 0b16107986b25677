"""All commands. Each is imported when it is asked for, since most of them are not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from importlib import import_module
from keyword import iskeyword

import click

_COMMANDS = {
    "apply": "changing",
    "cancel": "byhand",
    "events": "observing",
    "explain": "reading",
    "import": "deciding",
    "init": "starting",
    "outputs": "observing",
    "pipelines": "service",
    "plan": "changing",
    "render": "rendering",
    "retry": "byhand",
    "run": "running",
    "schema": "service",
    "serve": "service",
    "settle": "deciding",
    "state": "surgery",
    "status": "observing",
    "validate": "validating",
    "wait": "observing",
}
"""The module of each command, which has it under its name; with a `_` where the name is taken by Python."""


class Commands(Mapping[str, click.Command]):
    """The commands by name."""

    def __getitem__(self, name: str) -> click.Command:
        module = import_module(f"reconciler.cli.{_COMMANDS[name]}")
        command = getattr(module, f"{name}_" if iskeyword(name) else name)
        assert isinstance(command, click.Command)
        return command

    def __iter__(self) -> Iterator[str]:
        return iter(_COMMANDS)

    def __len__(self) -> int:
        return len(_COMMANDS)
