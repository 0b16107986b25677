"""The entry point: from any error to a message and an exit code, in one place."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import click

from reconciler import __version__
from reconciler.cli.group import Commands, set_as_written
from reconciler.cli.options import Options, common
from reconciler.cli.output import use_colour
from reconciler.errors import ExitCode, ReconcilerError, SpecError, UsageError
from reconciler.text import one_line

EPILOG = """Exit codes: 0 done, or nothing to do; 1 failed or refused; 2 changes are pending (plan --detailed-exitcode);
3 invalid specs; 4 jobs ended FAILED or CANCELLED; 5 try again later; 6 the outcome of a submission is unknown; 64 wrong
usage; 70 a bug; 130 and 143 interrupted. Each option can be set as RECONCILER_OPTION or RECONCILER_COMMAND_OPTION."""


@click.group(
    commands=Commands(),
    epilog=EPILOG,
    context_settings={
        "auto_envvar_prefix": "RECONCILER",
        "max_content_width": 110,
        "help_option_names": ["-h", "--help"],
    },
)
@click.option("-C", "folder", metavar="DIR", help="Work in DIR.", type=click.Path(file_okay=False, exists=True))
@click.version_option(__version__, message="reconciler %(version)s")
@common()
def cli(options: Options, folder: str | None) -> int:
    """Declarative batch jobs: specs in git, a plan to review, one job for each spec.

    Write job specs in specs/, look at 'reconciler plan', and submit with 'reconciler apply'. A second apply does
    nothing. The API key is read from ATAI_API_KEY; '--endpoint local' needs none and runs everything on this machine.
    """
    if folder:
        os.chdir(folder)
    return ExitCode.OK


set_as_written(cli, "RECONCILER")


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; the exit code."""
    try:
        code = cli.main(args=list(arguments) if arguments is not None else None, standalone_mode=False)
        sys.stdout.flush()
    except SpecError as error:
        return _invalid(error)
    except ReconcilerError as error:
        return _failed(error)
    except click.UsageError as error:
        return _usage(error)
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted; nothing was left half done", err=True)
        return ExitCode.SIGINT
    except BrokenPipeError:
        # The reader of stdout is gone, as with '| head'. Work and state are done by then.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.FAILED
    except Exception as error:  # noqa: BLE001 - the last line: a bug is shown as one
        return _bug(error)
    return code if isinstance(code, int) else ExitCode.OK


def _invalid(error: SpecError) -> int:
    from reconciler.report.diagnostics import diagnostics_text
    from reconciler.report.style import coloured, plain

    paint = coloured if use_colour(sys.stderr) else plain
    click.echo(diagnostics_text(error.diagnostics, paint), err=True)
    click.echo(f"{error.message}; nothing was done", err=True)
    return error.exit_code


def _failed(error: ReconcilerError) -> int:
    click.echo(f"error: {one_line(error.message, 3000)}", err=True)
    for line in error.details:
        click.echo(f"       {one_line(line, 1000)}", err=True)
    if error.hint:
        click.echo(f"       {one_line(error.hint, 1000)}", err=True)
    return error.exit_code


def _usage(error: click.UsageError) -> int:
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        click.echo(error.format_message(), err=True)
        return ExitCode.USAGE
    if error.ctx is not None:
        click.echo(error.ctx.get_usage(), err=True)
        click.echo(f"Try '{error.ctx.command_path} --help'.", err=True)
    return _failed(UsageError(error.format_message()))


def _bug(error: Exception) -> int:
    import traceback

    text = traceback.format_exc()
    key = (os.environ.get("ATAI_API_KEY") or "").strip()
    click.echo(text.replace(key, "[key]") if key else text, err=True)
    click.echo(f"error: this is a bug in reconciler {__version__}: {type(error).__name__}", err=True)
    click.echo("       the state is consistent; please report it with the lines above", err=True)
    return ExitCode.BUG
