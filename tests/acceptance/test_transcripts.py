"""Each folder in `cases/` is a test: its `script` is run against a real service, and all that is printed is compared
with its `output.txt`. `UPDATE=1 make test` writes the transcripts anew; the diff is what a reviewer reads.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

HERE = Path(__file__).parent
CASES = sorted(p.name for p in (HERE / "cases").iterdir() if (p / "script").exists())

# What differs from run to run, in this order. Ids are numbered as they first appear.
NUMBERED = {
    "JOB": re.compile(r"job_[0-9a-hjkmnp-tv-z]{26}"),
    "UUID": re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"),
    "FINGERPRINT": re.compile(r"sha256:[0-9a-f]{64}"),
}
REPLACED = (
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z"), "TIME"),
    (re.compile(r"http://127\.0\.0\.1:\d+"), "http://PLATFORM"),
    (re.compile(r"\[err-[^\]]+\]"), "[ERROR-UID]"),
    (re.compile(r" +\d+\.\d s$", re.MULTILINE), "  TOOK"),
    (re.compile(r"pid \d+"), "pid PID"),
)


@pytest.fixture
def platform(case: str, tmp_path: Path) -> Iterator[Path]:
    """The folder of a service that runs; where a case has a file `queue-only`, its jobs stay PENDING."""
    folder = tmp_path / "platform"
    folder.mkdir()
    if (HERE / "cases" / case / "queue-only").exists():
        (folder / "queue-only").touch()
    process = subprocess.Popen([sys.executable, HERE / "lying_platform.py", folder])
    deadline = time.monotonic() + 30
    while not (folder / "port").exists():
        assert process.poll() is None, "the service did not start"
        assert time.monotonic() < deadline
        time.sleep(0.02)
    yield folder
    process.kill()
    process.wait()


@pytest.mark.network
@pytest.mark.parametrize("case", CASES)
def test_transcript(case: str, tmp_path: Path, platform: Path) -> None:
    """What the user sees, the requests that were sent, and the exit codes."""
    work = tmp_path / "work"
    shutil.copytree(HERE / "cases" / case, work)
    expected = work / "output.txt"
    golden = expected.read_text() if expected.exists() else ""
    expected.unlink(missing_ok=True)
    done = subprocess.run(
        ["bash", "-c", f'. "{HERE}/prelude.sh"; . ./script'],
        cwd=work,
        env=_environment(platform),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
    )
    actual = normalised(done.stdout)
    if os.environ.get("UPDATE"):
        (HERE / "cases" / case / "output.txt").write_text(actual)
    else:
        assert actual == golden
    assert "sk_acceptance" not in done.stdout
    assert not [p for p in work.rglob("*") if p.is_file() and b"sk_acceptance" in p.read_bytes()], "the key in a file"


def _environment(platform: Path) -> dict[str, str]:
    port = (platform / "port").read_text()
    return {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(platform),
        "LANG": "C.UTF-8",
        "PLATFORM": str(platform),
        "ATAI_API_ENDPOINT": f"http://127.0.0.1:{port}",
        "ATAI_API_KEY": "sk_acceptance",
        "RECONCILER_SETTLE_TIME": "100ms",
        "RECONCILER_TIMEOUT": "2s",
    }


def normalised(text: str) -> str:
    """`text` without what differs from run to run."""
    for word, pattern in NUMBERED.items():
        text = _numbered(text, word, pattern)
    for pattern, replacement in REPLACED:
        text = pattern.sub(replacement, text)
    return text


def _numbered(text: str, word: str, pattern: re.Pattern[str]) -> str:
    seen: dict[str, str] = {}
    return pattern.sub(lambda m: seen.setdefault(m[0], f"{word}-{len(seen) + 1}"), text)
