"""`explain`: what is recorded about a job, and nothing that is touched."""

from __future__ import annotations

import sys

import click

from reconciler.cli.options import Options, common, specs_path
from reconciler.cli.output import columns, paint, show
from reconciler.errors import ExitCode


@click.command()
@click.argument("asked", metavar="NAME|JOB_ID")
@common()
def explain(options: Options, asked: str) -> int:
    """Show where a job comes from, what changed since the job before, and what the next plan would do.

    Takes the name of a spec, or the id of a job that is recorded, past ones included. It opens no connection and writes
    nothing: the next plan is told from the specs as they are now, and from what was last observed.
    """
    from reconciler.reconcile import explain as look
    from reconciler.report.explanations import explanation_json, explanation_text

    told = look(options.settings("explain"), [specs_path(None)], asked)
    show(options, explanation_text(told, paint(), columns(sys.stdout)), explanation_json(told))
    return ExitCode.OK
