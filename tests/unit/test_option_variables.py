"""Each option can be set by a variable of the environment that is named as the option is written."""

from __future__ import annotations

from collections.abc import Iterator

import click
import pytest

from reconciler.cli.main import cli


def options(command: click.Command, above: click.Context | None) -> Iterator[tuple[click.Context, click.Option]]:
    """Every option that takes a value, of every command, in the context in which it is read."""
    settings = {} if above else cli.context_settings  # what stands above is handed down
    context = click.Context(command, parent=above, info_name=command.name, **settings)
    for option in command.params:
        if isinstance(option, click.Option) and option.allow_from_autoenv and not option.is_eager:
            yield context, option
    if isinstance(command, click.Group):
        for below in command.commands.values():
            yield from options(below, context)


EVERY = list(options(cli, None))


@pytest.mark.parametrize(("context", "option"), EVERY, ids=[f"{c.command_path} {o.opts[-1]}" for c, o in EVERY])
def test_it_is_set_as_it_is_written(
    context: click.Context, option: click.Option, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = context.command_path.split(" ")[1:]
    written = max(option.opts, key=len).removeprefix("--").lstrip("-")
    name = "_".join(["RECONCILER", *path, written]).upper().replace("-", "_")
    if option.name == "folder" and not path:
        return  # -C has no long form
    monkeypatch.setenv(name, "given")
    assert option.resolve_envvar_value(context) == "given"
