"""`init`: a working set to start from."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, cast

import click

from reconciler.cli.options import Options, common
from reconciler.cli.output import note, show
from reconciler.errors import ExitCode

if TYPE_CHECKING:
    from reconciler.reconcile.starting import Ci, Started


@click.command()
@click.argument("folder", required=False, default=".", metavar="[DIR]", type=click.Path(file_okay=False))
@click.option(
    "--ci",
    type=click.Choice(["github", "gitlab", "none"]),
    help="What CI the workflow is for.  [default: what the repository looks like]",
)
@click.option(
    "--source",
    metavar="URL@COMMIT",
    help="The repository that CI takes reconciler from.  [default: where this one was installed from]",
)
@common()
def init(options: Options, folder: str, ci: str | None, source: str | None) -> int:
    """Write a starter set: a spec that runs, reconciler.yaml, and a CI workflow.

    Nothing that is there is changed: such files are named, and left as they are. Exit code 1 when all are there.
    """
    from reconciler.reconcile.starting import parse_origin, start

    started = start(Path(folder), cast("Ci | None", ci), parse_origin(source) if source else None)
    lines = [f"wrote {path}" for path in started.written] + [f"left as it is: {path}" for path in started.left]
    document = {"format_version": 1, "written": list(started.written), "left": list(started.left), "ci": started.ci}
    show(options, "\n".join(lines), document)
    if not started.written:
        note(options, "Nothing was written: everything is there already.")
        return ExitCode.FAILED
    _say_what_is_next(options, folder, started)
    return ExitCode.OK


def _say_what_is_next(options: Options, folder: str, started: Started) -> None:
    command = "reconciler" if folder == "." else f"reconciler -C {shlex.quote(folder)}"
    if "reconciler.yaml" in started.left:
        command += " --endpoint local --state .reconciler/local.json"
    note(options, f"\nNext: {command} plan\nthen: {command} apply --wait")
    note(options, "Both run on this machine, and cost nothing.")
    there = any(Path(folder, path).exists() for path in (".github/workflows/reconciler.yml", ".gitlab/reconciler.yml"))
    if started.ci == "none" and there:
        return
    if started.ci == "none":
        note(options, "No CI workflow was written. For one: reconciler init --ci github --source URL@COMMIT")
    else:
        secret = "the secret ATAI_API_KEY" if started.ci == "github" else "ATAI_API_KEY and RECONCILER_PUSH_TOKEN"
        note(options, f"CI sends jobs to the platform. Give it {secret}, and put your specs in place of the example.")
    if started.ci == "gitlab" and ".gitlab-ci.yml" in started.left:
        note(options, "Add to .gitlab-ci.yml: include: [{local: .gitlab/reconciler.yml}]")
