"""`--version`, `--help` and completions of names, told before anything is imported.

Importing click takes three times as long as Python needs to start. What it would print of these is known: `answers` has
it, written by tests/unit/test_quick.py and held to what click prints. Everything else is left to click.
"""

from __future__ import annotations

import os
import sys

from reconciler import __version__
from reconciler.cli.answers import COMMANDS, HELP, OPTIONS

_PROGRAM = "reconciler"
_COMPLETE = "_RECONCILER_COMPLETE"
_WIDEST = max(HELP)


def answer(program: str, words: list[str]) -> str | None:
    """What the command line `words` prints, if it is one of those that are known beforehand."""
    if os.path.basename(program) != _PROGRAM:  # noqa: PTH119 - the usage line names it; pathlib takes long to import
        return None
    if shell := os.environ.get(_COMPLETE):
        return _completions(shell, os.environ.get("COMP_WORDS", ""), os.environ.get("COMP_CWORD", ""))
    if words == ["--version"]:
        return f"reconciler {__version__}\n"
    if words in (["--help"], ["-h"]):
        return HELP.get(min(_columns(), _WIDEST))
    return None


def _columns() -> int:
    """As click finds them."""
    try:
        columns = int(os.environ["COLUMNS"])
    except (KeyError, ValueError):
        columns = 0
    if columns > 0:
        return columns
    try:
        return os.get_terminal_size(sys.__stdout__.fileno()).columns or 80  # type: ignore[union-attr]
    except (AttributeError, ValueError, OSError):
        return 80


def _completions(shell: str, line: str, at: str) -> str | None:
    """Names of commands, and of the options of a command that has none yet."""
    shell = shell.removesuffix("_complete")
    words = line.split()
    if shell not in ("bash", "zsh", "fish") or any(c in line + at for c in "\"'\\$`"):
        return None
    if shell == "fish":
        given, begun = words[1:], at
        if begun and given and given[-1] == begun:
            given.pop()
    else:
        if not at.isascii() or not at.isdigit():
            return None
        given, begun = words[1 : int(at)], words[int(at)] if int(at) < len(words) else ""
    if not given and begun[:1].isalnum():
        found = [item for item in COMMANDS.items() if item[0].startswith(begun)]
    elif len(given) == 1 and given[0] in OPTIONS and begun.startswith("-") and "=" not in begun:
        found = [item for item in OPTIONS[given[0]] if item[0].startswith(begun)]
    else:
        return None
    return "\n".join(_written(shell, value, about) for value, about in found) + "\n"


def _written(shell: str, value: str, about: str) -> str:
    """A completion as click's script for this shell reads it."""
    if shell == "bash":
        return f"plain,{value}"
    return f"plain\n{value}\n{about}" if shell == "zsh" else f"plain,{value}\t{about}"
