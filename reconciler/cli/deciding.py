"""`settle` and `import`: deciding by hand what the tool cannot know."""

from __future__ import annotations

from functools import partial

import click

from reconciler.cli.byhand import YES, by_hand_options, carried_out
from reconciler.cli.options import Options, common, specs_path
from reconciler.cli.output import note, paint, run_async, show
from reconciler.errors import ExitCode, UsageError


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option("--not-submitted", is_flag=True, help="There is no job: the next apply submits it.")
@common()
def settle(options: Options, names: tuple[str, ...], not_submitted: bool) -> int:  # noqa: FBT001
    """Settle submissions whose outcome is unknown.

    Looks for their jobs on the platform, as every apply does first. When it cannot tell, you can: with --not-submitted
    you say that NAME has no job; 'reconciler import NAME JOB_ID' says which one it has. Exit code 6 while one is open.
    """
    from reconciler.reconcile import settle_by_hand
    from reconciler.reconcile.session import unknown_hint
    from reconciler.text import one_line

    if not_submitted and not names:
        raise UsageError("--not-submitted needs the NAME that has no job", "'reconciler settle' says what is open")
    seen = run_async(settle_by_hand(options.settings("settle"), names, not_submitted=not_submitted))
    lines = [f"settled: {one_line(text, 1000)}" for text in seen.notes]
    for name, reason in seen.unsettled.items():
        lines += [f"unknown: {one_line(name)}: {one_line(reason, 1000)}", f"         {one_line(unknown_hint(name))}"]
    document = {"format_version": 1, "settled": list(seen.notes), "unknown": dict(seen.unsettled)}
    show(options, "\n".join(lines) or "Nothing is to be settled.", document)
    return ExitCode.UNKNOWN if seen.unsettled else ExitCode.OK


@click.command("import")
@click.argument("names", nargs=-1, metavar="NAME JOB_ID | --all [NAME]...")
@click.option("--all", "every", is_flag=True, help="Look for the jobs of all specs, or of NAMEs, on the platform.")
@click.option("--force", is_flag=True, help="Also when its parameters or inputs are not those of the spec.")
@YES
@common()
def import_(
    options: Options,
    names: tuple[str, ...],
    every: bool,  # noqa: FBT001
    force: bool,  # noqa: FBT001
    yes: bool,  # noqa: FBT001
) -> int:
    """Record an existing job as the job of a spec.

    JOB_ID must be what the spec NAME asks for: same name, pipeline, parameters and inputs. It resolves a submission
    whose outcome is unknown, and takes over a job that was submitted by hand.

    With --all the platform's list is searched for the jobs of specs that have no record. What is the one job that a
    spec asks for is shown as a plan, and recorded; where several are, they are named and left. NAMEs may be globs.
    """
    if every:
        if force:
            raise UsageError("--force is for one job", "name it: reconciler import NAME JOB_ID --force")
        from reconciler.reconcile import adopt_all

        settings = options.settings("import")
        how = by_hand_options({})
        return carried_out(options, settings, yes, partial(adopt_all, settings, [specs_path(None)], names, how))
    if len(names) != 2:
        raise UsageError("import takes NAME and JOB_ID", "or --all, to look for the jobs of all specs on the platform")
    return _import_one(options, names[0], names[1], force=force)


def _import_one(options: Options, name: str, job_id: str, *, force: bool) -> int:
    from reconciler.reconcile import import_job
    from reconciler.report.jobs import jobs_json, jobs_text

    seen = run_async(import_job(options.settings("import"), [specs_path(None)], name, job_id, force=force))
    for line in seen.notes:
        note(options, f"note: {line}")
    show(options, jobs_text(seen.records, paint()), jobs_json(seen.records))
    return ExitCode.OK
