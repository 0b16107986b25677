"""The table of diagnostic codes has each code that the source can produce, and no other, and its examples are right."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import reconciler
from reconciler.report.rules import RULES, Rule, rule_json, rule_text
from reconciler.yaml12 import parse

ROOT = Path(reconciler.__file__).parent
MAKERS = {"Diagnostic": 0, "Finding": 1, "_fault": None, "_stop": 1, "_unknown": 1, "_type_fault": None}
"""What makes a diagnostic, and which of its arguments is the code; None: whichever looks like one."""
CODE = re.compile(r"[a-z]+(-[a-z0-9]+)+|unreadable")


def texts(node: ast.AST) -> Iterator[str]:
    for below in ast.walk(node):
        if isinstance(below, ast.Constant) and isinstance(below.value, str) and CODE.fullmatch(below.value):
            yield below.value


def produced() -> set[str]:
    """The codes in calls that make diagnostics, and those that a variable `code` is given."""
    codes: set[str] = set()
    for path in ROOT.rglob("*.py"):
        if {"service", "report"} & set(path.relative_to(ROOT).parts):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Assign) and any(
                isinstance(t, ast.Name) and t.id.lower() == "code" for t in node.targets
            ):
                codes.update(texts(node.value))
            if not isinstance(node, ast.Call):
                continue
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if name in MAKERS:
                place = MAKERS[name]
                for argument in node.args[:2] if place is None else node.args[place : place + 1]:
                    codes.update(texts(argument))
    return codes


def test_the_table_has_each_code_that_the_source_can_produce_and_no_other() -> None:
    assert produced() == set(RULES)


@pytest.mark.parametrize("rule", RULES.values(), ids=list(RULES))
def test_a_rule_teaches(rule: Rule) -> None:
    assert rule.title[0].isupper()
    assert not rule.title.endswith(".")
    assert len(rule.title) <= 60
    assert rule.text.endswith(".")
    assert len(rule.text) >= 60
    assert rule.code in rule_text(rule)
    assert rule.example.partition("\n")[0] in rule_text(rule)
    assert rule_json(rule)["text"] == rule.text


@pytest.mark.parametrize("rule", RULES.values(), ids=list(RULES))
def test_an_example_does_not_show_the_fault_that_it_explains(rule: Rule) -> None:
    _, faults = parse(rule.example, "example.yaml")
    assert faults == []
