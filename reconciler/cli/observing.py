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

    from reconciler.downloads import Downloaded
    from reconciler.job import JsonObject, RecordedJob
    from reconciler.reconcile import Settings, Status

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
        show(options, lambda: jobs_text(seen.records, paint()), lambda: jobs_json(seen.records))
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
    """Show the event log of a job, oldest first. NAME may also be the id of any job that is recorded."""
    from reconciler.reconcile import events as read
    from reconciler.report.results import events_text

    job_id, rows = run_async(read(options.settings("events"), name))
    show(options, events_text(rows, paint()), {"format_version": 1, "job_id": job_id, "events": rows})
    return ExitCode.OK


@click.command()
@click.argument("name")
@click.option("--download", "folder", metavar="DIR", help="Write the files into DIR, and go on where it was cut off.")
@common()
def outputs(options: Options, name: str, folder: str | None) -> int:
    """List the results of a job; with --download, fetch them. NAME may also be the id of any job that is recorded, as
    those that 'explain' lists.

    The references that open the files are neither shown nor kept: they work for everybody who has them.
    """
    from reconciler.observe import output_names
    from reconciler.reconcile import outputs as read
    from reconciler.reconcile import state_of
    from reconciler.report.results import outputs_json, outputs_text

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
        return _report_downloaded(options, target, run_async(_download(options, settings, job_id, rows, target)))
    except OSError as error:
        message = f"the outputs cannot be written to {folder}: {error.strerror}"
        raise PlatformError(message, "run the command again when that is put right: what is there is kept") from error


async def _download(
    options: Options, settings: Settings, job_id: str, rows: Sequence[JsonObject], folder: Path
) -> Downloaded:
    from reconciler.cli.progress import reporting
    from reconciler.downloads import size_of
    from reconciler.reconcile import download

    sizes = [size_of(row) for row in rows]
    total = None if None in sizes else sum(size for size in sizes if size is not None)
    with reporting(options) as reporter:
        return await download(settings, job_id, rows, folder, reporter.download(total).moved)


_LISTED = 20
"""Files that are told one by one."""


def _report_downloaded(options: Options, folder: Path, seen: Downloaded) -> int:
    from reconciler.report.style import size
    from reconciler.text import plural

    if len(seen.fetched) <= _LISTED:
        for file, num_bytes in sorted(seen.fetched.items()):
            note(options, f"{folder / file}  {size(num_bytes)}")
    told = [f"{plural(len(seen.fetched), 'file')} downloaded"]
    if seen.kept:
        told.append(f"{len(seen.kept):,} there already")
    if seen.failed:
        told.append(f"{len(seen.failed):,} failed")
    if len(seen.fetched) != 1 or len(told) > 1:
        note(options, ", ".join(told))
    for file, error in sorted(seen.failed.items())[:_LISTED]:
        hint = f" ({error.hint})" if error.hint else ""
        note(options, f"failed: {folder / file}: {error.message}{hint}")
    if len(seen.failed) > _LISTED:
        note(options, f"        and {len(seen.failed) - _LISTED:,} more")
    return worst([error.exit_code for error in seen.failed.values()])
