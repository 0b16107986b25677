"""The options of the guards, and the command lines that override a refusal."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from reconciler.cli.options import COMMON_OPTIONS, Options, cache_folder
from reconciler.errors import PlanRefused

if TYPE_CHECKING:
    from reconciler.guards import Guard, Limit

_ASKED = frozenset({ParameterSource.COMMANDLINE, ParameterSource.ENVIRONMENT})


class LimitText(click.ParamType[str]):
    """A count, a percentage, or `none`."""

    name = "limit"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        from reconciler.guards import parse_limit

        try:
            parse_limit(str(value).strip())
        except ValueError as error:
            self.fail(str(error), param, ctx)
        return str(value).strip()


LIMIT_OPTIONS = (
    click.option(
        "--max-cancellations",
        metavar="N|P%",
        type=LimitText(),
        envvar="RECONCILER_MAX_CANCELLATIONS",
        help="Refuse to cancel more jobs than this, or than this share of those in flight.  [default: none]",
    ),
    click.option(
        "--max-submissions",
        metavar="N|P%",
        type=LimitText(),
        envvar="RECONCILER_MAX_SUBMISSIONS",
        help="Refuse to submit more jobs than this, or than this share of those recorded.  [default: none]",
    ),
)
GUARD_OPTIONS = (
    click.option(
        "--unprotect",
        "unprotect",
        multiple=True,
        metavar="NAME",
        help="Let this protected job be cancelled, replaced or forgotten; can be repeated.",
    ),
    *LIMIT_OPTIONS,
)


def limits_in_force(
    given: Mapping[str, Any], reviewed: Mapping[str, Any]
) -> tuple[dict[Guard, Limit], dict[Guard, str]]:
    """The limits, and those of them that were typed. `given` are options; `reviewed` those that a saved plan holds.

    What was typed wins over what is set: now, then with the saved plan; then the environment, then `reconciler.yaml`.
    Raises `ValueError` when the saved plan holds no limit that can be read.
    """
    from reconciler.config import read_config
    from reconciler.guards import GUARDS, parse_limit

    context = click.get_current_context()
    config = read_config(Path.cwd(), context.ensure_object(Options).environment, cache_folder())
    limits: dict[Guard, Limit] = {}
    typed: dict[Guard, str] = {}
    for guard in GUARDS:
        if context.get_parameter_source(guard) is ParameterSource.COMMANDLINE:
            typed[guard] = given[guard]
        elif reviewed.get(guard) is not None:
            typed[guard] = str(reviewed[guard])
        text = typed.get(guard) or given.get(guard) or config.get(guard)
        if text is not None and (limit := parse_limit(str(text).strip())):
            limits[guard] = limit
    return limits, typed


def retyped(command: str) -> tuple[str, ...]:
    """The command line as it was typed, for `command`, which may not have all its options."""
    context = click.get_current_context()
    group = context.parent
    assert group is not None
    assert isinstance(group.command, click.Group)
    has = {p.name or "" for p in group.command.commands[command].params}
    same = context.info_name == command
    words = [*_group_words(group, same=same), command]
    words += _words(context, same=same, has=has)
    return ("reconciler", *words)


def same_place() -> Iterator[str]:
    """The options that say which platform and which state are meant, as they were typed, for another command."""
    context: click.Context | None = click.get_current_context()
    typed: dict[str, list[str]] = {}
    while context is not None:
        for param in context.command.params:
            name = param.name or ""
            given = context.get_parameter_source(name) is ParameterSource.COMMANDLINE
            if name in ("endpoint", "environment", "state") and given and isinstance(param, click.Option):
                typed.setdefault(name, list(option_words(param, context.params[name])))
        context = context.parent
    for words in typed.values():
        yield from words


def _group_words(group: click.Context, *, same: bool) -> Iterator[str]:
    """What stands before the command: options of ours, then the name and options of the group it is in."""
    if group.parent is not None:
        yield from _group_words(group.parent, same=same)
        yield group.info_name or ""
    yield from _words(group, same=same)


def _words(context: click.Context, *, same: bool, has: set[str] | None = None) -> Iterator[str]:
    for param in context.command.params:
        name = param.name or ""
        source = context.get_parameter_source(name)
        # What is set for all commands in the environment is so for the next one, too.
        asked = source is ParameterSource.COMMANDLINE or (source in _ASKED and name not in COMMON_OPTIONS)
        if not asked or (has is not None and name not in has) or (name == "output_format" and not same):
            continue
        if isinstance(param, click.Option):
            yield from option_words(param, context.params[name])
        elif param.nargs == -1:
            # Options may follow, so '--' cannot tell that it is a name; as a glob it does not begin like an option.
            yield from (f"[-]{one[1:]}" if one.startswith("-") else one for one in context.params[name])
        else:
            value = str(context.params[name])
            yield f"./{value}" if value.startswith("-") else value


def option_words(option: click.Option, value: Any) -> Iterator[str]:
    """How `option` is typed to have `value`."""
    flag = max(option.opts, key=len)
    if isinstance(value, bool):
        yield flag if value else option.secondary_opts[0]
        return
    for one in value if isinstance(value, tuple) else (value,):
        text = f"{one:g}" if isinstance(one, float) else str(one)
        if text.startswith("-"):
            yield f"{flag}={text}"
        else:
            yield from (flag, text)


def replanned(file: str, reviewed: Mapping[str, Any]) -> tuple[str, ...]:
    """What to type to make the saved plan in `file` anew. Raises `PlanRefused` when it does not say how it was made."""
    context = click.get_current_context()
    group = context.parent
    assert group is not None
    assert isinstance(group.command, click.Group)
    words = ["reconciler", *_words(group, same=False), "plan"]
    try:
        if reviewed["scoped"]:
            words.append(str(reviewed["paths"][0]))
        for param in group.command.commands["plan"].params:
            name = param.name or ""
            if not isinstance(param, click.Option) or name not in reviewed or reviewed[name] is None:
                continue
            value = tuple(reviewed[name]) if isinstance(reviewed[name], list) else reviewed[name]
            if value != param.get_default(context):
                words += option_words(param, value)
    except (KeyError, IndexError, TypeError) as error:
        raise PlanRefused("the saved plan does not say how it was made", "make a new one") from error
    return (*words, *_common_words(context), "--out", file)


def _common_words(context: click.Context) -> Iterator[str]:
    """The common options that stand behind the command."""
    for param in context.command.params:
        name = param.name or ""
        typed = context.get_parameter_source(name) is ParameterSource.COMMANDLINE
        if typed and name in COMMON_OPTIONS and name != "output_format" and isinstance(param, click.Option):
            yield from option_words(param, context.params[name])
