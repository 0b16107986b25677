"""Progress of long work, on stderr: a live line in a terminal, a line for each change with -v, else nothing."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import click

from reconciler.job import is_terminal
from reconciler.report.jobs import progress_text
from reconciler.text import one_line

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from reconciler.apply import Outcome
    from reconciler.cli.options import Options
    from reconciler.job import RecordedJob
    from reconciler.plan import Plan


class Reporter:
    """Told what happens; shows it or keeps quiet."""

    def __init__(self, live: Progress | None, *, lines: bool) -> None:
        self._live = live
        self._lines = lines
        self._bar: TaskID | None = None
        self._done = 0
        self._statuses: dict[str, str] = {}

    def begin(self, plan: Plan) -> None:
        """The plan is about to be carried out."""
        if self._live is not None:
            self._bar = self._live.add_task("Applying", total=len(plan.pending()), words="")

    @contextmanager
    def paused(self) -> Iterator[None]:
        """No live line for the length of the block: something is printed, or asked."""
        if self._live is None:
            yield
            return
        self._live.stop()
        yield
        self._live.start()

    def outcome(self, outcome: Outcome) -> None:
        """One action has its outcome."""
        self._done += 1
        if self._live is not None and self._bar is not None:
            self._live.update(self._bar, completed=self._done, words=one_line(outcome.name, 40))
        elif self._lines:
            job = f" {outcome.job_id}" if outcome.job_id else ""
            self._say(f"{outcome.action} {one_line(outcome.name, 60)}: {outcome.outcome}{job}")

    def news(self, records: Mapping[str, RecordedJob]) -> None:
        """Jobs as they are now."""
        if self._live is not None:
            if self._bar is None or self._live.tasks[-1].description != "Waiting":
                self._bar = self._live.add_task("Waiting", total=len(records), words="")
            ended = sum(r.gone or is_terminal(r.status) for r in records.values())
            self._live.update(self._bar, completed=ended, total=len(records), words=progress_text(records))
        elif self._lines:
            for name, record in records.items():
                if self._statuses.get(name) != record.status:
                    self._statuses[name] = record.status
                    self._say(f"{one_line(name, 60)}: {one_line(record.status, 30)}")

    @staticmethod
    def _say(text: str) -> None:
        with suppress(OSError):  # the terminal may be gone: the work goes on without it
            click.echo(text, err=True)


@contextmanager
def reporting(options: Options) -> Iterator[Reporter]:
    """A reporter for the length of the block."""
    if options.quiet or not sys.stderr.isatty():
        yield Reporter(None, lines=bool(options.verbose) and not options.quiet)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        # Names come from outside: they must not be read as markup.
        TextColumn("{task.fields[words]}", markup=False),
    )
    with Progress(*columns, console=Console(stderr=True)) as live:
        yield Reporter(live, lines=False)
