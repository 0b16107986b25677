"""`state`: the record itself, looked at and mended."""

from __future__ import annotations

from functools import partial
from typing import Any

import click

from reconciler.cli.byhand import UNPROTECT, YES, by_hand_options, carried_out
from reconciler.cli.options import Options, common, specs_path
from reconciler.cli.output import note, paint, show
from reconciler.cli.places import migrate, pull, push
from reconciler.errors import ExitCode


@click.group()
def state() -> None:
    """What is recorded, and how to mend it. The platform is left alone."""


@state.command("list")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@common()
def list_(options: Options, names: tuple[str, ...]) -> int:
    """List the recorded jobs, or those that fit NAME, which may be a glob.

    It opens no connection: the statuses are those that were last observed.
    """
    from reconciler.reconcile import recorded
    from reconciler.report.records import records_json, records_text
    from reconciler.text import one_line

    folded, meant = recorded(options.settings("state list"), names)
    unsettled = [intent.name for intent in folded.unresolved if not names or intent.name in meant]
    show(options, records_text(folded.state, meant, paint()), records_json(folded.state, meant, unsettled))
    for name in unsettled:
        note(options, f"unknown: {one_line(name)}: its last submission is to be settled; 'reconciler settle' does it")
    return ExitCode.OK


@state.command("show")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@common()
def show_(options: Options, names: tuple[str, ...]) -> int:
    """Show records, whole. It opens no connection.

    NAME is a job, or a glob for several. As JSON one NAME, which is no glob, is one document; else they are a list.
    """
    from reconciler.reconcile import recorded
    from reconciler.report.records import record_json, record_text, whole_records_json

    folded, meant = recorded(options.settings("state show"), names, whole=True)
    records = {name: folded.state.jobs[name] for name in meant}
    text = "\n\n".join(record_text(name, record) for name, record in records.items())
    one = record_json(names[0], records[names[0]]) if names == meant and len(names) == 1 else None
    show(options, text, one or whole_records_json(records))
    return ExitCode.OK


@state.command()
@click.argument("old")
@click.argument("new")
@YES
@common()
def mv(options: Options, old: str, new: str, yes: bool) -> int:  # noqa: FBT001
    """Give the record of OLD the name NEW. Nothing is submitted.

    Rename the spec as well: a record that no spec has the name of is an orphan. A rename in the specs alone needs none
    of this as long as the job stays the same: the next apply moves the record.
    """
    from reconciler.reconcile import move

    settings = options.settings("state mv")
    work = partial(move, settings, [specs_path(None)], old, new, by_hand_options({}))
    return carried_out(options, settings, yes, work)


@state.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@UNPROTECT
@YES
@common()
def rm(options: Options, names: tuple[str, ...], yes: bool, **how: Any) -> int:  # noqa: FBT001
    """Forget records. Their jobs on the platform are left alone, and go on if they run.

    NAME is a job, or a glob for several. The next apply submits again what a spec still asks for.
    """
    from reconciler.reconcile import forget

    settings = options.settings("state rm")
    work = partial(forget, settings, [specs_path(None)], names, by_hand_options(how))
    return carried_out(options, settings, yes, work)


for command in (pull, push, migrate):
    state.add_command(command)
