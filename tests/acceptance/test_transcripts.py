"""Each folder in `cases/` is a test: its `script` is run against a real service, and all that is printed is compared
with its `output.txt`. `UPDATE=1 make acceptance` writes the transcripts anew; the diff is what a reviewer reads.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from normalising import normalised
from running import environment, running_platform

HERE = Path(__file__).parent
CASES = sorted(p.name for p in (HERE / "cases").iterdir() if (p / "script").exists())


def marks(case: str) -> list[pytest.MarkDecorator]:
    """A case with a file `slow` is not among the quick tests; `make acceptance` runs all."""
    return [pytest.mark.slow] if (HERE / "cases" / case / "slow").exists() else []


@pytest.fixture
def platform(case: str, tmp_path: Path) -> Iterator[Path]:
    """The folder of a service that runs; where a case has a file `queue-only`, its jobs stay PENDING."""
    queue_only = (HERE / "cases" / case / "queue-only").exists()
    with running_platform(tmp_path / "platform", queue_only=queue_only) as folder:
        yield folder


@pytest.mark.network
@pytest.mark.parametrize("case", [pytest.param(case, marks=marks(case)) for case in CASES])
def test_transcript(case: str, tmp_path: Path, platform: Path) -> None:
    """What the user sees, the requests that were sent, and the exit codes."""
    work = tmp_path / "work"
    shutil.copytree(HERE / "cases" / case, work, ignore=shutil.ignore_patterns("slow"))
    expected = work / "output.txt"
    golden = expected.read_text() if expected.exists() else ""
    expected.unlink(missing_ok=True)
    done = subprocess.run(
        ["bash", "-c", f'. "{HERE}/prelude.sh"; . ./script'],
        cwd=work,
        env=environment(platform),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
    )
    actual = normalised(done.stdout)
    if os.environ.get("UPDATE"):
        (HERE / "cases" / case / "output.txt").write_text(actual)
    else:
        assert actual == golden
    assert "sk_acceptance" not in done.stdout
    assert not [p for p in work.rglob("*") if p.is_file() and b"sk_acceptance" in p.read_bytes()], "the key in a file"
