"""The SARIF document passes the standard's own schema, whatever is in it, and points where it should."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft4Validator

from reconciler import __version__
from reconciler.errors import Diagnostic, Location
from reconciler.load import load
from reconciler.report.rules import RULES
from reconciler.report.sarif import diagnostics_sarif
from reconciler.report.style import to_json

DATA = Path(__file__).parents[1] / "data"
SCHEMA = (DATA / "sarif" / "sarif-schema-2.1.0.json").read_bytes()
VALIDATOR = Draft4Validator(json.loads(SCHEMA), format_checker=Draft4Validator.FORMAT_CHECKER)
ONE = Diagnostic(
    "unknown-field", "unknown field 'x'", Location("specs/a.yaml", 3, 7), hint="allowed: y", detail="there"
)


def run_of(diagnostics: list[Diagnostic]) -> Any:
    document = json.loads(to_json(diagnostics_sarif(diagnostics, __version__)))
    VALIDATOR.validate(document)
    (run,) = document["runs"]
    return run


def place(diagnostic: Diagnostic) -> Any:
    return run_of([diagnostic])["results"][0]["locations"][0]["physicalLocation"]


def fingerprints(diagnostics: list[Diagnostic]) -> list[str]:
    return [r["partialFingerprints"]["diagnostic/v1"] for r in run_of(diagnostics)["results"]]


def test_the_schema_is_the_one_of_the_standard() -> None:
    assert hashlib.sha256(SCHEMA).hexdigest() == "c3b4bb2d6093897483348925aaa73af03b3e3f4bd4ca38cef26dcb4212a2682e"
    assert list(VALIDATOR.iter_errors({"version": "2.1.0", "runs": [{}]})), "it refuses what is no document"


def test_a_document_without_results_is_valid() -> None:
    run = run_of([])
    assert run["results"] == []
    rules = run["tool"]["driver"]["rules"]
    assert [rule["id"] for rule in rules] == list(RULES)
    assert len({rule["name"] for rule in rules}) == len(rules)
    assert all(re.fullmatch("[A-Z][A-Za-z0-9]+", rule["name"]) for rule in rules)
    assert all(rule["name"].lower() != rule["id"] for rule in rules), "the standard wants them to differ"


def test_a_result_says_what_where_and_by_which_rule() -> None:
    run = run_of([ONE, replace(ONE, code="ambiguous-scalar", severity="warning")])
    first, second = run["results"]
    assert first["message"]["text"] == "unknown field 'x' (allowed: y)\nthere"
    assert (first["level"], second["level"]) == ("error", "warning")
    for result in (first, second):
        assert run["tool"]["driver"]["rules"][result["ruleIndex"]]["id"] == result["ruleId"]
    assert place(ONE) == {
        "artifactLocation": {"uri": "specs/a.yaml", "uriBaseId": "%SRCROOT%"},
        "region": {"startLine": 3, "startColumn": 7},
    }


@pytest.mark.parametrize("path", ["specs/ü 1%2.yaml", "a:b.yaml", "#?.yaml", "a\nb.yaml", "\\xff.yaml", "/tmp/ü.yaml"])
def test_a_path_is_a_uri_that_gives_it_back(path: str) -> None:
    artifact = place(replace(ONE, location=Location(path, 1)))["artifactLocation"]
    uri = artifact["uri"]
    assert uri.isascii()
    assert not set(uri.removeprefix("file://")) & set(' :#?"<>\\\n')
    assert unquote(uri.removeprefix("file://")) == path
    assert ("uriBaseId" in artifact) == (not path.startswith("/"))


def test_a_column_counts_characters_and_the_run_says_so(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(
        '{name: "😀ü日", nonsense: 1, pipeline_type: batch, pipeline_key: k}\n', encoding="utf-8"
    )
    run = run_of(list(load([tmp_path / "a.yaml"], root=tmp_path).diagnostics))
    assert run["columnKind"] == "unicodeCodePoints"
    assert run["results"][0]["locations"][0]["physicalLocation"]["region"] == {"startLine": 1, "startColumn": 15}


def test_a_whole_file_is_marked_in_its_first_line() -> None:
    assert place(replace(ONE, location=Location("a.yaml")))["region"] == {"startLine": 1}
    assert "locations" not in run_of([replace(ONE, location=None)])["results"][0]


def test_a_fingerprint_stays_when_lines_move_and_tells_faults_apart() -> None:
    taken = Diagnostic("duplicate-name", "the name 'a' is taken by specs/b.yaml:1:7", Location("specs/a.yaml", 1, 7))
    twice = Diagnostic("duplicate-key", "'k' is written twice; it stands in line 2 too", Location("specs/a.yaml", 3, 1))
    before = fingerprints([ONE, taken, twice])
    moved = [replace(d, location=Location("specs/a.yaml", 40, 9)) for d in (ONE, taken, twice)]
    moved[1] = replace(moved[1], summary="the name 'a' is taken by specs/b.yaml:11:9")
    moved[2] = replace(moved[2], summary="'k' is written twice; it stands in line 39 too")
    assert fingerprints(moved) == before
    others = [ONE, ONE, replace(ONE, summary="y"), replace(ONE, location=Location("specs/b.yaml", 3, 7))]
    assert len(set(fingerprints(others))) == 4


def test_what_is_beyond_the_limits_is_counted_and_errors_stay() -> None:
    warnings = [Diagnostic("ambiguous-scalar", "x", Location("a.yaml", n), "warning") for n in range(1, 25_001)]
    run = diagnostics_sarif([*warnings, ONE, ONE], __version__)["runs"][0]
    assert len(run["results"]) == 25_000
    assert [r["level"] for r in run["results"][:3]] == ["error", "error", "warning"]
    (notification,) = run["invocations"][0]["toolExecutionNotifications"]
    assert "25,002 faults" in notification["message"]["text"]
    assert "2 are left out" in notification["message"]["text"]
    assert run_of(warnings[:5000])["invocations"][0]["toolExecutionNotifications"] == []
    (shown,) = run_of(warnings[:5001])["invocations"][0]["toolExecutionNotifications"]
    assert "left out" not in shown["message"]["text"]


@settings(deadline=None, max_examples=50)  # the schema is large
@given(st.text(), st.text(), st.text(), st.integers(0, 10**9), st.integers(0, 10**9))
def test_any_text_makes_a_valid_document(path: str, summary: str, code: str, line: int, column: int) -> None:
    run = run_of([Diagnostic(code, summary, Location(path, line, column), hint=summary)])
    text = run["results"][0]["message"]["text"]
    assert not any(ord(c) < 32 for c in text)
    assert "](" not in text, "it would be a link"
