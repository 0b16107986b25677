"""A lying platform that runs, and the environment to use it in."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).parent


@contextmanager
def running_platform(folder: Path, *, queue_only: bool) -> Iterator[Path]:
    """Start the service on `folder`; with `queue_only` its jobs stay PENDING."""
    folder.mkdir()
    if queue_only:
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


def environment(platform: Path) -> dict[str, str]:
    """What a command needs to use `platform`, and nothing else of this process's environment."""
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


def here(folder: Path) -> dict[str, str]:
    """What a command needs to run in `folder` alone, and nothing else of this process's environment."""
    return {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(folder),
        "LANG": "C.UTF-8",
    }


def until(condition: Callable[[], object], seconds: float = 60) -> None:
    """Wait for `condition`."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
