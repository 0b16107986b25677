"""Load and resolve: the specs → the jobs that are wanted, and all that is wrong."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

from reconciler.config import elsewhere
from reconciler.duplicates import duplicate_jobs
from reconciler.errors import Diagnostic
from reconciler.job import DesiredJob
from reconciler.load import Loaded, Memory, diagnostic_order, load
from reconciler.reconcile.settings import Settings
from reconciler.resolve import UNKNOWN_JOB, open_versions, resolve
from reconciler.source import git_names

NOT_THERE = frozenset({"no-specs", "no-such-path"})
"""Codes of specs that are not there."""
Enough: TypeAlias = Callable[[str, str], bool]
"""Whether no more needs to be known of a job than its name and its fingerprint."""


def read_specs(
    settings: Settings, paths: Sequence[Path], enough: Enough | None = None
) -> tuple[dict[str, DesiredJob], list[Diagnostic], Loaded]:
    """Load and resolve: desired jobs by name, every diagnostic, and what was read of `paths`.

    When a spec in `paths` needs one that is not there, the specs of the working directory are desired as well.
    Without `enough` nothing is taken from earlier runs.
    """
    loaded = _load(settings, paths, enough)
    desired, faults = resolve(loaded.specs, loaded.invalid)
    if any(fault.code == UNKNOWN_JOB for fault in faults):
        around = _load(settings, [settings.root / settings.specs, *paths], enough)
        desired, faults_around = resolve(around.specs, around.invalid)
        faults = [fault for fault in faults if fault.code != UNKNOWN_JOB or fault in faults_around]
    missing = [_with_place(settings, d) for d in loaded.diagnostics]
    found = [*missing, *faults, *duplicate_jobs(desired.values()), *open_versions(loaded.specs)]
    return desired, sorted(found, key=diagnostic_order), loaded


def _with_place(settings: Settings, diagnostic: Diagnostic) -> Diagnostic:
    """Where specs are not there, the settings above come first: somebody may be in the wrong folder."""
    if settings.config_above is None or diagnostic.code not in NOT_THERE:
        return diagnostic
    return replace(diagnostic, hint=f"{elsewhere(settings.config_above)}; else {diagnostic.hint}")


def _load(settings: Settings, paths: Sequence[Path], enough: Enough | None) -> Loaded:
    return load(
        paths,
        root=settings.root,
        pipelines=settings.pipelines,
        scopes={"vars": lambda: settings.vars, "git": functools.cache(lambda: git_names(settings.root))},
        policies=settings.policies,
        environ=settings.environ.keys(),
        memory=Memory(settings.cache, enough) if settings.cache and enough else None,
    )
