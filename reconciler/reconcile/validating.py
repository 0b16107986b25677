"""Diagnostics for those who look at the whole repository, as code review does."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from reconciler.errors import Diagnostic
from reconciler.source import repository_names


def in_repository(root: Path, diagnostics: Iterable[Diagnostic]) -> list[Diagnostic]:
    """`diagnostics` of the working directory `root`, with paths from the top of its repository."""
    name = repository_names(root)
    return [
        replace(d, location=replace(d.location, path=name(d.location.path))) if d.location else d for d in diagnostics
    ]
