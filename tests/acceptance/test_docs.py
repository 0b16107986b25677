"""The pages in `docs/`: every example is a project that works, and prints what the page says."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
BLOCK = re.compile(r"^```(yaml|text)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def examples() -> list[tuple[str, list[tuple[str, str]]]]:
    """Sections with examples: their names, and their blocks."""
    sections = [
        (page.stem, section)
        for page in sorted(DOCS.glob("*.md"))
        for section in re.split(r"^## ", page.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    ]
    return [(f"{page}: {s.splitlines()[0]}", blocks) for page, s in sections if (blocks := BLOCK.findall(s))]


@pytest.mark.parametrize(("name", "blocks"), examples(), ids=[name for name, _ in examples()])
def test_an_example_does_what_its_page_says(name: str, blocks: list[tuple[str, str]], tmp_path: Path) -> None:
    for kind, text in blocks:
        if kind == "yaml":
            path = tmp_path / text.splitlines()[0].removeprefix("# ")
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")
    said = [text for kind, text in blocks if kind == "text"]
    assert said
    for text in said:
        command, _, expected = text.partition("\n")
        line = [sys.executable, "-m", "reconciler", *shlex.split(command.removeprefix("$ reconciler"))]
        done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        # What it says beside its result is on stderr; validate has nothing else to say.
        assert expected.strip() in (done.stdout.strip(), done.stderr.splitlines()[0] if done.stderr else ""), done
