"""`status`, `wait`, `events` and `outputs`: what became of the jobs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from reconciler.cli.changing import told_by_signal
from reconciler.cli.options import Duration, Options, common
from reconciler.cli.output import note, paint, run_async, show, worst
from reconciler.cli.reporting import Draft, draft, report_option
from reconciler.errors import ExitCode, PlatformError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.job import RecordedJob
    from reconciler.reconcile import Status

_NAMES = click.argument("names", nargs=-1, metavar="[NAME]...")


@click.command()
@_NAMES
@click.option("--refresh/--no-refresh", default=True, help="Ask the platform, or show what is recorded.")
@report_option
@common(formats=("junit",))
def status(options: Options, names: tuple[str, ...], refresh: bool, report: str | None) -> int:  # noqa: FBT001
    """Observe jobs in flight, write it back, and show all jobs, or those named.

    Jobs that have ended are not asked for again.
    """
    from reconciler.reconcile import status as observe

    drafted = draft(options, options.settings("status"), report)
    with drafted.even_if_it_fails():
        told = drafted.wanted or options.output_format == "junit"
        seen = run_async(observe(drafted.settings, names, refresh=refresh, with_failures=told))
        code = _report(drafted, seen, failed=False)
    return drafted.finish(code)


@click.command()
@_NAMES
@click.option("--timeout", "limit", type=Duration(), help="Stop waiting after this long, with exit code 5; jobs go on.")
@click.option("--fail-fast", is_flag=True, help="Stop waiting when one job has FAILED or was CANCELLED.")
@report_option
@common(without=("timeout",), formats=("junit",))
def wait(
    options: Options,
    names: tuple[str, ...],
    limit: float | None,
    fail_fast: bool,  # noqa: FBT001
    report: str | None,
) -> int:
    """Wait until all jobs, or those named, have ended.

    Exits with 4 if one FAILED or was CANCELLED. The embedded service runs jobs while this waits.
    """
    drafted = draft(options, options.settings("wait"), report)
    with drafted.even_if_it_fails():
        code = _report(drafted, run_async(_wait(drafted, names, limit, fail_fast=fail_fast)), failed=True)
    return drafted.finish(code)


async def _wait(drafted: Draft, names: Sequence[str], limit: float | None, *, fail_fast: bool) -> Status:
    from reconciler.cli.progress import reporting
    from reconciler.reconcile import Hooks
    from reconciler.reconcile import wait as watch
    from reconciler.signals import stop_on_signals

    options = drafted.options
    told = drafted.wanted or options.output_format == "junit"
    with reporting(options) as reporter, stop_on_signals(told_by_signal(options)) as stop:

        def news(records: Mapping[str, RecordedJob]) -> None:
            drafted.news(records)
            reporter.news(records)

        hooks = Hooks(news=news)
        settings = drafted.settings
        return await watch(settings, names, stop, hooks, timeout=limit, fail_fast=fail_fast, with_failures=told)


def _report(drafted: Draft, seen: Status, *, failed: bool) -> int:
    from reconciler.reconcile.session import unknown_hint
    from reconciler.report.jobs import jobs_json, jobs_text

    drafted.seen(seen)
    options = drafted.options
    if options.output_format == "junit":
        from reconciler.report.junit import jobs_junit

        now = drafted.settings.now()
        click.echo(jobs_junit(seen.records, seen.failures, seen.unsettled, seen.notes, now), nl=False)
    else:
        show(options, jobs_text(seen.records, paint()), jobs_json(seen.records))
    codes = []
    for text in seen.notes:
        note(options, f"warning: {text}")
    if any(" was not observed: " in text for text in seen.notes):
        codes.append(ExitCode.TRY_LATER)
    for name, reason in seen.unsettled.items():
        note(options, f"unknown: {name}: {reason}\n         {unknown_hint(name)}")
        codes.append(ExitCode.UNKNOWN)
    if failed and any(r.status in ("FAILED", "CANCELLED") for r in seen.records.values()):
        codes.append(ExitCode.JOBS_FAILED)
    if seen.left is not None:
        note(options, f"{seen.left.message}; {seen.left.hint}")
        codes.append(seen.left.exit_code)
    return worst(codes)


@click.command()
@click.argument("name")
@common()
def events(options: Options, name: str) -> int:
    """Show the event log of a job, oldest first."""
    from reconciler.reconcile import events as read
    from reconciler.report.results import events_text

    job_id, rows = run_async(read(options.settings("events"), name))
    show(options, events_text(rows, paint()), {"format_version": 1, "job_id": job_id, "events": rows})
    return ExitCode.OK


@click.command()
@click.argument("name")
@click.option("--download", "folder", metavar="DIR", help="Write the files into DIR.")
@common()
def outputs(options: Options, name: str, folder: str | None) -> int:
    """List the results of a job; with --download, fetch them.

    The references that open the files are neither shown nor kept: they work for everybody who has them.
    """
    from reconciler.observe import output_names
    from reconciler.reconcile import download, state_of
    from reconciler.reconcile import outputs as read
    from reconciler.report.results import outputs_json, outputs_text
    from reconciler.report.style import size

    settings = options.settings("outputs")
    job_id, rows = run_async(read(settings, name))
    show(options, outputs_text(rows, output_names(rows)), outputs_json(job_id, rows))
    if not rows:
        note(options, f"{name} is recorded as {state_of(settings, name)}; 'reconciler status' asks anew")
    if folder is None or not rows:
        return ExitCode.OK if folder is None else ExitCode.FAILED
    target = Path(folder)
    try:
        target.mkdir(parents=True, exist_ok=True)
        run_async(
            download(
                settings, name, target, lambda file, num_bytes: note(options, f"{target / file}  {size(num_bytes)}")
            )
        )
    except OSError as error:
        raise PlatformError(f"the outputs cannot be written to {folder}: {error.strerror}") from error
    return ExitCode.OK
