"""Starting the platform that knows the truth, and where trials live."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path


def start_platform(folder: Path) -> tuple[subprocess.Popen[bytes], int]:
    """Start the stand-in; its process and its port."""
    process = subprocess.Popen([sys.executable, Path(__file__).parent / "truth.py", folder / "port"])
    deadline = time.monotonic() + 30
    while not (folder / "port").exists():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return process, int((folder / "port").read_text())


def scratch() -> Path | None:
    """Memory, where there is some: the order of syncs matters here, not the time that they take."""
    memory = Path("/dev/shm")
    return memory if memory.is_dir() else None
