"""What is told before click is imported is what click would tell. `UPDATE=1 pytest …` writes it anew."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from pprint import pformat

import click
import pytest
from click.shell_completion import get_completion_class

from reconciler.cli import answers, quick
from reconciler.cli.main import cli

WIDTHS = (80, 110)


def _clicks_help(columns: int, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("COLUMNS", str(columns))
    with cli.make_context("reconciler", [], resilient_parsing=True) as context:
        return cli.get_help(context) + "\n"


def _names() -> dict[str, str]:
    with click.Context(cli, info_name="reconciler") as context:
        return {item.value: item.help or "" for item in cli.shell_complete(context, "")}


def _options(name: str) -> list[tuple[str, str]]:
    with click.Context(cli, info_name="reconciler", **cli.context_settings) as group:
        command = cli.get_command(group, name)
        assert command is not None
        command._help_option = None  # click keeps the one that it was first asked for, perhaps by another test
        with click.Context(command, info_name=name, parent=group) as context:
            return [(item.value, item.help or "") for item in command.shell_complete(context, "-")]


def _list(options: list[tuple[str, str]], common: list[tuple[str, str]]) -> str:
    if options[-len(common) :] != common:
        return pformat(options, width=110)
    own = pformat(options[: -len(common)], width=110)
    return f"{own} + _COMMON" if own != "[]" else "_COMMON"


def _written(monkeypatch: pytest.MonkeyPatch) -> str:
    helps = {columns: _clicks_help(columns, monkeypatch) for columns in WIDTHS}
    names = _names()
    common = _options("explain")  # which has no others
    listed = "".join(f"    {name!r}: {_list(_options(name), common)},\n" for name in names)
    texts = "".join(
        f'    {columns}: """\\\n{text.replace(chr(92), chr(92) * 2)}""",\n' for columns, text in helps.items()
    )
    return (
        '"""What click prints: written by tests/unit/test_quick.py, see `quick`."""\n\n'
        "# fmt: off\n# ruff: noqa: RUF005\n"
        f"HELP = {{\n{texts}}}\n"
        f"COMMANDS = {pformat(names, width=110)}\n"
        f"_COMMON = {pformat(common, width=110)}\n"
        f"OPTIONS = {{\n{listed}}}\n"
    )


def test_the_answers_are_those_of_click(monkeypatch: pytest.MonkeyPatch) -> None:
    written = _written(monkeypatch)
    path = Path(answers.__file__)
    if os.environ.get("UPDATE"):
        path.write_text(written)
    assert path.read_text() == written, "write them anew: UPDATE=1 pytest tests/unit/test_quick.py"


@pytest.mark.parametrize("columns", ["80", "110", "200", "", "x"])
def test_help_is_as_wide_as_clicks(columns: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    wide = 110 if columns in ("110", "200") else 80
    assert quick.answer("/usr/bin/reconciler", ["--help"]) == answers.HELP[wide]


@pytest.mark.parametrize(
    ("columns", "program", "words"),
    [
        ("70", "reconciler", ["--help"]),
        ("80", "__main__.py", ["--help"]),
        ("80", "reconciler", ["plan", "--help"]),
        ("80", "reconciler", ["--help", "plan"]),
        ("80", "reconciler", []),
    ],
)
def test_other_lines_are_left_to_click(
    columns: str, program: str, words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    assert quick.answer(program, words) is None


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
@pytest.mark.parametrize(
    ("words", "begun", "known"),
    [
        ([], "p", True),
        ([], "validate", True),
        ([], "no-such", True),
        (["plan"], "--", True),
        (["wait"], "--fail", True),
        (["apply"], "--no-such", True),
        ([], "-", False),
        (["plan"], "", False),
        (["plan", "--prune"], "--", False),
        (["plan", "--format"], "js", False),
        (["no-such"], "--", False),
    ],
)
def test_completions_are_those_of_click(
    shell: str, words: list[str], begun: str, known: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = ["reconciler", *words, begun] if begun or shell != "fish" else ["reconciler", *words]
    monkeypatch.setenv("_RECONCILER_COMPLETE", f"{shell}_complete")
    monkeypatch.setenv("COMP_WORDS", " ".join(line).strip())
    monkeypatch.setenv("COMP_CWORD", begun if shell == "fish" else str(len(words) + 1))
    told = quick.answer("reconciler", [])
    completion = get_completion_class(shell)
    assert completion is not None
    expected = completion(cli, {}, "reconciler", "_RECONCILER_COMPLETE").complete() + "\n"
    assert told == (expected if known else None)


@pytest.mark.parametrize("line", ["reconciler 'pl", "reconciler pl\\", 'reconciler "pl', "reconciler $(x"])
def test_a_line_with_quotes_is_left_to_click(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_RECONCILER_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", line)
    monkeypatch.setenv("COMP_CWORD", "1")
    assert quick.answer("reconciler", []) is None


def test_help_into_a_closed_pipe_ends_quietly(tmp_path: Path) -> None:
    command = [sys.executable, "-c", "import sys; sys.argv[0] = 'reconciler'; from reconciler.cli import main; main()"]
    reader, writer = os.pipe()
    os.close(reader)
    with os.fdopen(writer, "wb") as out:
        done = subprocess.run([*command, "--help"], stdout=out, stderr=subprocess.PIPE, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "")
