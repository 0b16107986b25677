"""JSON-compatible YAML 1.2: text → values with positions, in one pass over libyaml's events.

PyYAML's own constructor speaks YAML 1.1 (`no` is false, `012` is octal, dates are objects), lets duplicate keys
win silently, and its composer overflows the C stack on deep nesting. So only its scanner is used.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, NoReturn

import yaml

from reconciler.errors import Diagnostic, Location

DEPTH_LIMIT = 64
"""Levels of nested lists and mappings."""
NODE_LIMIT = 200_000
"""Values in one file after its aliases are expanded."""
SAFE_INTEGER = 2**53

_INT = re.compile(r"[-+]?[0-9]+\Z")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?\Z")
_RADIX = re.compile(r"0o[0-7]+\Z|0x[0-9a-fA-F]+\Z")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)\Z|\.(nan|NaN|NAN)\Z")
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_LOOKS_BOOLEAN = frozenset("True TRUE False FALSE yes Yes YES no No NO on On ON off Off OFF".split())
_SURROGATES = re.compile(r"(?<!\\)((?:\\\\)*)\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})")


@dataclass(slots=True)
class Marks:
    """Where a value stands: `at` the value, `key` its key, each (line, column) from 1."""

    at: tuple[int, int]
    key: tuple[int, int] | None = None
    children: dict[str | int, Marks] = field(default_factory=dict)

    def locate(self, route: tuple[str | int, ...], *, key: bool = False) -> tuple[int, int]:
        """The position of the value at `route`, or of the nearest one above it that exists."""
        node = self
        for step in route:
            below = node.children.get(step)
            if below is None:
                return node.at
            node = below
        return node.key if key and node.key else node.at


@dataclass(frozen=True, slots=True)
class Document:
    """One YAML document: its value, and where each part of it stands."""

    value: Any
    marks: Marks


class _Stop(Exception):
    def __init__(self, diagnostic: Diagnostic) -> None:
        super().__init__(diagnostic.summary)
        self.diagnostic = diagnostic


def parse(text: str, path: str) -> tuple[list[Document], list[Diagnostic]]:
    """Read every document in `text`. Faults are returned; after a syntax fault the rest of the file is not read."""
    if path.endswith(".json"):
        # JSON writes characters beyond the BMP as two escapes; YAML has one escape for them and refuses halves.
        text = _SURROGATES.sub(_join_surrogates, text)
    reader = _Reader(text, path)
    documents: list[Document] = []
    try:
        documents.extend(reader.documents())
    except _Stop as stop:
        reader.diagnostics.append(stop.diagnostic)
    except yaml.YAMLError as error:
        reader.diagnostics.append(_syntax(error, path, text))
    return documents, reader.diagnostics


def _join_surrogates(match: re.Match[str]) -> str:
    high, low = int(match[2], 16), int(match[3], 16)
    return match[1] + chr(0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00))


def _syntax(error: yaml.YAMLError, path: str, text: str) -> Diagnostic:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or getattr(error, "reason", None) or "cannot be read as YAML"
    if mark is None:
        position = getattr(error, "position", 0)
        line = text.count("\n", 0, position) + 1 if isinstance(position, int) else 1
        return Diagnostic("yaml-syntax", problem, Location(path, line))
    lines = text.splitlines()
    here = lines[mark.line] if mark.line < len(lines) else ""
    hint = None
    if "\t" in here[: mark.column + 1]:
        problem, hint = "a tab in the indentation", "indent with spaces; YAML does not allow tabs there"
    return Diagnostic("yaml-syntax", problem, Location(path, mark.line + 1, mark.column + 1), hint=hint)


class _Reader:
    """Builds values from events. One instance reads one file."""

    def __init__(self, text: str, path: str) -> None:
        self._parser: Any = yaml.CSafeLoader(text)  # typed as a loader only; the scanner below it is what we use
        self._path = path
        self._nodes = 0
        self._anchors: dict[str, tuple[Any, Marks, int] | None] = {}
        self.diagnostics: list[Diagnostic] = []

    def documents(self) -> Iterator[Document]:
        while True:
            event = self._parser.get_event()
            if isinstance(event, yaml.StreamEndEvent):
                return
            if isinstance(event, yaml.DocumentStartEvent):
                self._anchors.clear()
                value, marks = self._node(self._parser.get_event(), 0)
                yield Document(value, marks)

    def _node(self, event: yaml.Event, depth: int) -> tuple[Any, Marks]:
        self._nodes += 1
        if self._nodes > NODE_LIMIT:
            self._stop(event, "too-large", f"more than {NODE_LIMIT:,} values", "split the file")
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event)
        assert isinstance(event, yaml.ScalarEvent | yaml.CollectionStartEvent)
        marks = Marks(_at(event))
        if event.tag is not None and event.tag != "!":
            self._fault(marks.at, "yaml-tag", f"the tag {event.tag!r} is not supported", "remove the tag")
        before = self._nodes
        if event.anchor is not None:
            self._anchors[event.anchor] = None
        if isinstance(event, yaml.ScalarEvent):
            value = self._scalar(event, marks.at)
        elif depth >= DEPTH_LIMIT:
            self._stop(event, "too-deep", f"nested deeper than {DEPTH_LIMIT} levels", "flatten the document")
        elif isinstance(event, yaml.SequenceStartEvent):
            value = self._sequence(marks, depth)
        else:
            value = self._mapping(marks, depth)
        if event.anchor is not None:
            self._anchors[event.anchor] = (value, marks, self._nodes - before + 1)
        return value, marks

    def _alias(self, event: yaml.AliasEvent) -> tuple[Any, Marks]:
        if event.anchor not in self._anchors:
            self._stop(event, "yaml-alias", f"the alias *{event.anchor} has no anchor", None)
        target = self._anchors[event.anchor]
        if target is None:
            self._stop(event, "yaml-alias", f"the alias *{event.anchor} stands inside its own anchor", None)
        value, marks, weight = target
        self._nodes += weight
        if self._nodes > NODE_LIMIT:
            self._stop(
                event,
                "too-large",
                f"aliases expand to more than {NODE_LIMIT:,} values",
                "write fewer aliases",
            )
        # Text behind an alias is pointed at where the alias stands: that is what the reader sees.
        return value, Marks(_at(event), None, marks.children)

    def _sequence(self, marks: Marks, depth: int) -> list[Any]:
        items: list[Any] = []
        while not isinstance(event := self._parser.get_event(), yaml.SequenceEndEvent):
            value, below = self._node(event, depth + 1)
            marks.children[len(items)] = below
            items.append(value)
        return items

    def _mapping(self, marks: Marks, depth: int) -> dict[str, Any]:
        mapping: dict[str, Any] = {}
        while not isinstance(event := self._parser.get_event(), yaml.MappingEndEvent):
            at = _at(event)
            key = self._key(event, at, depth)
            value, below = self._node(self._parser.get_event(), depth + 1)
            if key is None:
                continue
            if key in mapping:
                first = marks.children[key].key or marks.at
                self._fault(at, "duplicate-key", f"{key!r} is written twice; it stands in line {first[0]} too", None)
                continue
            mapping[key] = value
            below.key = at
            marks.children[key] = below
        return mapping

    def _key(self, event: yaml.Event, at: tuple[int, int], depth: int) -> str | None:
        if isinstance(event, yaml.ScalarEvent):
            plain = event.implicit[0]
            if plain and event.value == "<<":
                self._fault(at, "yaml-merge-key", "merge keys ('<<') are not in YAML 1.2", "write the keys out")
                return None
            if not plain or event.value not in _NULLS:
                return str(event.value)
            self._fault(at, "yaml-key", "a key is empty or null", "keys are strings; quote it if it is meant")
            return None
        self._node(event, depth + 1)
        self._fault(at, "yaml-key", "a key is a list, a mapping or an alias", "keys are strings")
        return None

    def _scalar(self, event: yaml.ScalarEvent, at: tuple[int, int]) -> Any:
        text: str = event.value
        if not event.implicit[0] or event.style:
            return text
        if text in _NULLS:
            return None
        if text in ("true", "false"):
            return text == "true"
        if text in _LOOKS_BOOLEAN:
            hint = "write true or false for a boolean, or quote it"
            self._fault(at, "ambiguous-scalar", f"{text} is read as the string {text!r}", hint, severity="warning")
            return text
        first = text[0]
        if not (first.isdigit() or first in "+-."):
            return text
        return self._number(text, at)

    def _number(self, text: str, at: tuple[int, int]) -> Any:
        value: int | float
        if _INT.match(text):
            if len(text) > 1 and text.lstrip("+-").startswith("0") and text.strip("+-0"):
                hint = "quote it if the zeros matter"
                summary = f"{text} is read as the decimal number {text.lstrip('+-').lstrip('0')}"
                self._fault(at, "ambiguous-scalar", summary, hint, severity="warning")
            # int() of thousands of digits is slow, and refused by Python: their count alone says they are too many.
            value = int(text) if len(text) <= 40 else SAFE_INTEGER * 2
        elif _RADIX.match(text):
            value = int(text, 0) if len(text) <= 40 else SAFE_INTEGER * 2
        elif _FLOAT.match(text):
            value = float(text)
        elif _NOT_FINITE.match(text):
            self._fault(at, "not-json", f"{text} cannot be sent as JSON", "quote it if it is text")
            return None
        else:
            return text
        if isinstance(value, int) and abs(value) > SAFE_INTEGER:
            self._fault(at, "not-json", f"{text[:40]} is beyond ±2^53, which JSON cannot carry", "quote it")
            return None
        if value in (float("inf"), float("-inf")):
            self._fault(at, "not-json", f"{text[:40]} is too large for JSON", "quote it if it is text")
            return None
        return value

    def _fault(
        self,
        at: tuple[int, int],
        code: str,
        summary: str,
        hint: str | None,
        *,
        severity: Literal["error", "warning"] = "error",
    ) -> None:
        self.diagnostics.append(Diagnostic(code, summary, Location(self._path, *at), severity, hint=hint))

    def _stop(self, event: yaml.Event, code: str, summary: str, hint: str | None) -> NoReturn:
        raise _Stop(Diagnostic(code, summary, Location(self._path, *_at(event)), hint=hint))


def _at(event: yaml.Event) -> tuple[int, int]:
    mark = event.start_mark
    assert mark is not None  # only events that were not parsed from text have none
    return mark.line + 1, mark.column + 1
