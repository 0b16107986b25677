"""Progress of long work, on stderr: a live line in a terminal, a line for each change with -v, else nothing."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import click

from reconciler.job import is_terminal
from reconciler.report.jobs import progress_text
from reconciler.report.style import size as size_text
from reconciler.text import one_line

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from reconciler.actions import Plan
    from reconciler.apply import Outcome
    from reconciler.cli.options import Options
    from reconciler.job import RecordedJob, Upload


_LONG = 64 << 20


class Bytes:
    """Files that come or go. `total`: the bytes of all; None is not known."""

    def __init__(self, verb: str, total: int | None, live: Progress | None, *, lines: bool) -> None:
        self._verb = verb
        self._total = total
        self._live = live
        self._lines = lines
        self._moved = 0
        self._of: dict[str, int] = {}
        self._task = live.add_task(verb, total=total, words="", count="") if live is not None else None

    def moved(self, path: str, num_bytes: int, /, size: int) -> None:
        """`num_bytes` more of the file at `path`, which has `size`; 0 when it need not move at all.

        A line for each file, and for each tenth of a long one.
        """
        before = self._of.get(path, 0)
        self._of[path] = now = before + num_bytes
        self._moved += num_bytes or max(size, 0)
        if self._live is not None and self._task is not None:
            count = size_text(self._moved) + (f"/{size_text(self._total)}" if self._total is not None else "")
            self._live.update(self._task, completed=self._moved, words=one_line(path, 40), count=count)
        elif self._lines and num_bytes > 0:
            if now >= size >= 0:
                _say(f"{self._verb} {one_line(path, 60)}: {size_text(size)}")
            elif size >= _LONG and 10 * now // size > 10 * before // size:
                _say(f"{self._verb} {one_line(path, 60)}: {100 * now // size} % of {size_text(size)}")


def _say(text: str) -> None:
    with suppress(OSError):  # the terminal may be gone: the work goes on without it
        click.echo(text, err=True)


class Reporter:
    """Told what happens; shows it or keeps quiet."""

    def __init__(self, live: Progress | None, *, lines: bool) -> None:
        self._live = live
        self._lines = lines
        self._bar: TaskID | None = None
        self._done = self._actions = 0
        self._statuses: dict[str, str] = {}
        self._uploads: Bytes | None = None

    def begin(self, plan: Plan) -> None:
        """The plan is about to be carried out."""
        self._actions = len(plan.pending())
        sizes = {u.file_id: u.num_bytes for a in plan.pending() for u in a.uploads}
        if sizes:
            self._uploads = Bytes("Uploading", sum(sizes.values()), self._live, lines=self._lines)
        if self._live is not None:
            self._bar = self._live.add_task("Applying", total=self._actions, words="", count="")

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
            count = f"{self._done}/{self._actions}"
            self._live.update(self._bar, completed=self._done, words=one_line(outcome.name, 40), count=count)
        elif self._lines:
            job = f" {outcome.job_id}" if outcome.job_id else ""
            _say(f"{outcome.action} {one_line(outcome.name, 60)}: {outcome.outcome}{job}")

    def sent(self, upload: Upload, num_bytes: int) -> None:
        """Bytes of a file have left."""
        if self._uploads is not None:
            self._uploads.moved(upload.path, num_bytes, upload.num_bytes)

    def download(self, total: int | None) -> Bytes:
        """Files are about to come."""
        return Bytes("Downloading", total, self._live, lines=self._lines)

    def news(self, records: Mapping[str, RecordedJob]) -> None:
        """Jobs as they are now."""
        if self._live is not None:
            if self._bar is None or self._live.tasks[-1].description != "Waiting":
                self._bar = self._live.add_task("Waiting", total=len(records), words="", count="")
            ended = sum(r.gone or is_terminal(r.status) for r in records.values())
            count = f"{ended}/{len(records)}"
            words = progress_text(records)
            self._live.update(self._bar, completed=ended, total=len(records), words=words, count=count)
        elif self._lines:
            for name, record in records.items():
                if self._statuses.get(name) != record.status:
                    self._statuses[name] = record.status
                    _say(f"{one_line(name, 60)}: {one_line(record.status, 30)}")


@contextmanager
def reporting(options: Options) -> Iterator[Reporter]:
    """A reporter for the length of the block."""
    if options.quiet or not sys.stderr.isatty():
        yield Reporter(None, lines=bool(options.verbose) and not options.quiet)
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        TextColumn("{task.fields[count]}"),
        TimeElapsedColumn(),
        # Names come from outside: they must not be read as markup.
        TextColumn("{task.fields[words]}", markup=False),
    )
    with Progress(*columns, console=Console(stderr=True)) as live:
        yield Reporter(live, lines=False)
