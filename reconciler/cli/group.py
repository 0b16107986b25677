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
        set_as_written(command, f"RECONCILER_{name}")
        return command

    def __iter__(self) -> Iterator[str]:
        return iter(_COMMANDS)

    def __len__(self) -> int:
        return len(_COMMANDS)


def set_as_written(command: click.Command, prefix: str) -> None:
    """Let variables of the environment be named as options are written: click takes the names of its parameters."""
    if isinstance(command, click.Group) and isinstance(command.commands, dict):
        for name, below in command.commands.items():
            set_as_written(below, f"{prefix}_{name}")
    for option in command.params:
        written = max(option.opts, key=len).removeprefix("--").replace("-", "_")
        if isinstance(option, click.Option) and option.name != written and option.envvar is None:
            option.envvar = f"{prefix}_{written}".upper().replace("-", "_")
