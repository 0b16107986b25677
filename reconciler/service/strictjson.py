"""JSON from outside, read without the licences that Python's reader takes.

Refused: duplicate keys, NaN and infinities, text that cannot be written as UTF-8, nesting beyond what can be read.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from typing import Any

DEEPEST = 64


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        counts = Counter(key for key, _ in pairs)
        twice = counts.most_common(1)[0][0]
        raise ValueError(f"the key {twice!r} appears twice in one object")
    return found


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"the number {text} is too large")
    return value


def _no_constant(text: str) -> float:
    raise ValueError(f"{text} is not JSON")


def check(value: Any) -> None:
    """Raises ValueError when `value` is nested too deeply."""
    level = [value]
    for _ in range(DEEPEST):
        level = [
            child
            for each in level
            if isinstance(each, dict | list)
            for child in (each.values() if isinstance(each, dict) else each)
        ]
        if not level:
            return
    raise ValueError(f"it is nested deeper than {DEEPEST}")


def loads(raw: bytes) -> Any:
    """The value that `raw` holds. Raises ValueError with a reason when it is not strict JSON in UTF-8."""
    try:
        text = raw.decode("utf-8")
        value = json.loads(text, object_pairs_hook=_no_duplicates, parse_float=_finite, parse_constant=_no_constant)
        check(value)
        if "\\u" in text:  # only an escape can smuggle a lone surrogate in
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except (UnicodeDecodeError, UnicodeEncodeError) as error:
        raise ValueError(f"the text is not UTF-8: {error.reason}") from None
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    return value
