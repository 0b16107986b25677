"""Text from outside, made safe for a terminal.

Names, statuses and messages come from spec files and from the platform. Control characters in them could move
the cursor, change colours or forge lines, so they are shown as visible escapes.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

_UNSAFE = re.compile(
    "[\x00-\x1f\x7f-\x9f"  # C0 (tab and newline too), DEL, C1
    "\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff"  # zero width, line separators, bidirectional controls
    "\ud800-\udfff]"  # lone surrogates cannot be written as UTF-8
    r"|(?<=##)\["  # '##[name]' is a command to a CI runner, wherever it stands in a log
)


def one_line(text: str, limit: int = 500) -> str:
    """`text` as one printable line of at most `limit` characters; what was unsafe is shown escaped."""
    safe = _UNSAFE.sub(lambda m: f"\\u{ord(m[0]):04x}", text[: limit + 1])
    return safe if len(safe) <= limit else safe[: limit - 1] + "…"


def width(text: str) -> int:
    """How many terminal cells `text` takes."""
    wide = sum(1 for c in text if unicodedata.east_asian_width(c) in "WF")
    return len(text) + wide - sum(1 for c in text if unicodedata.combining(c))


def pad(text: str, cells: int) -> str:
    """`text` filled with spaces up to `cells` terminal cells."""
    return text + " " * max(0, cells - width(text))


def wrap(words: Iterable[tuple[str, str]], cells: int | None, first: int = 0, rest: int = 0) -> str:
    """Join words by spaces into lines of at most `cells` terminal cells; a longer word has a line of its own.

    `words`: each as it counts, and as it is written, with its colour. The first line has `first` cells before it
    already, each further one begins with `rest` spaces.
    """
    line = ""
    used, begun = first, False
    for word, written in words:
        needed = width(word) + begun
        if cells is not None and used + needed > cells and used > rest:
            line = line.rstrip(" ") + "\n" + " " * rest
            used, begun, needed = rest, False, width(word)
        line += (" " if begun else "") + written
        used, begun = used + needed, True
    return line


def plural(count: int, noun: str) -> str:
    """`1 job`, `2 jobs`."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
