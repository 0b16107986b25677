"""Running `reconciler` in a step: its log is shown as it comes, and signals to the step reach it."""

from __future__ import annotations

import collections
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from reconciler.errors import UsageError

_TAIL = 40  # lines of stderr that are kept for a report
_OURS = ("--format", "--out", "--detailed-exitcode", "--state", "--endpoint", "-C")


@dataclass(frozen=True, slots=True)
class Finished:
    """How a command ended: its exit code, its result, and the last lines of its stderr."""

    code: int
    stdout: str
    tail: tuple[str, ...]


def extra_arguments(text: str) -> list[str]:
    """The input `args` as words: quotes as in a shell, but nothing is expanded or run.

    Raises `UsageError` for open quotes, and for options that the action sets by itself.
    """
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise UsageError(f"the input 'args' cannot be split into words: {error}", "close its quotes") from error
    for word in words:
        if word.split("=")[0] in _OURS:
            raise UsageError(f"the input 'args' has {word!r}", "the action sets it by itself, from its own inputs")
    return words


def run(arguments: Sequence[str], folder: Path, environment: Mapping[str, str], *, show: bool) -> Finished:
    """Run `reconciler` in `folder`. stderr goes to the log at once, and stdout at the end if it is to be shown."""
    process = subprocess.Popen(  # noqa: S603
        # -P: a folder 'reconciler' in the checkout is not imported instead.
        [sys.executable, "-P", "-m", "reconciler", *arguments],
        cwd=folder,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
    )
    # The runner signals only the first process of a step. The command must hear it: it stops in good order then.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda heard, _: process.send_signal(heard))
    assert process.stdout is not None
    assert process.stderr is not None
    tail: collections.deque[str] = collections.deque(maxlen=_TAIL)
    copying = threading.Thread(target=_copy, args=(process.stderr, tail))
    copying.start()
    stdout = process.stdout.read()
    code = process.wait()
    copying.join()
    if show:
        sys.stdout.write(stdout)
        sys.stdout.flush()
    return Finished(128 - code if code < 0 else code, stdout, tuple(tail))


def _copy(stream: IO[str], tail: collections.deque[str]) -> None:
    # To stdout: the marks around what is only text are there, and the two are not in one order.
    for line in stream:
        sys.stdout.write(line)
        sys.stdout.flush()
        tail.append(line.rstrip("\n"))
