"""`plan` and `apply`: from specs to jobs."""

from __future__ import annotations

import json
import shlex
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from reconciler.cli.completing import files
from reconciler.cli.guarding import GUARD_OPTIONS, same_place
from reconciler.cli.options import Options, common, specs_path
from reconciler.cli.output import all_kept, columns, note, paint, run_async, show, worst
from reconciler.cli.reporting import Draft, draft, report_option
from reconciler.errors import ExitCode, PlanRefused, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from reconciler.actions import Plan
    from reconciler.apply import Outcome
    from reconciler.job import RecordedJob
    from reconciler.reconcile import Applied, PlanRequest, Settings

_PATH = click.argument("path", required=False, metavar="[PATH]", shell_complete=files)


def _planning(command: Any) -> Any:
    for option in (
        *GUARD_OPTIONS,
        click.option("--allow-empty", is_flag=True, help="Accept a folder without specs: every job is an orphan then."),
        click.option(
            "--adopt/--no-adopt", default=True, help="On a first run, take over identical jobs.  [default: adopt]"
        ),
        click.option(
            "--target", "targets", multiple=True, metavar="NAME", help="Only this job, or a glob; can be repeated."
        ),
        click.option(
            "--replace",
            "replace",
            multiple=True,
            metavar="NAME",
            help="Submit this job anew, or those that fit a glob; can be repeated.",
        ),
        click.option("--prune", is_flag=True, help="Cancel and forget jobs whose spec is gone."),
    ):
        command = option(command)
    return command


def _request(path: str | None, given: Mapping[str, Any], saved: tuple[Plan, str] | None = None) -> PlanRequest:
    """What the options ask for. `saved`: the plan to be carried out, which has options of its own, and its file."""
    from reconciler.cli.guarding import limits_in_force, replanned, retyped
    from reconciler.facts import PlanOptions
    from reconciler.reconcile import PlanRequest

    how = saved[0].options if saved else given
    limits, typed_limits = limits_in_force(given, how if saved else {})
    replan = replanned(saved[1], how) if saved else None
    options = PlanOptions(
        prune=how["prune"],
        replace=frozenset(how["replace"]),
        targets=frozenset(how["targets"]),
        unprotect=frozenset(how["unprotect"]),
        limits=limits,
        command=retyped("apply"),
        replan=replan,
    )
    return PlanRequest(
        paths=(specs_path(path),),
        scoped=how.get("scoped", specs_path(path).absolute() != specs_path(None).absolute()),
        options=options,
        refresh=how.get("refresh", True),
        adopt=how["adopt"],
        allow_empty=how["allow_empty"],
        overrides=typed_limits,
        typed=replan or retyped(click.get_current_context().info_name or "plan"),
    )


@click.command()
@_PATH
@_planning
@click.option("--refresh/--no-refresh", default=True, help="Ask the platform about jobs in flight.  [default: refresh]")
@click.option("--out", metavar="FILE", help="Save the plan for 'apply --plan FILE'.")
@click.option("--detailed-exitcode", is_flag=True, help="Exit with 2 when changes are pending.")
@report_option
@common(formats=("markdown", "codequality", "junit"))
def plan(
    options: Options,
    path: str | None,
    out: str | None,
    detailed_exitcode: bool,  # noqa: FBT001
    report: str | None,
    **how: Any,
) -> int:
    """Show what apply would do, and why.

    Reads the specs in PATH (specs/ by default), the state, and the platform's word on jobs in flight. Takes no lock and
    writes nothing but --out and --report, and what it remembers of specs in the user's cache folder.
    """
    settings = options.settings("plan")
    drafted = draft(options, settings, report)
    with drafted.even_if_it_fails():
        made = _plan(options, settings, _request(path, how), drafted)
        if out:
            _save_plan(options, made, out)
    return drafted.finish(ExitCode.CHANGES if detailed_exitcode and (made.pending() or made.blocked()) else ExitCode.OK)


def _plan(options: Options, settings: Settings, request: PlanRequest, drafted: Draft) -> Plan:
    """Make the plan and show it."""
    from reconciler.reconcile import plan as make
    from reconciler.report.diagnostics import diagnostics_text
    from reconciler.report.plans import plan_json, plan_text

    with all_kept():
        made, warnings = make(settings, request, run_async)
    drafted.planned(made)
    if drafted.wanted:
        from reconciler.reconcile import status

        drafted.records = run_async(status(settings, (), refresh=False)).records
    if warnings:
        drafted.diagnostics = warnings
        note(options, diagnostics_text(warnings))
    if document := _plan_report(made, options.output_format):
        click.echo(document, nl=False)
    else:
        show(options, lambda: plan_text(made, paint(), columns(sys.stdout)), lambda: plan_json(made))
    return made


def _save_plan(options: Options, made: Plan, out: str) -> None:
    from reconciler.report.plans import plan_json
    from reconciler.report.style import to_json

    try:
        Path(out).write_text(to_json(plan_json(made)) + "\n", encoding="utf-8")
    except OSError as error:
        raise PlanRefused(f"the plan cannot be saved to {out}: {error.strerror}") from error
    carry_out = shlex.join(["reconciler", *same_place(), "apply", "--plan", out])
    refused = "Saved, although apply refuses it as it is." if made.refusals else None
    note(options, refused or f"Saved. Carry it out with: {carry_out}")


def _plan_report(made: Plan, output_format: str | None) -> str | None:
    """The plan as another system reads it; None for text and JSON."""
    if output_format == "markdown":
        from reconciler.report.markdown import plan_markdown

        return plan_markdown(made)
    if output_format == "codequality":
        from reconciler.report.codequality import plan_codequality
        from reconciler.report.style import to_json

        return to_json(plan_codequality(made)) + "\n"
    if output_format == "junit":
        from reconciler.report.planjunit import plan_junit

        return plan_junit(made)
    return None


@click.command()
@_PATH
@_planning
@click.option("--plan", "plan_file", metavar="FILE", help="Carry out a saved plan, exactly, or refuse.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--wait", "wait_", is_flag=True, help="Stay until every job has ended.")
@report_option
@common()
def apply(
    options: Options,
    path: str | None,
    plan_file: str | None,
    yes: bool,  # noqa: FBT001
    wait_: bool,  # noqa: FBT001
    report: str | None,
    **how: Any,
) -> int:
    """Show the plan, ask, and carry it out.

    Submits new and changed jobs, one for each spec, and records them in the state. With --wait it stays until every job
    has ended, and exits with 4 if one FAILED or was CANCELLED.
    """
    settings = options.settings("apply --wait" if wait_ else "apply")
    drafted = draft(options, settings, report)
    with drafted.even_if_it_fails():
        saved = _saved_plan(plan_file, path, how) if plan_file else None
        request = _saved_request(saved, plan_file or "", how) if saved else _request(path, how)
        applied = run_async(_apply(drafted, request, saved, yes=yes or bool(saved), wait=wait_))
        drafted.applied(applied)
        code = report_applied(options, applied, wait=wait_, local=settings.endpoint == "local")
    return drafted.finish(code)


async def _apply(drafted: Draft, request: PlanRequest, saved: Plan | None, *, yes: bool, wait: bool) -> Applied:
    from reconciler.cli.progress import reporting
    from reconciler.reconcile import Hooks
    from reconciler.reconcile import apply as carry_out
    from reconciler.signals import stop_on_signals

    options = drafted.options
    with reporting(options) as reporter, stop_on_signals(told_by_signal(options)) as stop:

        def review(made: Plan) -> bool:
            drafted.planned(made)
            with reporter.paused():
                return reviewed(options, made, yes=yes, otherwise="--yes or --plan FILE")

        def outcome(done: Outcome) -> None:
            drafted.outcome(done)
            reporter.outcome(done)

        def news(records: Mapping[str, RecordedJob]) -> None:
            drafted.news(records)
            reporter.news(records)

        hooks = Hooks(review=review, begin=reporter.begin, outcome=outcome, news=news, sent=reporter.sent)
        settings, wanted = drafted.settings, drafted.wanted
        return await carry_out(settings, request, stop, hooks, saved=saved, wait=wait, with_failures=wanted)


def reviewed(options: Options, made: Plan, *, yes: bool, otherwise: str) -> bool:
    """Show the plan, and ask. `otherwise`: what to give where there is no terminal to ask on."""
    from reconciler.report.plans import plan_text

    # One write: a reader that goes away after it, as with '| head', stops nothing.
    stream = sys.stderr if options.json else sys.stdout
    text = plan_text(made, paint(stream), columns(stream)) + ("\n" if made.pending() or made.blocked() else "")
    click.echo(text, file=stream)
    if made.refusals or not made.pending():
        return True
    return yes or _asked(len(made.pending()), otherwise)


def _asked(count: int, otherwise: str) -> bool:
    from reconciler.text import plural

    if not sys.stdin.isatty():
        raise UsageError("there is no terminal to ask on", f"review the plan above, then give {otherwise}")
    # While it asks, the event loop does not run, and with it nothing that would hear a signal. Nothing has begun yet.
    heard_by_loop = {
        signal.SIGINT: signal.signal(signal.SIGINT, signal.default_int_handler),
        signal.SIGTERM: signal.signal(signal.SIGTERM, signal.SIG_DFL),
        signal.SIGHUP: signal.signal(signal.SIGHUP, signal.SIG_DFL),
    }
    try:
        answer = click.prompt(f"Carry out {plural(count, 'action')}? Only 'yes' is taken", default="no", err=True)
    finally:
        for number, handler in heard_by_loop.items():
            signal.signal(number, handler)
    return bool(answer.strip().lower() == "yes")


def told_by_signal(options: Options) -> Any:
    def told(number: int) -> None:
        name = signal.Signals(number).name
        note(options, f"\n{name}: stopping in good order; requests in flight get a few seconds. Again to stop at once.")

    return told


def report_applied(options: Options, applied: Applied, *, wait: bool, local: bool) -> int:
    """Show what came of a plan; the exit code."""
    from reconciler.report.jobs import jobs_text
    from reconciler.report.outcomes import outcomes_json, outcomes_text

    for line in applied.notes:
        note(options, f"note: {line}")
    if not applied.approved:
        note(options, "Not approved: nothing was done.")
        return ExitCode.FAILED
    text = outcomes_text(applied.outcomes, paint()) if applied.outcomes else ""
    if wait and applied.records:
        text = f"{text}\n\n{jobs_text(applied.records, paint())}".strip()
    if text or options.json:
        show(options, text, outcomes_json(applied.outcomes))
    codes = [o.exit_code for o in applied.outcomes]
    if wait and any(r.status in ("FAILED", "CANCELLED") for r in applied.records.values()):
        codes.append(ExitCode.JOBS_FAILED)
    if applied.unobserved:
        note(options, f"{applied.unobserved} jobs in flight could not be observed; nothing was done about them")
        codes.append(ExitCode.TRY_LATER)
    if applied.left is not None:
        note(options, f"{applied.left.message}; {applied.left.hint}")
        codes.append(applied.left.exit_code)
    submitted = any(o.outcome == "done" and o.action in ("create", "replace", "retry") for o in applied.outcomes)
    if submitted and not wait and not any(codes):
        where = "The embedded service runs jobs only while a command waits" if local else "Follow the jobs with"
        note(options, f"{where}: reconciler wait")
    return worst(codes)


def _saved_plan(file: str, path: str | None, how: dict[str, Any]) -> Plan:
    from pydantic import ValidationError

    from reconciler.actions import Plan

    if path or how["prune"] or how["replace"] or how["targets"] or how["unprotect"]:
        raise UsageError("--plan carries out what the plan says", "give the other options to 'reconciler plan --out'")
    try:
        return Plan.model_validate(json.loads(Path(file).read_bytes()))
    except OSError as error:
        raise UsageError(f"the plan {file} cannot be read: {error.strerror}") from error
    except (ValueError, ValidationError) as error:
        raise PlanRefused(f"{file} is not a plan of this version", "make it with 'reconciler plan --out'") from error


def _saved_request(saved: Plan, file: str, given: Mapping[str, Any]) -> PlanRequest:
    try:
        return _request(saved.options["paths"][0], given, (saved, file))
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise PlanRefused("the saved plan does not say how it was made", "make a new one") from error
