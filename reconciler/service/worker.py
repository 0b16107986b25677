"""The Python side of the worker protocol that `pipelines/README.md` describes.

A worker is a program that ends with `run(work)`. Its function `work(work: Work, report: Report) -> None` does
the job: it returns when all is done, and raises `WorkFailed` for a failure that its user can understand. The
rest is done here: reading the line of work, writing each message as one line of JSON at once, stopping as soon
as the service is gone. Only the standard library is imported: a worker should be up before it loads anything
heavy.
"""

import contextlib
import json
import os
import re
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, NoReturn

PROTOCOL = 1
ABANDONED = 3  # exit status of a worker whose service went away; nobody is left to read it
_STDIN = 0
_STDOUT = 1
_STDERR = 2

Level = Literal["INFO", "WARN", "ERROR", "SUCCESS", "FAILED"]
InputStatus = Literal["processing", "completed", "failed"]


class WorkFailed(Exception):
    """The work cannot be done, for a reason its user can act on; becomes the job's `error`.

    `code` is lower snake case and stable; `details` must be JSON.
    """

    def __init__(
        self, code: str, message: str, suggestion: str | None = None, details: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.suggestion = suggestion
        self.details = dict(details or {})

    def to_json(self) -> dict[str, Any]:
        """Gives `{"code", "message", "suggestion", "details"}`, the error object of the protocol."""
        return {
            "code": self.code,
            "message": self.message,
            "suggestion": self.suggestion,
            "details": self.details,
        }


@dataclass(frozen=True, slots=True)
class InputFile:
    """One input of a port, a file or a checkpoint. `path` is read-only, `metadata` is what the job gave with it."""

    id: str
    file_id: str
    filename: str
    path: Path
    num_bytes: int
    file_type: str
    metadata: Mapping[str, Any]

    def output_name(self, suffix: str) -> str:
        """Names an output made of this input: `<stem>.<input id><suffix>`.

        Safe on every file system, and unique within the job even when two inputs share a name or are one file
        given twice, since input ids are unique.
        """
        stem = re.sub(r"[^A-Za-z0-9_-]+", "_", Path(self.filename).stem)[:80].strip("_") or "file"
        return f"{stem}.{re.sub(r'[^A-Za-z0-9_-]', '_', self.id)}{suffix}"


@dataclass(frozen=True, slots=True)
class Work:
    """What one index of a job has to do: the line of JSON that the service sends first."""

    job_id: str
    job_name: str
    pipeline_key: str
    pipeline_version: str
    component: str
    index: int
    parallelism: int
    config: Mapping[str, Any]
    inputs: Mapping[str, tuple[InputFile, ...]]
    output_dir: Path
    attempt: int = 1
    checkpoints: tuple[Mapping[str, Any], ...] = ()
    heartbeat_seconds: float | None = None

    def port(self, name: str) -> tuple[InputFile, ...]:
        """Gives the inputs of a port, in the job's order; none when this index got none."""
        return self.inputs.get(name, ())


def parse_work(line: str) -> Work:
    """Reads the line of work. Raises `WorkFailed` (`bad_work_line`) for another protocol or a broken line."""
    try:
        raw = json.loads(line)
        if raw["protocol"] != PROTOCOL:
            raise WorkFailed("bad_work_line", f"this worker speaks protocol {PROTOCOL}, not {raw['protocol']!r}")
        job = raw["job"]
        return Work(
            job_id=job["id"],
            job_name=job["name"],
            pipeline_key=job["pipeline_key"],
            pipeline_version=job["pipeline_version"],
            component=raw["component"],
            index=raw["index"],
            parallelism=raw["parallelism"],
            config=raw["config"],
            inputs={port: tuple(_input_file(item) for item in items) for port, items in raw["inputs"].items()},
            output_dir=Path(raw["output_dir"]),
            attempt=raw.get("attempt", 1),
            checkpoints=tuple(raw.get("checkpoints", ())),
            heartbeat_seconds=raw.get("heartbeat_seconds"),
        )
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise WorkFailed("bad_work_line", f"the line of work cannot be read: {error!r}") from error


def _input_file(raw: Mapping[str, Any]) -> InputFile:
    return InputFile(
        id=raw["id"],
        file_id=raw["file_id"],
        filename=raw["filename"],
        path=Path(raw["path"]),
        num_bytes=raw["num_bytes"],
        file_type=raw["file_type"],
        metadata=raw["metadata"] or {},
    )


class Report:
    """Writes the protocol's lines to a file descriptor; a reader that is gone ends the process."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._writing = threading.Lock()

    def event(
        self,
        level: Level,
        message: str,
        payload: Mapping[str, Any] | None = None,
        input_id: str | None = None,
    ) -> None:
        """Adds an entry to the job's event log."""
        self._line(
            "event",
            level=level,
            event_type="info",
            message=message,
            payload=dict(payload or {}),
            input_id=input_id,
        )

    def progress(self, kind: str, step: int, metrics: Mapping[str, Any], input_id: str | None = None) -> None:
        """Says how far the work is; `step` grows with each call for an input."""
        self._line("progress", kind=kind, step=step, metrics=dict(metrics), input_id=input_id)

    def input(self, input_id: str, status: InputStatus, error_message: str | None = None) -> None:
        """Says where a tracked input stands."""
        self._line("input", input_id=input_id, status=status, error_message=error_message)

    def input_failed(self, input_id: str, failure: WorkFailed) -> None:
        """Says that one input failed, and why, in the log and at the input; the job goes on by the pipeline's rule."""
        self._line(
            "event",
            level="ERROR",
            event_type="input_failed",
            message=failure.message,
            payload=failure.to_json(),
            input_id=input_id,
        )
        self.input(input_id, "failed", failure.message)

    def checkpoint(self, name: str, step: int, path: str, metrics: Mapping[str, Any]) -> None:
        """Hands over a finished checkpoint; `path` is relative to the output folder."""
        self._line("checkpoint", name=name, step=step, path=path, metrics=dict(metrics))

    def heartbeat(self) -> None:
        """Says that the worker is alive."""
        self._line("heartbeat")

    def done(self) -> None:
        """Says that all is done; nothing after it counts."""
        self._line("done")

    def output(self, port: str, path: str, file_type: str, input_id: str | None = None) -> None:
        """Hands over a finished file; `path` is relative to the output folder."""
        self._line("output", port=port, path=path, file_type=file_type, input_id=input_id)

    def error(self, failure: WorkFailed) -> None:
        """Says why the job fails; the worker must exit with a status other than 0 afterwards."""
        self._line("error", error=failure.to_json())

    def _line(self, line_type: str, **fields: Any) -> None:
        with self._writing:
            self._write(line_type, fields)

    def _write(self, line_type: str, fields: Mapping[str, Any]) -> None:
        data = (json.dumps({"type": line_type, **fields}, allow_nan=False) + "\n").encode("ascii")
        try:
            while data:
                data = data[os.write(self._fd, data) :]
        except OSError:
            os._exit(ABANDONED)


def run(work: Callable[[Work, Report], None]) -> NoReturn:
    """Runs a worker program and exits: 0 when `work` returned, 1 after an error line."""
    report = Report(os.dup(_STDOUT))
    # What a library prints must not get between the protocol's lines.
    os.dup2(_STDERR, _STDOUT)

    def unexpected(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        traceback.print_exception(kind, error, trace)
        report.error(WorkFailed("internal_error", f"the worker has a bug: {kind.__name__}: {error}"))

    # The interpreter itself exits with 1 after its hook.
    sys.excepthook = unexpected
    try:
        parsed = parse_work(_first_line())
        threading.Thread(target=_exit_when_abandoned, daemon=True).start()
        if parsed.heartbeat_seconds:
            threading.Thread(target=_beat, args=(report, parsed.heartbeat_seconds / 4), daemon=True).start()
        work(parsed, report)
        report.done()
    except WorkFailed as failure:
        report.error(failure)
        sys.exit(1)
    sys.exit(0)


def _beat(report: Report, seconds: float) -> NoReturn:
    while True:
        time.sleep(seconds)
        report.heartbeat()


def _first_line() -> str:
    """Reads without Python's buffer, whose lock a blocked daemon thread would hold at exit."""
    data = b""
    while b"\n" not in data:
        chunk = os.read(_STDIN, 65536)
        if not chunk:
            os._exit(ABANDONED)
        data += chunk
    return data.partition(b"\n")[0].decode("utf-8")


def _exit_when_abandoned() -> None:
    with contextlib.suppress(OSError):
        while os.read(_STDIN, 4096):
            pass
    os._exit(ABANDONED)
