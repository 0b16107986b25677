"""`validate`: every fault of the specs, for people, scripts and CI."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from reconciler.cli.completing import files
from reconciler.cli.options import Options, common, specs_path
from reconciler.cli.output import all_kept, note, paint, show
from reconciler.errors import Diagnostic, ExitCode, SpecError, UsageError

if TYPE_CHECKING:
    from reconciler.load import Loaded

_SCHEMAS = 3  # schemas that are named below the faults


@click.command()
@click.argument("paths", nargs=-1, metavar="[PATH]...", shell_complete=files)
@click.option("--explain", metavar="CODE", help="Say what a diagnostic code means, with an example; reads no specs.")
@common(formats=("github", "sarif", "codequality"))
def validate(options: Options, paths: tuple[str, ...], explain: str | None) -> int:
    """Find every fault in the specs, with file, line and column.

    Without PATH it reads specs/. It opens no connection. Exit code 3 when there are errors; warnings do not count.
    --format github annotates a pull request from a workflow step, --format sarif is for code scanning,
    --format codequality for a merge request of GitLab.
    """
    from reconciler.reconcile import read_specs

    if explain is not None:
        return _explain(options, explain)
    try:
        settings = options.settings("validate")
        places = [Path(p) for p in paths] or [specs_path(None)]
        with all_kept():
            _, diagnostics, loaded = read_specs(settings, places, lambda name, fingerprint: True)
    except SpecError as error:  # of reconciler.yaml: what reads our stdout is to have it as well
        _show(options, error.diagnostics)
        note(options, f"{error.message} in reconciler.yaml; no spec was read")
        return ExitCode.INVALID
    _show(options, diagnostics)
    _conclude(options, len({spec.job.name for spec in loaded.specs}), diagnostics, loaded)
    return ExitCode.INVALID if any(d.severity == "error" for d in diagnostics) else ExitCode.OK


def _explain(options: Options, code: str) -> int:
    from reconciler.check import did_you_mean
    from reconciler.report.rules import RULES, rule_json, rule_text

    if code not in RULES:
        raise UsageError(f"there is no code {code!r}", did_you_mean(code, RULES) or "the codes: " + ", ".join(RULES))
    show(options, rule_text(RULES[code]), rule_json(RULES[code]))
    return ExitCode.OK


def _show(options: Options, diagnostics: Sequence[Diagnostic]) -> None:
    from reconciler.reconcile import in_repository

    if options.output_format == "sarif":
        from reconciler import __version__
        from reconciler.report.sarif import diagnostics_sarif
        from reconciler.report.style import to_json

        click.echo(to_json(diagnostics_sarif(in_repository(Path.cwd(), diagnostics), __version__)))
    elif options.output_format == "github":
        from reconciler.report.github import diagnostics_github

        if diagnostics:
            click.echo(diagnostics_github(in_repository(Path.cwd(), diagnostics)))
    elif options.output_format == "codequality":
        from reconciler.report.codequality import diagnostics_codequality
        from reconciler.report.style import to_json

        click.echo(to_json(diagnostics_codequality(in_repository(Path.cwd(), diagnostics))))
    elif diagnostics or options.json:
        from reconciler.report.diagnostics import diagnostics_json, diagnostics_text

        show(options, diagnostics_text(diagnostics, paint()), diagnostics_json(diagnostics))


def _conclude(options: Options, jobs: int, diagnostics: Sequence[Diagnostic], loaded: Loaded) -> None:
    from reconciler.text import one_line, plural

    errors = sum(d.severity == "error" for d in diagnostics)
    where = f"in {plural(loaded.files, 'file')}"
    note(options, f"{plural(errors, 'error')} {where}" if errors else f"{plural(jobs, 'job')} {where}: valid")
    schemas = list(dict.fromkeys(d.detail for d in diagnostics if d.detail))
    for line in schemas[:_SCHEMAS]:
        note(options, one_line(line))
    if loaded.unchecked:
        names = ", ".join(one_line(name, 200) for name in loaded.unchecked[:5])
        more = ", …" if len(loaded.unchecked) > 5 else ""
        note(options, f"ports and parameters not checked, since schemas/pipelines/ has no snapshot of: {names}{more}")
        note(options, "'reconciler pipelines pull' writes the platform's")
