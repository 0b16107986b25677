"""What the service writes on stderr, and what never gets there."""

from __future__ import annotations

import io
import json
import logging
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from service_client import served

from reconciler.service.logs import LogFormat, RequestLog, logging_as

KEY = "sk_a_key_that_must_not_leak"


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def log() -> Iterator[logging.Logger]:
    logger = logging.getLogger("reconciler.service.test")
    yield logger


def written(form: LogFormat, log: logging.Logger, message: str, error: BaseException | None = None) -> str:
    stream = io.StringIO()
    with logging_as(form, secrets=[KEY], stream=stream):
        log.warning("%s", message, exc_info=error)
    return stream.getvalue()


def test_text_is_one_line_without_control_characters(log: logging.Logger) -> None:
    assert written("text", log, "a\x1b[31mb\nERROR: forged\x9b\u202e") == "a[31mb ERROR: forged\n"
    lines = written("text", log, "m", ValueError("x\nERROR: forged\x07")).splitlines()
    assert lines[0] == "m"
    assert all(line.startswith("  ") for line in lines[1:])
    assert lines[-1] == "  ERROR: forged"


def test_json_is_one_object_a_line_in_ascii(log: logging.Logger) -> None:
    text = written("json", log, "a\x1b[31m\n\u202eü", ValueError("x\ny"))
    assert text.isascii()
    assert text.count("\n") == 1
    record = json.loads(text)
    assert (record["level"], record["logger"]) == ("warning", "reconciler.service.test")
    assert record["message"] == "a\x1b[31m\n\u202eü"
    assert record["exception"].endswith("ValueError: x\ny")
    assert record["time"].endswith("+00:00")


@pytest.mark.parametrize("form", ["text", "json"])
def test_secrets_are_taken_out_wherever_they_are(log: logging.Logger, form: LogFormat) -> None:
    message = f"key {KEY}, Authorization: Bearer sk_other, /x?expires=1&signature=abcdef&y=2"
    text = written(form, log, message, ValueError(message))
    for secret in (KEY, "sk_other", "abcdef"):
        assert secret not in text
    assert "&y=2" in text


def test_text_keeps_to_warnings_and_the_logger_is_left_as_it_was(log: logging.Logger) -> None:
    stream = io.StringIO()
    root = list(logging.getLogger().handlers)
    with logging_as("text", stream=stream):
        log.info("not shown")
    assert stream.getvalue() == ""
    with logging_as("json", stream=stream):
        log.info("shown")
    assert json.loads(stream.getvalue())["message"] == "shown"
    assert logging.getLogger().handlers == root
    assert logging.getLogger("reconciler.service").level == logging.NOTSET


@pytest.mark.anyio
async def test_a_request_that_the_client_left_or_that_broke_is_written_down_too() -> None:
    stream = io.StringIO()

    async def broken(*_: Any) -> None:
        raise RuntimeError

    async def nothing(*_: Any) -> Any:
        return None

    scope = {"type": "http", "method": "GET", "path": "/" + "x" * 5000, "query_string": b"secret"}
    with logging_as("json", stream=stream):
        with pytest.raises(RuntimeError):
            await RequestLog(broken)(scope, nothing, nothing)
        await RequestLog(nothing, clock=iter([1.0, 1.5]).__next__)(scope, nothing, nothing)
    for line in stream.getvalue().splitlines():
        record = json.loads(line)
        assert (record["status"], record["org"]) == (None, None)
        assert len(record["path"]) == 1000
    assert record["duration_ms"] == 500


@pytest.mark.anyio
@pytest.mark.network
async def test_each_request_is_an_object_and_no_secret_is_among_them(tmp_path: Path) -> None:
    with served(tmp_path, log_format="json") as service:
        async with service.client() as api:
            await api.upload("f", b"the content of the file")
            await api.submit("babble")
            await api.http.get("/batch/contents/x?expires=1&signature=not-to-be-seen")
            await api.http.get("/batch/jobs/%0A%1b%5b31m")
            answer = await api.http.get("/batch/jobs", headers={"Authorization": "Bearer wrong-but-secret"})
        assert service.stop(signal.SIGTERM) == 0
        assert service.process.stderr is not None
        text = service.process.stderr.read()
    for secret in (service.key, "not-to-be-seen", "wrong-but-secret", "the content of the file"):
        assert secret not in text
    records = [json.loads(line) for line in text.splitlines()]
    requests = [record for record in records if "request_id" in record]
    assert [(r["method"], r["path"], r["status"]) for r in requests] == [
        ("POST", "/v0.5/files", 200),
        ("POST", "/v0.5/batch/jobs", 201),
        ("GET", "/v0.5/batch/contents/x", 403),
        ("GET", "/v0.5/batch/jobs/\n\x1b[31m", 404),
        ("GET", "/v0.5/batch/jobs", 401),
    ]
    assert requests[0]["org"].startswith("org_")
    assert requests[-1]["org"] is None
    assert requests[-1]["request_id"] == answer.headers["x-request-id"]
    assert all(r["duration_ms"] >= 0 for r in requests)
