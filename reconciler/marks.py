"""Where things stand in a file: positions of values, in the lines and columns of the file as it is."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Mapping
from typing import Any, TypeAlias

# JSON writes characters beyond the BMP as two escapes, where YAML has one and refuses halves; and it takes some raw.
_ONLY_IN_JSON = re.compile(
    r"(?<!\\)((?:\\\\)*)\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})"
    "|[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]"
)
_LINE_END = re.compile(r"\r\n?|\n")

Position: TypeAlias = tuple[int, int]
"""Line and column, from 1; columns count characters (code points)."""
Columns: TypeAlias = dict[int, list[Position]]
"""By line: from which column on how many characters more than ours the file has."""


_NONE: Mapping[str | int, Marks] = {}


class Marks:
    """Where a value stands: `at` the value, `key` its key; and, in `children`, what stands in it.

    There is one for each value, and hardly any is asked: so a position is worked out when it is.
    """

    __slots__ = ("_columns", "_key", "_mark", "children")

    def __init__(self, mark: Any, columns: Columns, children: Mapping[str | int, Marks] = _NONE) -> None:
        self._mark = mark
        self._key: Any = None
        self._columns = columns
        self.children = children

    @property
    def at(self) -> Position:
        return in_file(self._mark.line + 1, self._mark.column + 1, self._columns)

    @property
    def key(self) -> Position | None:
        return None if self._key is None else in_file(self._key.line + 1, self._key.column + 1, self._columns)

    def under(self, key: Any) -> Marks:
        """These marks, for the value of a key that stands at the mark `key`."""
        self._key = key
        return self

    def locate(self, route: tuple[str | int, ...], *, key: bool = False) -> Position:
        """The position of the value at `route`, or of the nearest one above it that exists."""
        node = self
        for step in route:
            below = node.children.get(step)
            if below is None:
                return node.at
            node = below
        return (key and node.key) or node.at


def position(text: str, index: int) -> Position:
    """Where the character at `index` stands, whatever ends the lines."""
    ends = [match.end() for match in _LINE_END.finditer(text, 0, index)]
    return len(ends) + 1, index - (ends[-1] if ends else 0) + 1


def as_yaml(text: str) -> tuple[str, Columns]:
    """JSON that a YAML scanner takes, and how its columns differ from those of the file."""
    pieces: list[str] = []
    columns: Columns = {}
    line, column, done, longer = 1, 1, 0, 0
    for match in _ONLY_IN_JSON.finditer(text):
        between = text[done : match.start()]
        if ends := list(_LINE_END.finditer(between)):
            line, column, longer = line + len(ends), 1 - ends[-1].end(), 0
        written = f"\\u{ord(match[0]):04x}" if match[2] is None else _join_surrogates(match)
        column += len(between) + len(written)
        longer += len(match[0]) - len(written)
        columns.setdefault(line, []).append((column, longer))
        pieces += [between, written]
        done = match.end()
    return "".join([*pieces, text[done:]]), columns


def _join_surrogates(match: re.Match[str]) -> str:
    high, low = int(match[2], 16), int(match[3], 16)
    return match[1] + chr(0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00))


def in_file(line: int, column: int, columns: Columns) -> Position:
    changes = columns.get(line)
    before = bisect_right(changes, column, key=lambda change: change[0]) if changes else 0
    return line, column + (changes[before - 1][1] if changes and before else 0)
