"""Annotations for GitHub: no text from outside can make a command, and what GitHub would drop is counted."""

from __future__ import annotations

import re
from typing import Literal

from hypothesis import given
from hypothesis import strategies as st

from reconciler.errors import Diagnostic, Location
from reconciler.report.github import diagnostics_github

COMMAND = re.compile(r"::(error|warning|notice) ([^:\r\n]*)::([^\r\n]*)")


def decoded(text: str) -> str:
    for escape, character in (("%0D", "\r"), ("%0A", "\n"), ("%3A", ":"), ("%2C", ","), ("%25", "%")):
        text = text.replace(escape, character)
    return text


def read(output: str) -> list[tuple[str, dict[str, str], str]]:
    """As a runner reads it: a line that is no command would be an assertion here."""
    commands = []
    for line in re.split(r"\r\n|\r|\n", output) if output else []:
        match = COMMAND.fullmatch(line)
        assert match, line
        pairs = [pair.partition("=") for pair in match[2].split(",")]
        commands.append((match[1], {key: decoded(value) for key, _, value in pairs}, decoded(match[3])))
    return commands


def fault(
    path: str = "specs/a.yaml",
    line: int = 1,
    code: str = "unknown-field",
    severity: Literal["error", "warning"] = "error",
) -> Diagnostic:
    return Diagnostic(code, "wrong", Location(path, line, 2), severity)


def test_an_annotation_says_where_what_and_what_would_be_right() -> None:
    one = Diagnostic(
        "not-allowed", "k cannot be 5%", Location("specs/a, b: c.yaml", 3, 7), detail="see there", hint="allowed: 1, 2"
    )
    assert diagnostics_github([one]) == (
        "::error file=specs/a%2C b%3A c.yaml,line=3,col=7,title=Value that is not allowed [not-allowed]::"
        "k cannot be 5%25%0Aallowed: 1, 2%0Asee there"
    )


def test_a_whole_file_and_no_file() -> None:
    assert read(diagnostics_github([Diagnostic("unreadable", "x", Location("a.yaml"), "warning")])) == [
        ("warning", {"file": "a.yaml", "title": "Cannot be read [unreadable]"}, "x")
    ]
    assert read(diagnostics_github([Diagnostic("unreadable", "x")]))[0][1].keys() == {"title"}


def test_nothing_is_nothing() -> None:
    assert diagnostics_github([]) == ""


def test_ten_of_each_are_shown_and_the_rest_is_counted() -> None:
    ten = [fault(line=n) for n in range(1, 11)] + [fault(line=n, severity="warning") for n in range(1, 11)]
    assert [c[0] for c in read(diagnostics_github(ten))] == ["error"] * 10 + ["warning"] * 10
    many = [*ten, fault(line=99), *[fault(line=n, severity="warning") for n in range(11, 1300)]]
    *_, (kind, _, text) = commands = read(diagnostics_github(many))
    assert (len(commands), kind) == (21, "notice")
    assert text.startswith("1 error and 1,289 warnings more than GitHub shows")


def test_each_file_is_marked_before_any_is_marked_twice() -> None:
    found = [fault("a.yaml", n) for n in range(1, 50)] + [fault(f"{n}.yaml") for n in range(8)]
    files = [c[1].get("file") for c in read(diagnostics_github(found))[:10]]
    assert files == ["a.yaml", *[f"{n}.yaml" for n in range(8)], "a.yaml"]


def test_what_is_wrong_comes_before_what_is_missing() -> None:
    found = [fault(line=1, code="missing-field"), fault(line=2, code="missing-port"), fault(line=9, code="wrong-type")]
    assert [c[1]["line"] for c in read(diagnostics_github(found))] == ["9", "1", "2"]


HOSTILE = st.text(st.sampled_from("::,%0Aa\r\n\x1b\u2028\x85 error=]")) | st.text(max_size=30)


@given(HOSTILE, HOSTILE, HOSTILE)
def test_no_text_makes_a_command_of_its_own(path: str, summary: str, hint: str) -> None:
    output = diagnostics_github([Diagnostic("unreadable", summary, Location(path, 1, 1), hint=hint)])
    ((kind, properties, _),) = read(output)
    assert kind == "error"
    assert properties.keys() == {"file", "line", "col", "title"}
    assert not re.search("[\x00-\x1f\x7f-\x9f\u2028]", output)
