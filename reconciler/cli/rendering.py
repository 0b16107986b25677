"""`render`: what the platform would see of a spec."""

from __future__ import annotations

from typing import Any

import click

from reconciler.cli.options import Options, common, specs_path
from reconciler.cli.output import show
from reconciler.errors import ExitCode, UsageError


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME]...")
@common()
def render(options: Options, names: tuple[str, ...]) -> int:
    """Print the resolved requests: what would be submitted for NAME, or for every spec.

    Variables are filled in, a matrix is its jobs, and local files have the names that they get on the platform. What
    comes from the environment (${{ env.NAME }}) stays as it is written: it may be a secret.
    """
    from reconciler.check import did_you_mean
    from reconciler.reconcile import PlanRequest, desired_jobs

    desired, _ = desired_jobs(options.settings("render"), PlanRequest(paths=(specs_path(None),)))
    for name in names:
        if name not in desired:
            raise UsageError(f"no spec has the name {name!r}", did_you_mean(name, desired) or "'render' prints all")
    jobs = [desired[name] for name in names or sorted(desired)]
    requests = [{"name": job.name, **job.request} for job in jobs]
    document = [
        {
            "name": j.name,
            "fingerprint": j.fingerprint,
            "spec_path": j.location.path,
            "line": j.location.line,
            "request": r,
        }
        for j, r in zip(jobs, requests, strict=True)
    ]
    show(options, "---\n".join(map(_yaml, requests)).rstrip("\n"), {"format_version": 1, "jobs": document})
    return ExitCode.OK


def _yaml(request: dict[str, Any]) -> str:
    import yaml

    from reconciler.text import one_line

    class Plain(yaml.SafeDumper):
        def ignore_aliases(self, data: Any) -> bool:
            return True  # what two inputs share is written out for each of them

    def dump(*, allow_unicode: bool) -> str:
        text: str = yaml.dump(request, Dumper=Plain, sort_keys=False, allow_unicode=allow_unicode, width=100)
        return text

    # Of what a terminal must not get, nothing is printed as it is; everything else stays readable.
    text = dump(allow_unicode=True)
    return text if all(one_line(line, len(line)) == line for line in text.splitlines()) else dump(allow_unicode=False)
