"""Diagnostics as workflow commands, which GitHub shows as annotations at the lines of a pull request."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from reconciler.errors import Diagnostic
from reconciler.report.rules import RULES
from reconciler.text import one_line, plural

SHOWN = 10
"""Annotations of each severity that GitHub shows of one step. It drops the others without a word."""


def diagnostics_github(diagnostics: Iterable[Diagnostic]) -> str:
    """A command a line, as many as GitHub shows, and one more that counts the rest. Empty without diagnostics.

    Paths must be relative to the top of the repository.
    """
    found = list(diagnostics)
    lines: list[str] = []
    left_out = []
    for severity in ("error", "warning"):
        ordered = _most_useful_first([d for d in found if d.severity == severity])
        lines += [_annotation(d) for d in ordered[:SHOWN]]
        if more := len(ordered) - SHOWN:
            left_out += [plural(more, severity)] if more > 0 else []
    if left_out:
        what = " and ".join(left_out)
        text = f"{what} more than GitHub shows here. 'reconciler validate' lists them all."
        lines.append(_command("notice", {"title": "Not all is shown"}, text))
    return "\n".join(lines)


def _most_useful_first(diagnostics: Sequence[Diagnostic]) -> list[Diagnostic]:
    """One of each file before the second of any, so that each is marked; what is wrong before what is missing."""
    seen: Counter[str] = Counter()
    ranked = []
    for diagnostic in sorted(diagnostics, key=lambda d: d.code.startswith("missing-")):
        path = diagnostic.location.path if diagnostic.location else ""
        ranked.append((seen[path], diagnostic))
        seen[path] += 1
    return [diagnostic for _, diagnostic in sorted(ranked, key=lambda pair: pair[0])]


def _annotation(diagnostic: Diagnostic) -> str:
    properties = {}
    if where := diagnostic.location:
        properties["file"] = one_line(where.path, 5000)
        if where.line:
            properties["line"] = str(where.line)
        if where.line and where.column:
            properties["col"] = str(where.column)
    rule = RULES.get(diagnostic.code)
    properties["title"] = f"{rule.title} [{rule.code}]" if rule else diagnostic.code
    lines = [diagnostic.summary, diagnostic.hint, diagnostic.detail]
    return _command(diagnostic.severity, properties, "\n".join(one_line(text) for text in lines if text))


def _command(name: str, properties: dict[str, str], message: str) -> str:
    listed = ",".join(f"{key}={_property(value)}" for key, value in properties.items())
    return f"::{name} {listed}::{_data(message)}"


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
