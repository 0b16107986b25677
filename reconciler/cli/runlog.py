"""What `run` writes on stderr: its log. Where that is JSON, so is every line, that of an error at the end too."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click

from reconciler.errors import ExitCode, ReconcilerError, SpecError

if TYPE_CHECKING:
    from reconciler.loop.logs import Log, LogFormat

HOOK_SECRET = "RECONCILER_HOOK_SECRET"  # noqa: S105 - the name of a variable
_OPTION, _VARIABLE = "--log-format", "RECONCILER_RUN_LOG_FORMAT"


class Logged(click.Command):
    """A command with `--log-format`. Without JSON its errors are told as those of every command."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        """Also what was typed wrongly is a line."""
        with _told(json=_asks_for_json(args)):
            return super().make_context(info_name, args, parent, **extra)

    def invoke(self, ctx: click.Context) -> Any:
        """Run it."""
        with _told(json=ctx.params.get("log_format") == "json"):
            return super().invoke(ctx)


@contextlib.contextmanager
def _told(*, json: bool) -> Iterator[None]:
    if not json:
        yield
        return
    try:
        yield
    except click.exceptions.Exit:
        raise
    except click.UsageError as error:
        _end(ExitCode.USAGE, error.format_message())
    except ReconcilerError as error:
        faults = error.diagnostics if isinstance(error, SpecError) else ()
        told = [error.message, *error.details, *(f"{d.location}: {d.summary}" for d in faults)]
        _end(error.exit_code, "; ".join(told), hint=error.hint)
    except (click.Abort, KeyboardInterrupt):
        _end(ExitCode.SIGINT, "interrupted; nothing was left half done")
    except Exception as error:  # noqa: BLE001 - the last line: a bug is shown as one
        import traceback

        text = f"this is a bug in reconciler: {type(error).__name__}: {error}"
        _end(ExitCode.BUG, text, hint="the state is consistent; please report it", trace=traceback.format_exc())


def _end(code: ExitCode, text: str, *, hint: str | None = None, trace: str | None = None) -> None:
    new_log("json").line("error", "stop", text, exit_code=int(code), hint=hint, traceback=trace)
    raise click.exceptions.Exit(code)


def _asks_for_json(arguments: Sequence[str]) -> bool:
    """Whether a command line that may be wrong asks for JSON: the last word counts, and then the environment."""
    asked = os.environ.get(_VARIABLE, "")
    for at, word in enumerate(arguments):
        if word == _OPTION:
            asked = "".join(arguments[at + 1 : at + 2])
        elif word.startswith(f"{_OPTION}="):
            asked = word.partition("=")[2]
    return asked == "json"


def new_log(form: LogFormat, *, quiet: bool = False) -> Log:
    """A log on stderr that shows neither the API key nor the secret of the hook."""
    from reconciler.loop.logs import Log

    secrets = [text for name in ("ATAI_API_KEY", HOOK_SECRET) if (text := os.environ.get(name, "").strip())]
    return Log(_to_stderr, form, secrets, quiet=quiet)


@contextlib.contextmanager
def logging_to(log: Log) -> Iterator[None]:
    """Have what libraries say in the same log, and what ends a thread of theirs."""
    import logging
    import threading

    from reconciler.loop.logs import Handler

    def ended(thread: threading.ExceptHookArgs) -> None:
        log.line("error", "library", f"a thread has ended: {thread.exc_type.__name__}: {thread.exc_value}")

    handler, before = Handler(log), threading.excepthook
    logging.getLogger().addHandler(handler)
    logging.captureWarnings(True)  # noqa: FBT003
    threading.excepthook = ended
    try:
        yield
    finally:
        threading.excepthook = before
        logging.captureWarnings(False)  # noqa: FBT003
        logging.getLogger().removeHandler(handler)


def once(tell: Callable[[str], None]) -> Callable[[str], None]:
    """`tell`, but each text one time."""
    told: set[str] = set()

    def tell_once(text: str) -> None:
        if text not in told:
            told.add(text)
            tell(text)

    return tell_once


def _to_stderr(line: str) -> None:
    try:
        click.echo(line, err=True)
    except BrokenPipeError:  # nobody reads it any more: that must not end the loop
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stderr.fileno())
    except OSError:
        pass  # a full disk may have room again
