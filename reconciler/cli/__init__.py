"""The command line: options → one call → a report → an exit code. The only package that prints or exits.

Its modules are imported when they are needed: a shell asks for completions at each press of the tab key.
"""

from __future__ import annotations

import sys

# Names alone, for mypy: nothing here may cost an import.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["main", "run"]


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit with its code."""
    from reconciler.cli.quick import answer

    words = sys.argv[1:] if arguments is None else list(arguments)
    if (text := answer(sys.argv[0], words)) is not None:
        try:
            sys.stdout.write(text)
            sys.stdout.flush()
        except BrokenPipeError:
            sys.exit(run(words))  # which knows what to do then
        sys.exit(0)
    sys.exit(run(arguments))


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code."""
    from reconciler.cli.main import run as run_command

    return run_command(arguments)
