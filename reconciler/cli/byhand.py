"""`cancel` and `retry`, and how every command that a person aims at names is shown, asked about and carried out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from reconciler.cli.changing import report_applied, reviewed, told_by_signal
from reconciler.cli.guarding import GUARD_OPTIONS, limits_in_force, retyped
from reconciler.cli.options import Options, common, specs_path
from reconciler.cli.output import run_async

if TYPE_CHECKING:
    from reconciler.actions import Plan
    from reconciler.facts import PlanOptions
    from reconciler.reconcile import Applied, Hooks, Settings
    from reconciler.signals import Stop

YES = click.option("--yes", is_flag=True, help="Do not ask.")
UNPROTECT, MAX_CANCELLATIONS, MAX_SUBMISSIONS = GUARD_OPTIONS


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@MAX_CANCELLATIONS
@UNPROTECT
@YES
@common()
def cancel(options: Options, names: tuple[str, ...], yes: bool, **how: Any) -> int:  # noqa: FBT001
    """Cancel jobs on the platform, and keep their records.

    NAME is a job, or a glob for several. Jobs that have ended stay as they are. No retry policy runs again what was
    cancelled by hand; 'reconciler retry NAME' does.
    """
    from reconciler.reconcile import cancel as carry_out

    settings = options.settings("cancel")
    work = partial(carry_out, settings, [specs_path(None)], names, by_hand_options(how))
    return carried_out(options, settings, yes, work)


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@MAX_SUBMISSIONS
@YES
@common()
def retry(options: Options, names: tuple[str, ...], yes: bool, **how: Any) -> int:  # noqa: FBT001
    """Run jobs again that FAILED or were CANCELLED, also beyond the attempts of their specs.

    NAME is a job, or a glob for several. The platform runs the same job once more, and it counts as an attempt.
    'reconciler apply --replace NAME' submits a job anew instead, whatever became of it.
    """
    from reconciler.reconcile import retry as carry_out

    settings = options.settings("retry")
    work = partial(carry_out, settings, [specs_path(None)], names, by_hand_options(how))
    return carried_out(options, settings, yes, work)


def by_hand_options(how: Mapping[str, Any]) -> PlanOptions:
    """The guards that were asked for, and the line that an override adds to."""
    from reconciler.facts import PlanOptions

    limits, _ = limits_in_force(how, {})
    command = retyped(click.get_current_context().info_name or "")
    return PlanOptions(unprotect=frozenset(how.get("unprotect", ())), limits=limits, command=command)


def carried_out(
    options: Options,
    settings: Settings,
    yes: bool,  # noqa: FBT001
    work: Callable[[Stop, Hooks], Awaitable[Applied]],
) -> int:
    """Plan, show, ask, carry out, and report; the exit code."""
    applied = run_async(_carried_out(options, work, yes=yes))
    return report_applied(options, applied, wait=False, local=settings.endpoint == "local")


async def _carried_out(options: Options, work: Callable[[Stop, Hooks], Awaitable[Applied]], *, yes: bool) -> Applied:
    from reconciler.cli.progress import reporting
    from reconciler.reconcile import Hooks
    from reconciler.signals import stop_on_signals

    with reporting(options) as reporter, stop_on_signals(told_by_signal(options)) as stop:

        def review(made: Plan) -> bool:
            with reporter.paused():
                return reviewed(options, made, yes=yes, otherwise="--yes")

        return await work(stop, Hooks(review=review, begin=reporter.begin, outcome=reporter.outcome))
