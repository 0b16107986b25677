"""The files by which the service and a supervisor on another machine talk. Both see the folder, and nothing else.

This module is also run by the bare interpreter beside `supervisor.py`, so it imports the standard library alone.

| file in the place's folder | written by | says |
|---|---|---|
| `claim/` | the supervisor, as its first act | this place is taken: another start of it must not do anything |
| `claim/owner` | the supervisor | which job of the engine's, on which machine |
| `claim/beat`, `0/beat`, … | each supervisor | it lives; the content changes all the time |
| `granted` | the service | it may begin, as this attempt, with so many indexes |
| `revoked` | the service | nothing that is done here counts any more; stop. `asked`: its user wanted that |
| `0/start`, … | the service | what to start |
| `0/ended`, … | the supervisor | the index has ended, with this exit status; `stopped`: because it was told to |
| `claim/over` | the supervisor | it has ended; `stopped`: why before the work was done |
"""

import json
import os
from pathlib import Path
from typing import Any

CLAIM = "claim"
OWNER = "claim/owner"
OVER = "claim/over"
GRANTED = "granted"
REVOKED = "revoked"
BEAT = "beat"
START = "start"
ENDED = "ended"


def write(path: Path, value: Any, *, lasting: bool = True) -> None:
    """Write JSON so that others see all of it or nothing; what is not `lasting` may be gone after a power cut."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with temporary.open("w") as file:
        json.dump(value, file)
        file.flush()
        if lasting:
            os.fsync(file.fileno())
    temporary.replace(path)


def read(path: Path) -> Any:
    """The JSON in the file; None when there is no file."""
    try:
        return json.loads(path.read_text())
    except (FileNotFoundError, NotADirectoryError):
        return None
