"""Answers of the platform → nouns. Lenient where a field does not matter, strict where a wrong one loses a job.

Unknown fields are kept in `raw`, fields of a wrong type are taken as absent, an unknown status is passed on.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

from reconciler.job import JsonObject, ObservedJob
from reconciler.text import one_line

_ID = re.compile(r"(?!\.{1,2}\Z)[^\s/\\?#%\x00-\x1f\x7f]{1,256}\Z")
"""What goes into a path as one segment: `.` and `..` would be another path."""
_DEPTH = 100
"""Levels of nesting that an answer may have: the files that keep it can hold about 200."""
_TIMES = ("created_at", "updated_at", "started_at", "completed_at", "failed_at", "cancelled_at")
_WORDS = ("pipeline_type", "pipeline_key", "pipeline_version")


def loads(text: str) -> Any:
    """JSON → value. Raises ValueError for anything that is not JSON, NaN, numbers beyond a float, lone surrogates and
    nesting without end included.
    """

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is not JSON")

    try:
        value = json.loads(text, parse_constant=refuse)
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    level = [value]
    for _ in range(_DEPTH):
        level = [v for parent in level for v in _children(parent)]
        if not level:
            return value
    raise ValueError("nested too deeply")


def _children(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def job(raw: Any) -> ObservedJob | None:
    """A job object, or None when it is not one: no usable `id`, `name` or `status`."""
    if not isinstance(raw, dict):
        return None
    identity = (raw.get("id"), raw.get("name"), raw.get("status"))
    if not all(isinstance(v, str) for v in identity) or not _ID.match(raw["id"]):
        return None
    texts = {k: raw[k] for k in _WORDS if isinstance(raw.get(k), str)}
    times = {k: raw[k] for k in _TIMES if isinstance(raw.get(k), str)}
    return ObservedJob(
        id=raw["id"],
        name=raw["name"],
        status=raw["status"],
        **texts,
        **times,
        parameters=_mapping(raw.get("parameters")) or {},
        retry_count=_count(raw.get("retry_count")) or 0,
        preemption_count=_count(raw.get("preemption_count")) or 0,
        queue_position=_count(raw.get("queue_position")),
        queue_depth=_count(raw.get("queue_depth")),
        error=_mapping(raw.get("error")),
        raw=raw,
    )


def _mapping(value: Any) -> JsonObject | None:
    return value if isinstance(value, dict) else None


def _count(value: Any) -> int | None:
    return value if type(value) is int and 0 <= value < 2**53 else None


def rows(raw: Any, key: str) -> tuple[list[JsonObject], int | None] | None:
    """The rows of a page and the total that it claims, or None when it is not a page of objects."""
    items = raw.get(key) if isinstance(raw, dict) else None
    if not isinstance(items, list) or not all(isinstance(i, dict) for i in items):
        return None  # passing over what is no row could pass over a job
    return items, _count(raw.get("total"))


def file_rows(raw: Any) -> tuple[list[JsonObject], str | None]:
    """The rows of a page of files, and the cursor of the next page. The platform has answered with a bare list, too."""
    items = raw.get("data") if isinstance(raw, dict) else raw
    found = [row for row in items if isinstance(row, dict)] if isinstance(items, list) else []
    cursor = raw.get("next_cursor") if isinstance(raw, dict) and raw.get("has_more") is not False else None
    return found, cursor if isinstance(cursor, str) and cursor else None


def http_date(text: str) -> datetime | None:
    """The moment that an HTTP date names; None for what is no date, or none that a clock can go on from."""
    try:
        moment = parsedate_to_datetime(text)
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return moment if moment.year < 9000 else None


def host(url: str) -> str:
    """The host and port of a URL, without credentials; empty when there is none."""
    try:
        return one_line(urlsplit(url).netloc.rpartition("@")[2], 253)
    except ValueError:
        return ""


def error_text(status: int, body: str) -> tuple[str, str | None, str | None]:
    """What an error answer says: (message, suggestion, code of the first error). All envelopes are understood."""
    try:
        value = loads(body)
    except ValueError:
        value = None
    errors = _errors(value)
    if not errors:
        kind = "an HTML page" if body.lstrip()[:1] == "<" else one_line(body.strip(), 200) or "an empty body"
        return f"HTTP {status}: {kind}", None, None
    messages = []
    for error in errors:
        uid = f" [{error['error_uid']}]" if isinstance(error.get("error_uid"), str) else ""
        messages.append(f"{error.get('message') or error.get('code') or 'no message'}{uid}")
    suggestions = [e["suggestion"] for e in errors if isinstance(e.get("suggestion"), str)]
    code = errors[0].get("code")
    return (
        one_line(f"HTTP {status}: " + "; ".join(messages), 2000),
        one_line(suggestions[0]) if suggestions else None,
        code if isinstance(code, str) else None,
    )


def _errors(value: Any) -> list[Mapping[str, Any]]:
    """The errors of the current envelope `errors[]`, the legacy `detail`, and the obsolete `error{}`."""
    if not isinstance(value, dict):
        return []
    if isinstance(value.get("errors"), list):
        return [e for e in value["errors"] if isinstance(e, dict)]
    if isinstance(value.get("error"), dict):
        return [value["error"]]
    detail = value.get("detail")
    if isinstance(detail, str):
        return [{"message": detail}]
    if isinstance(detail, list):
        return [{"message": d.get("msg") if isinstance(d, dict) else str(d)} for d in detail]
    return []
