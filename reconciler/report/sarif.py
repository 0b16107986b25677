"""Diagnostics as SARIF 2.1.0, for code scanning and for viewers in editors."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from urllib.parse import quote

from reconciler.errors import Diagnostic, Location
from reconciler.job import JsonObject
from reconciler.report.rules import RULES, Rule
from reconciler.text import one_line, plural

SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"
RESULTS = 25_000
"""Results of one run that GitHub takes; it refuses a file with more."""
SHOWN = 5_000
"""Results of one run that GitHub shows, errors first."""
# The tool has no page of its own: this is the API whose jobs the specs describe.
_INFORMATION = "https://docs.archetypeai.app"
_INDEX = {code: index for index, code in enumerate(RULES)}
_MOVING = re.compile(r"\b(line )\d+|(:)\d+(?::\d+)?")  # places in a message, which move with the lines above


def diagnostics_sarif(diagnostics: Iterable[Diagnostic], version: str) -> JsonObject:
    """The document of `validate --format sarif`, of the tool in `version`; valid also without any diagnostic.

    Paths must be relative to the top of the repository, or absolute when they lie outside of it.
    """
    found = sorted(diagnostics, key=lambda d: d.severity != "error")  # what is cut off is the least
    run: JsonObject = {
        "tool": {
            "driver": {
                "name": "reconciler",
                "version": version,
                "semanticVersion": version,
                "informationUri": _INFORMATION,
                "rules": [_rule(rule) for rule in RULES.values()],
            }
        },
        "invocations": [{"executionSuccessful": True, "toolExecutionNotifications": _left_out(len(found))}],
        "columnKind": "unicodeCodePoints",
        "results": _results(found[:RESULTS]),
    }
    return {"$schema": SCHEMA, "version": "2.1.0", "runs": [run]}


def _rule(rule: Rule) -> JsonObject:
    return {
        "id": rule.code,
        "name": "".join(word[0].upper() + word[1:] for word in re.findall(r"\w+", rule.title)),
        "shortDescription": {"text": rule.title},
        "fullDescription": {"text": rule.text},
        "help": {
            "text": f"{rule.text}\n\nFor example:\n\n{rule.example}",
            "markdown": f"{rule.text}\n\nFor example:\n\n```\n{rule.example}\n```",
        },
        "defaultConfiguration": {"level": rule.severity},
    }


def _left_out(count: int) -> list[JsonObject]:
    if count <= SHOWN:
        return []
    text = f"{plural(count, 'fault')} were found. GitHub shows the first {SHOWN:,}."
    if count > RESULTS:
        text += f" {count - RESULTS:,} are left out of this file. 'reconciler validate' lists them all."
    return [{"level": "warning", "message": {"text": text}}]


def _results(diagnostics: Sequence[Diagnostic]) -> list[JsonObject]:
    alike: Counter[str] = Counter()
    results = []
    for diagnostic in diagnostics:
        identity = _identity(diagnostic)
        results.append(_result(diagnostic, f"{identity}:{alike[identity]}"))
        alike[identity] += 1
    return results


def _result(diagnostic: Diagnostic, fingerprint: str) -> JsonObject:
    hint = f" ({one_line(diagnostic.hint)})" if diagnostic.hint else ""
    detail = f"\n{one_line(diagnostic.detail)}" if diagnostic.detail else ""
    text = f"{one_line(diagnostic.summary)}{hint}{detail}"
    result: JsonObject = {
        "ruleId": diagnostic.code,
        "level": diagnostic.severity,
        "message": {"text": text.replace("](", "] (")},  # what stands in a spec makes no link
        "partialFingerprints": {"diagnostic/v1": fingerprint},
    }
    if diagnostic.code in _INDEX:
        result["ruleIndex"] = _INDEX[diagnostic.code]
    if diagnostic.location:
        result["locations"] = [{"physicalLocation": _place(diagnostic.location)}]
    return result


def _place(location: Location) -> JsonObject:
    if location.path.startswith("/"):
        artifact = {"uri": f"file://{quote(location.path)}"}
    else:
        artifact = {"uri": quote(location.path), "uriBaseId": "%SRCROOT%"}
    region = {"startLine": location.line or 1}  # GitHub asks for a line, also of what is about a whole file
    if location.line and location.column:
        region["startColumn"] = location.column
    return {"artifactLocation": artifact, "region": region}


def _identity(diagnostic: Diagnostic) -> str:
    """The same for the same fault in the same file, wherever its lines have moved."""
    path = diagnostic.location.path if diagnostic.location else ""
    summary = _MOVING.sub(lambda m: m[1] or m[2], diagnostic.summary)
    parts = "\0".join([diagnostic.code, path, summary])
    return hashlib.sha256(parts.encode(errors="backslashreplace")).hexdigest()[:32]
