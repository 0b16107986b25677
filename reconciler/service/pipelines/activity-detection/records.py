"""One line of JSONL as a record. What is wrong with a line is an error of that line, not of the job."""

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

LONGEST_LINE = 64 << 20  # bytes
KINDS = ("text", "image", "video")
FORMATS = ("plain", "base64")


class LineError(ValueError):
    """The line is not a record."""


@dataclass(frozen=True, slots=True)
class Record:
    """What a line holds: its texts in order, and how many images and videos there are."""

    texts: tuple[str, ...]
    images: int = 0
    videos: int = 0


def parse(line: bytes) -> Record:
    """Raises `LineError`."""
    if len(line) > LONGEST_LINE:
        raise LineError(f"the line is longer than {LONGEST_LINE >> 20} MiB")
    try:
        raw = json.loads(line.removeprefix(b"\xef\xbb\xbf"))
    except (ValueError, RecursionError) as error:
        raise LineError("parse error") from error
    if not isinstance(raw, dict):
        raise LineError("parse error")
    if "line_index" in raw and "prediction" in raw:
        return _of_an_answer(raw)
    # The system text and the instruction say what to do, not what has happened.
    texts = [value for name in ("prompt",) if (value := _text(raw, name))]
    for name in ("system", "instruction"):
        _text(raw, name)
    counts = dict.fromkeys(KINDS, 0)
    for item in _items(raw):
        counts[item["type"]] += 1
        if item["type"] == "text":
            texts.append(_decoded(item))
    return Record(tuple(texts), counts["image"], counts["video"])


def _of_an_answer(raw: Mapping[str, Any]) -> Record:
    if not isinstance(raw["prediction"], str):
        raise LineError("no prediction to go on from")
    return Record((raw["prediction"],))


def _text(raw: Mapping[str, Any], name: str) -> str:
    value = raw.get(name)
    if value is not None and not isinstance(value, str):
        raise LineError(f"validation error: {name} is not text")
    return value or ""


def _items(raw: Mapping[str, Any]) -> list[dict[str, Any]]:
    items = raw.get("inputs") or []
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise LineError("validation error: inputs is not a list of objects")
    for item in items:
        if item.get("type") not in KINDS or item.get("format", "plain") not in FORMATS:
            raise LineError(f"validation error: an input has type {', '.join(KINDS)} and format {', '.join(FORMATS)}")
        if not isinstance(item.get("data"), str):
            raise LineError("validation error: an input has data, which is text")
    return items


def _decoded(item: Mapping[str, Any]) -> str:
    if item.get("format", "plain") == "plain":
        return str(item["data"])
    try:
        return base64.b64decode(item["data"], validate=True).decode()
    except (binascii.Error, ValueError) as error:
        raise LineError("validation error: data is not base64 of UTF-8 text") from error
