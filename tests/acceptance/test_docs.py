"""The pages in `docs/`: every example is a project that works, and prints what the page says.

A section is a project. Its blocks with a path (`# path` on top, or behind the language) are files of it; its `text`
blocks are what a shell shows there, one after the other. `UPDATE=1` writes those blocks anew.
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
from normalising import normalised
from running import here

DOCS = Path(__file__).parents[2] / "docs"
BLOCK = re.compile(r"^```(?P<kind>\w+)(?: (?P<path>\S+))?\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


def examples() -> list[tuple[Path, str]]:
    """Sections with a transcript: their page, and what they say."""
    return [
        (page, section)
        for page in sorted(DOCS.glob("*.md"))
        for section in re.split(r"^(?=## )", page.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
        if "\n```text\n" in section
    ]


def parameters() -> list[object]:
    """Each section, named by its page and its heading."""
    return [
        pytest.param(page, section, id=f"{page.stem}: {section.splitlines()[0].removeprefix('## ')}")
        for page, section in examples()
    ]


@pytest.mark.slow
@pytest.mark.parametrize(("page", "section"), parameters())
def test_an_example_does_what_its_page_says(page: Path, section: str, tmp_path: Path) -> None:
    blocks = list(BLOCK.finditer(section))
    shown = [block["text"] for block in blocks if block["kind"] == "text"]
    for block in blocks:
        if block["kind"] != "text":
            name = block["path"] or block["text"].splitlines()[0].removeprefix("# ")
            file = tmp_path / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(block["text"], encoding="utf-8")
    printed = ["".join(_shell(command, tmp_path) for command in _commands(text)) for text in shown]
    if os.environ.get("UPDATE"):
        new = section
        for before, after in zip(shown, printed, strict=True):
            new = new.replace(f"```text\n{before}```", f"```text\n{after}```")
        page.write_text(page.read_text(encoding="utf-8").replace(section, new), encoding="utf-8")
    else:
        assert normalised("".join(printed)) == normalised("".join(shown))


def _commands(text: str) -> list[str]:
    return [line.removeprefix("$ ") for line in text.splitlines() if line.startswith("$ ")]


def _shell(command: str, folder: Path) -> str:
    done = subprocess.run(
        ["bash", "-c", command],
        cwd=folder,
        env=here(folder),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )
    return f"$ {command}\n" + "".join(line.rstrip() + "\n" for line in done.stdout.splitlines())
