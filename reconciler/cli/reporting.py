"""`--report FILE`: what a command finds out is kept as it goes on, and written as one HTML page, also when it fails."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import click

from reconciler.cli.output import note, worst
from reconciler.errors import Diagnostic, ExitCode, ReconcilerError, SpecError, UsageError

if TYPE_CHECKING:
    from reconciler.actions import Plan
    from reconciler.apply import Outcome
    from reconciler.cli.options import Options
    from reconciler.job import FailureLog, RecordedJob
    from reconciler.reconcile import Applied, Settings, Status

report_option = click.option("--report", metavar="FILE", help="Write an HTML page about this run; it needs no network.")
_BEGIN = b"<!doctype html>"


@dataclass(slots=True)
class Draft:
    """A report that is to be written. `path` is None when nobody asked for one."""

    options: Options
    settings: Settings
    path: Path | None
    plan: Plan | None = None
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    records: Mapping[str, RecordedJob] = field(default_factory=dict)
    failures: Mapping[str, FailureLog] = field(default_factory=dict)
    unsettled: Mapping[str, str] = field(default_factory=dict)
    notes: Sequence[str] = ()
    diagnostics: Sequence[Diagnostic] = ()
    stopped: Sequence[str] = ()
    serial: int | None = None

    @property
    def wanted(self) -> bool:
        return self.path is not None

    def planned(self, plan: Plan) -> None:
        """The plan is made; the report has it from here on."""
        self.plan = plan
        self.serial = plan.serial if plan.lineage else None

    def outcome(self, outcome: Outcome) -> None:
        """One action has its outcome."""
        self.outcomes[outcome.name] = outcome

    def news(self, records: Mapping[str, RecordedJob]) -> None:
        """Jobs as they are now."""
        self.records = records

    def seen(self, status: Status) -> None:
        """The end of `status` or `wait`."""
        self.records, self.failures, self.unsettled = status.records, status.failures, status.unsettled
        self.notes, self.serial = status.notes, status.serial or None
        if status.left is not None:
            self.stopped = _lines(status.left)

    def applied(self, applied: Applied) -> None:
        """The end of `apply`."""
        self.outcomes = {o.name: o for o in applied.outcomes}
        self.records, self.failures, self.notes = applied.records, applied.failures, applied.notes
        self.serial = applied.serial or self.serial
        if not applied.approved:
            self.stopped = ("Not approved: nothing was done.",)
        elif applied.left is not None:
            self.stopped = _lines(applied.left)

    @contextmanager
    def even_if_it_fails(self) -> Iterator[None]:
        """Whatever ends the block early is in the report, and goes on its way."""
        try:
            yield
        except BaseException as error:
            self.stopped = _lines(error)
            if isinstance(error, SpecError):
                self.diagnostics = error.diagnostics
            self._write()
            raise

    def finish(self, code: int) -> int:
        """Write the report. The exit code of the command, or the worse one of a report that cannot be written."""
        if self._write():
            return code
        return worst([ExitCode(code), ExitCode.FAILED])

    def _write(self) -> bool:
        if self.path is None:
            return True
        from reconciler.durable import replace_file

        try:
            # Readable by whoever may read other files of this person: CI keeps it under another name.
            replace_file(self.path, self._page().encode(), 0o666)
        except OSError as error:
            note(self.options, f"error: the report cannot be written to {self.path}: {error.strerror}")
            return False
        note(self.options, f"The report is in {self.path}")
        return True

    def _page(self) -> str:
        from reconciler import __version__
        from reconciler.reconcile import checked_out
        from reconciler.report.page import Report, report_page

        source = self.plan.source if self.plan is not None else None
        report = Report(
            command=self.settings.command,
            at=self.settings.now(),
            endpoint=self.settings.endpoint,
            version=__version__,
            serial=self.serial,
            source=source or checked_out(self.settings, self._specs()),
            plan=self.plan,
            outcomes=tuple(self.outcomes.values()),
            records=self.records,
            failures=self.failures,
            unsettled=self.unsettled,
            notes=self.notes,
            diagnostics=self.diagnostics,
            stopped=self.stopped,
        )
        return report_page(report)

    def _specs(self) -> set[str]:
        """The files of the jobs' specs. One that is gone says nothing about what is checked out."""
        root = self.settings.root
        return {r.spec_path for r in self.records.values() if (root / r.spec_path).exists()}


def draft(options: Options, settings: Settings, file: str | None) -> Draft:
    """A draft for `file`. Raises `UsageError` when it cannot be written: before anything is done."""
    path = Path(file) if file is not None else None
    if path is not None:
        try:
            _try_to_write(path)
        except OSError as error:
            hint = "nothing was done; give --report a file in a folder that is there"
            raise UsageError(f"the report cannot be written to {file}: {error.strerror or error}", hint) from error
    return Draft(options, settings, path)


def _try_to_write(path: Path) -> None:
    """Raises OSError when `path` cannot become a report, and `UsageError` when it holds something else."""
    import tempfile

    with tempfile.TemporaryFile(dir=path.parent, prefix=f".{path.name[:100]}."):
        pass
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    with os.fdopen(descriptor, "rb") as file:
        regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
        if not regular or file.read(len(_BEGIN)).lower() not in (b"", _BEGIN):
            raise UsageError(f"--report {path} would replace what is no HTML page", "give it another name")


def _lines(error: BaseException) -> tuple[str, ...]:
    """What an error says, a line each."""
    if isinstance(error, ReconcilerError):
        return tuple(filter(None, (error.message, *error.details, error.hint)))
    if isinstance(error, KeyboardInterrupt | click.Abort):
        return ("Interrupted.",)
    if isinstance(error, BrokenPipeError):
        return ("Whoever read what the command printed went away.",)
    return (f"This is a bug in reconciler: {type(error).__name__}",)
