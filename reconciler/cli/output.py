"""What commands print with, and the exit code where several apply."""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import IO, TYPE_CHECKING, Any, TypeVar

import click

from reconciler.cli.options import Options
from reconciler.errors import ExitCode

if TYPE_CHECKING:
    from reconciler.report.style import Paint

T = TypeVar("T")
_PRIORITY = (
    ExitCode.SIGINT,
    ExitCode.SIGTERM,
    ExitCode.UNKNOWN,
    ExitCode.FAILED,
    ExitCode.TRY_LATER,
    ExitCode.JOBS_FAILED,
)


def use_colour(stream: IO[str]) -> bool:
    """Whether to colour what goes to `stream`."""
    return stream.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"


def paint(stream: IO[str] | None = None) -> Paint:
    """How to colour what goes to `stream`, by default stdout."""
    from reconciler.report.style import coloured, plain

    return coloured if use_colour(stream or sys.stdout) else plain


def columns(stream: IO[str]) -> int | None:
    """How many cells a line on `stream` has; None when it is not a terminal."""
    import shutil

    return shutil.get_terminal_size().columns if stream.isatty() else None


def show(options: Options, text: Callable[[], str] | str, document: Any) -> None:
    """Print the result as text or JSON. One that is much work to make is a function: only one of the two is called."""
    if options.json:
        from reconciler.report.style import to_json

        click.echo(to_json(document() if callable(document) else document))
    else:
        click.echo(text() if callable(text) else text)


def note(options: Options, text: str) -> None:
    if not options.quiet:
        with suppress(OSError):  # nobody reads stderr any more: that must not end the work
            click.echo(text, err=True)


def run_async(work: Coroutine[Any, Any, T]) -> T:
    import asyncio

    return asyncio.run(work)


@contextmanager
def all_kept() -> Iterator[None]:
    """Hardly anything that is made meanwhile is garbage before the end: looking for some takes a third of the time.
    Nor is it looked at after that.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


def worst(codes: Sequence[ExitCode]) -> ExitCode:
    """Where several apply, the first of the contract's order wins."""
    return next((c for c in _PRIORITY if c in codes), ExitCode.OK)
