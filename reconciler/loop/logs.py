"""The log of the loop, on stderr: a line for each round and for each action, as text or as JSON objects."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal, TypeAlias

from reconciler.job import timestamp
from reconciler.loop.following import without_users
from reconciler.text import one_line

LogFormat: TypeAlias = Literal["text", "json"]
Level: TypeAlias = Literal["info", "warning", "error"]
_LONGEST = 2000
_LONGEST_TRACEBACK = 16_000
"""Characters: what says the most stands at its end."""


@dataclass(slots=True)
class Log:
    """Writes lines. None of the `secrets` gets out, and no control character."""

    write: Callable[[str], None]
    form: LogFormat = "text"
    secrets: Collection[str] = field(default=(), repr=False)
    quiet: bool = False
    now: Callable[[], datetime] = lambda: datetime.now(UTC)

    def line(self, level: Level, event: str, message: str, **more: Any) -> None:
        """Write one line; as JSON with the fields `more`, but for those that are None."""
        if self.quiet and level == "info":
            return
        message = self._clean(message)
        if self.form == "text":
            self.write(f"{timestamp(self.now())} {level:7} {message}")
            return
        limits = {"traceback": _LONGEST_TRACEBACK}
        fields = {k: self._clean(v, limits.get(k, _LONGEST)) if isinstance(v, str) else v for k, v in more.items()}
        head = {"time": timestamp(self.now()), "level": level, "event": event, "message": message}
        self.write(json.dumps(head | {key: value for key, value in fields.items() if value is not None}))

    def _clean(self, text: str, longest: int = _LONGEST) -> str:
        for secret in self.secrets:
            if secret:
                text = text.replace(secret, "***")
        return one_line(without_users(text, longest), longest)


class Handler(logging.Handler):
    """What libraries have to say goes into the same log."""

    def __init__(self, log: Log) -> None:
        super().__init__(logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record, with its exception."""
        text = record.getMessage()
        if record.exc_info and record.exc_info[1] is not None:
            text += f": {type(record.exc_info[1]).__name__}: {record.exc_info[1]}"
        level: Level = "error" if record.levelno >= logging.ERROR else "warning"
        self._log.line(level, "library", text, logger=record.name)
