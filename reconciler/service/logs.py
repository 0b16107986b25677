"""What the service writes down about itself, on stderr: text for people, or a JSON object a line for machines.

The formatter is our own, not python-json-logger's: that one writes whatever a record carries, and here it has to be
certain that no key, no signature and no content is among it. So what is written is a list of fields.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from textwrap import indent
from typing import IO, Any, Literal

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from reconciler.service.middleware import at_start
from reconciler.service.protocol import printable

LogFormat = Literal["text", "json"]
_requests = logging.getLogger("reconciler.service.requests")
_SECRET = re.compile(r"(?i)(bearer\s+|signature=)[^\s&\"']+")
_LONGEST_PATH = 1000


class _Lines(logging.Formatter):
    """No secret gets out, whoever put it into a message or an exception."""

    def __init__(self, secrets: Sequence[str]) -> None:
        super().__init__()
        self._secrets = [secret for secret in secrets if secret]

    def _clean(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return _SECRET.sub(r"\1***", text)

    def _exception(self, record: logging.LogRecord) -> str:
        return self._clean(self.formatException(record.exc_info)) if record.exc_info else ""


class TextLines(_Lines):
    """A line a record; tracebacks are indented, so that nothing in them looks like a line of its own."""

    def format(self, record: logging.LogRecord) -> str:
        text = printable(self._clean(record.getMessage()).replace("\n", " "))
        exception = printable(self._exception(record))
        return f"{text}\n{indent(exception, '  ')}" if exception else text


class JsonLines(_Lines):
    """A JSON object a record, in ASCII."""

    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": self._clean(record.getMessage()),
        }
        request = getattr(record, "request", None)
        if request:
            fields |= {name: self._clean(value) if isinstance(value, str) else value for name, value in request.items()}
        if exception := self._exception(record):
            fields["exception"] = exception
        return json.dumps(fields)


@contextmanager
def logging_as(form: LogFormat, *, secrets: Sequence[str] = (), stream: IO[str] | None = None) -> Iterator[None]:
    """Write the log of this process in that form: as text warnings and errors only, as JSON also each request."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonLines(secrets) if form == "json" else TextLines(secrets))
    handler.setLevel(logging.INFO if form == "json" else logging.WARNING)
    root, ours = logging.getLogger(), logging.getLogger("reconciler.service")
    level = ours.level
    root.addHandler(handler)
    ours.setLevel(logging.INFO)
    logging.captureWarnings(capture=form == "json")
    try:
        yield
    finally:
        logging.captureWarnings(capture=False)
        ours.setLevel(level)
        root.removeHandler(handler)


class RequestLog:
    """Writes each request down when it has been answered. The query is left out: links are signed there."""

    def __init__(self, app: ASGIApp, clock: Callable[[], float] = time.perf_counter) -> None:
        self._app = app
        self._clock = clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = self._clock()
        request_id = f"req-{uuid.uuid4()}"
        status: int | None = None  # stays None when the client left before

        def note(start: Message) -> None:
            nonlocal status
            status = start["status"]
            MutableHeaders(scope=start)["X-Request-Id"] = request_id

        try:
            await self._app(scope, receive, at_start(send, note))
        finally:
            request = {
                "method": scope["method"],
                "path": scope["path"][:_LONGEST_PATH],
                "status": status,
                "duration_ms": round((self._clock() - began) * 1000, 1),
                "request_id": request_id,
                "org": scope.get("state", {}).get("org_id"),
            }
            _requests.info("request", extra={"request": request})
