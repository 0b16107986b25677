"""`python -m reconciler.ci STEP`: one step of a CI job. The environment says the rest."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence

from reconciler.ci import jobs, statefile
from reconciler.ci.commenting import comment
from reconciler.ci.rendering import gitlab_reports
from reconciler.ci.runner import Runner
from reconciler.errors import ReconcilerError
from reconciler.text import one_line

STEPS: Mapping[str, Callable[[Runner], int]] = {
    "begin": jobs.begin,
    "take-state": statefile.take,
    "validate": jobs.validate,
    "plan": jobs.plan,
    "apply": jobs.apply,
    "keep-state": statefile.keep,
    "comment": comment,
    "verdict": jobs.verdict,
    "gitlab-reports": gitlab_reports,
}


def main(arguments: Sequence[str]) -> int:
    """Do one step; its exit code. A step whose command failed ends well: `verdict` fails the job, after the reports."""
    runner = Runner(os.environ)
    if len(arguments) != 1 or arguments[0] not in STEPS:
        runner.annotate("error", f"a step is one of {', '.join(STEPS)}")
        return 64
    try:
        return STEPS[arguments[0]](runner)
    except ReconcilerError as error:
        hint = f"; {one_line(error.hint)}" if error.hint else ""
        runner.annotate("error", f"{one_line(error.message, 2000)}{hint}")
        return int(error.exit_code)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
