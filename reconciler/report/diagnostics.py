"""Diagnostics as text and JSON."""

from __future__ import annotations

from collections.abc import Iterable

from reconciler.errors import Diagnostic
from reconciler.job import JsonObject
from reconciler.report.style import Paint, plain
from reconciler.text import one_line


def diagnostics_text(diagnostics: Iterable[Diagnostic], paint: Paint = plain) -> str:
    """One line each: `specs/a.yaml:12:7: error[unknown-field]: unknown field 'modle' (did you mean 'model'?)`."""
    lines = []
    for d in diagnostics:
        label = paint(f"{d.severity}[{d.code}]", "red" if d.severity == "error" else "yellow")
        where = f"{_place(str(d.location))}: " if d.location else ""
        hint = f" ({one_line(d.hint)})" if d.hint else ""
        lines.append(f"{where}{label}: {one_line(d.summary)}{hint}")
    return "\n".join(lines)


def _place(location: str) -> str:
    """A file name that begins with '::' would be a command to a CI system that reads the log."""
    return one_line(f"./{location}" if location.startswith(":") else location)


def diagnostics_json(diagnostics: Iterable[Diagnostic]) -> JsonObject:
    """The document of `validate --format json`."""
    return {
        "format_version": 1,
        "diagnostics": [
            {
                "severity": d.severity,
                "code": d.code,
                "summary": d.summary,
                "detail": d.detail,
                "path": d.location.path if d.location else None,
                "line": d.location.line or None if d.location else None,
                "column": d.location.column or None if d.location else None,
                "hint": d.hint,
            }
            for d in diagnostics
        ],
    }
