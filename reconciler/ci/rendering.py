"""The reports that GitLab shows in a merge request, made of the saved plan: all show the same one."""

from __future__ import annotations

from pathlib import Path

from reconciler.actions import Plan
from reconciler.ci.runner import Runner
from reconciler.errors import ExitCode
from reconciler.report.codequality import plan_codequality
from reconciler.report.planjunit import plan_junit
from reconciler.report.style import to_json


def gitlab_reports(runner: Runner) -> int:
    """Write `codequality.json` and `junit.xml` beside the saved plan. Without a plan there is nothing to write."""
    file = runner.notes().get("plan_file")
    if file:
        made = Plan.model_validate_json(Path(file).read_bytes())
        (runner.notes_folder / "codequality.json").write_text(to_json(plan_codequality(made)) + "\n", encoding="utf-8")
        (runner.notes_folder / "junit.xml").write_text(plan_junit(made), encoding="utf-8")
    return ExitCode.OK
