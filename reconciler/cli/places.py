"""`state pull`, `state push` and `state migrate`: where the record lies."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from reconciler.cli.byhand import YES
from reconciler.cli.options import Options, common, place_of
from reconciler.cli.output import note, run_async
from reconciler.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from reconciler.job import State
    from reconciler.reconcile.replacing import Replaced, Review


@click.command()
@click.argument("file", required=False, type=click.Path(dir_okay=False, path_type=Path))
@common()
def pull(options: Options, file: Path | None) -> int:
    """Print the state as it is, or write it to FILE, which must not be there yet.

    It asks nothing of the platform and takes no lock.
    """
    from reconciler.reconcile.replacing import pull, write_pulled

    data, entries = pull(options.settings("state pull"))
    if entries:
        note(options, "note: a run was cut off, and what it did is not in this yet; 'reconciler settle' folds it in")
    if file is None:
        click.echo(data, nl=False)
    else:
        write_pulled(file, data)
        note(options, f"wrote {file}")
    return ExitCode.OK


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--force", is_flag=True, help="Also when FILE is older, or of another history.")
@YES
@common()
def push(options: Options, file: Path, force: bool, yes: bool) -> int:  # noqa: FBT001
    """Put the state in FILE in place of the present one.

    FILE must come from the same history and be newer: raise its serial when you have changed it by hand. What it does
    not record is forgotten, and submitted again if a spec asks for it.
    """
    from reconciler.reconcile.replacing import push

    settings = options.settings("state push")
    return _told(options, run_async(push(settings, file, _review(options, yes=yes), force=force)))


@click.command()
@click.argument("to", metavar="PLACE")
@YES
@common()
def migrate(options: Options, to: str, yes: bool) -> int:  # noqa: FBT001
    """Put the state at another PLACE: a file, git:, s3://…, gs://…, az://… or https://….

    Both places are locked meanwhile. Afterwards write the new one into reconciler.yaml.
    """
    from reconciler.reconcile.replacing import migrate

    settings = options.settings("state migrate")
    path, address = place_of(to, settings.environment)
    done = run_async(migrate(settings, path, address, _review(options, yes=yes)))
    code = _told(options, done)
    if done.approved:
        setting = f"state: {json.dumps(done.where) if done.where.endswith(':') else done.where}"
        if settings.environment:  # above the environments it would be another place for each
            setting = f"environments: {{{settings.environment}: {{{setting}}}}}"
        note(options, f"write it into reconciler.yaml:  {setting}")
    return code


def _review(options: Options, *, yes: bool) -> Review:
    def review(before: State | None, after: State, where: str) -> bool:
        from reconciler.report.replacements import replacement_text

        stream = sys.stderr if options.json else sys.stdout
        click.echo(replacement_text(before, after, where), file=stream)
        if yes:
            return True
        if not sys.stdin.isatty():
            raise UsageError("there is no terminal to ask on", "review what is above, then give --yes")
        answer = click.prompt("Replace it? Only 'yes' is taken", default="no", err=True)
        return bool(answer.strip().lower() == "yes")

    return review


def _told(options: Options, done: Replaced) -> int:
    from reconciler.report.replacements import replacement_json
    from reconciler.report.style import to_json

    if options.json:
        click.echo(to_json(replacement_json(done.before, done.after, done.where, done=done.approved)))
    for line in done.notes:
        note(options, f"note: {line}")
    if not done.approved:
        note(options, "nothing was done")
        return ExitCode.FAILED
    if not options.json:
        click.echo(f"The state {done.where} has serial {done.after.serial}.")
    return ExitCode.OK
