"""JSON-compatible YAML 1.2: text → values with positions, in one pass over libyaml's events.

PyYAML's own constructor speaks YAML 1.1 (`no` is false, `012` is octal, dates are objects), lets duplicate keys
win silently, and its composer overflows the C stack on deep nesting. So only its scanner is used.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any, Literal, NoReturn

import yaml

from reconciler.errors import Diagnostic, Location
from reconciler.marks import Columns, Marks, Position, as_yaml, in_file, position

DEPTH_LIMIT = 64
"""Levels of nested lists and mappings, counted through aliases."""
_TOO_DEEP = (f"nested deeper than {DEPTH_LIMIT} levels", "flatten the document")
NODE_LIMIT = 200_000
"""Values in one file after its aliases are expanded."""
TEXT_LIMIT = 4 << 20
"""Characters in the keys and values of one file after its aliases are expanded. Without aliases none has as many."""
SAFE_INTEGER = 2**53 - 1
"""The largest integer that is exact in every JSON reader (RFC 7493, 8785)."""

_INT = re.compile(r"[-+]?[0-9]+\Z")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?\Z")
_RADIX = re.compile(r"0o[0-7]+\Z|0x[0-9a-fA-F]+\Z")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)\Z|\.(nan|NaN|NAN)\Z")
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_WORDS: Mapping[str, bool | None] = {**dict.fromkeys(_NULLS), "true": True, "false": False}
_NUMERIC = frozenset("0123456789+-.")
_SHORT = 15
"""Digits of a number that is certainly exact."""
_LOOKS_BOOLEAN = frozenset("True TRUE False FALSE yes Yes YES no No NO on On ON off Off OFF".split())
# Beside control characters: line breaks of YAML 1.1 only, which its scanner would fold away or count as lines.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")
# What libyaml says → what to look for.
_SYNTAX_HINTS = {
    "mapping values are not allowed": "quote a value that holds ': '; begin the keys of a mapping in the same column",
    "could not find expected ':'": "a key is followed by ': ' and its value",
    "did not find expected ',' or ']'": "divide the items by commas, and close the list with ]",
    "did not find expected ',' or '}'": "divide the fields by commas, and close the mapping with }",
    "found unexpected end of stream": "close the quote",
    "did not find expected key": "begin the keys of a mapping in the same column",
    "did not find expected '-' indicator": "begin each item of a list with '- ', in the same column",
    "block sequence entries are not allowed": "a list begins in a line of its own",
    "cannot start any token": "quote a value that begins with @, ` or %",
    "found unknown escape character": "in double quotes write a backslash as \\\\, or use single quotes",
}


@dataclass(frozen=True, slots=True)
class Document:
    """One YAML document: its value, and where each part of it stands."""

    value: Any
    marks: Marks


@dataclass(frozen=True, slots=True)
class _Anchored:
    """What an alias stands for, and what expanding it costs."""

    value: Any
    marks: Marks
    nodes: int
    text: int
    height: int


class _Stop(Exception):
    def __init__(self, diagnostic: Diagnostic) -> None:
        super().__init__(diagnostic.summary)
        self.diagnostic = diagnostic


def parse(text: str, path: str) -> tuple[list[Document], list[Diagnostic]]:
    """Read every document in `text`. Faults are returned; after a syntax fault the rest of the file is not read."""
    columns: Columns = {}
    if path.endswith(".json"):
        text, columns = as_yaml(text)
    if faults := [_unprintable(match, text, path, columns) for match in islice(_UNPRINTABLE.finditer(text), 20)]:
        return [], faults  # of a binary file the first few say enough
    reader = _Reader(text, path, columns)
    documents: list[Document] = []
    try:
        documents.extend(reader.documents())
    except _Stop as stop:
        reader.diagnostics.append(stop.diagnostic)
    except yaml.YAMLError as error:
        reader.diagnostics.append(_syntax(error, path, text, columns))
    return documents, reader.diagnostics


def _unprintable(match: re.Match[str], text: str, path: str, columns: Columns) -> Diagnostic:
    where = Location(path, *in_file(*position(text, match.start()), columns))
    hint = f'in double quotes it can be written "\\u{ord(match[0]):04x}"'
    summary = f"the invisible character U+{ord(match[0]):04X}"
    return Diagnostic("control-character", summary, where, hint=hint)


def _syntax(error: yaml.YAMLError, path: str, text: str, columns: Columns) -> Diagnostic:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or "cannot be read as YAML"
    if mark is None:
        return Diagnostic("yaml-syntax", problem, Location(path, 1))
    where = Location(path, *in_file(mark.line + 1, mark.column + 1, columns))
    if "maximum nesting depth" in problem:  # libyaml looks far ahead, and since 2026 gives up there before we do
        return Diagnostic("too-deep", _TOO_DEEP[0], where, hint=_TOO_DEEP[1])
    lines = text.splitlines()
    here = lines[mark.line] if mark.line < len(lines) else ""
    indent = here[: len(here) - len(here.lstrip())]
    began = getattr(error, "context_mark", None)
    hint = next((text for words, text in _SYNTAX_HINTS.items() if words in problem), None)
    if "${{" in here and began is not None and "flow" in (getattr(error, "context", None) or ""):
        hint = 'inside of { } and [ ] an expression needs quotes: "${{ vars.NAME }}"'
    if mark.column < len(indent) and "\t" in indent:
        problem, hint = "a tab in the indentation", "indent with spaces; YAML does not allow tabs there"
    elif began is not None and began.line < mark.line:
        more = f"; {hint}" if hint else ""
        hint = f"{getattr(error, 'context', None) or 'in what'} that begins in line {began.line + 1}{more}"
    return Diagnostic("yaml-syntax", problem, where, hint=hint)


class _Reader:
    """Builds values from events. One instance reads one file.

    This is where a plan over many specs spends its time: scalars, most of all events, are looked at by the fewest
    steps, and a method that finds a fault is only called when there is one.
    """

    def __init__(self, text: str, path: str, columns: Columns) -> None:
        parser: Any = yaml.CSafeLoader(text)  # typed as a loader only; the scanner below it is what we use
        self._event: Callable[[], Any] = parser.get_event
        self._path = path
        self._columns = columns
        self._nodes = 0
        self._text = 0
        self._deepest = 0
        self._anchors: dict[str, _Anchored | None] = {}
        self.diagnostics: list[Diagnostic] = []

    def documents(self) -> Iterator[Document]:
        while True:
            event = self._event()
            if isinstance(event, yaml.StreamEndEvent):
                return
            if isinstance(event, yaml.DocumentStartEvent):
                self._anchors.clear()
                value, marks = self._node(self._event(), 0)
                if value is None and event.explicit:
                    # An empty value begins where the next thing stands: point at its '---'.
                    marks = Marks(event.start_mark, self._columns)
                yield Document(value, marks)

    def _node(self, event: Any, depth: int) -> tuple[Any, Marks]:
        self._nodes += 1
        kind = type(event)
        if kind is yaml.AliasEvent:
            self._check(event)
            return self._alias(event, depth)
        if event.anchor is not None:
            return self._anchored(event, depth)
        if kind is yaml.ScalarEvent:
            return self._scalar(event), Marks(event.start_mark, self._columns)
        return self._collection(event, depth)

    def _anchored(self, event: Any, depth: int) -> tuple[Any, Marks]:
        self._check(event)
        self._anchors[event.anchor] = None
        nodes, text, deepest = self._nodes - 1, self._text, self._deepest
        self._deepest = depth
        if isinstance(event, yaml.ScalarEvent):
            value, marks = self._scalar(event), Marks(event.start_mark, self._columns)
        else:
            value, marks = self._collection(event, depth)
        height = self._deepest - depth
        self._anchors[event.anchor] = _Anchored(value, marks, self._nodes - nodes, self._text - text, height)
        self._deepest = max(deepest, self._deepest)
        return value, marks

    def _collection(self, event: Any, depth: int) -> tuple[Any, Marks]:
        self._check(event)
        if event.tag is not None:
            self._refuse_tag(event)
        self._descend(event, depth + 1)
        return self._sequence(event, depth) if type(event) is yaml.SequenceStartEvent else self._mapping(event, depth)

    def _alias(self, event: yaml.AliasEvent, depth: int) -> tuple[Any, Marks]:
        if event.anchor not in self._anchors:
            self._stop(event, "yaml-alias", f"the alias *{event.anchor} has no anchor", None)
        target = self._anchors[event.anchor]
        if target is None:
            self._stop(event, "yaml-alias", f"the alias *{event.anchor} stands inside its own anchor", None)
        self._nodes += target.nodes
        self._text += target.text
        self._check(event)
        self._descend(event, depth + target.height)
        # Text behind an alias is pointed at where the alias stands: that is what the reader sees.
        return target.value, Marks(event.start_mark, self._columns, target.marks.children)

    def _check(self, event: yaml.Event) -> None:
        """Stops where the values, or their text, are too many."""
        if self._nodes > NODE_LIMIT:
            self._stop(event, "too-large", f"more than {NODE_LIMIT:,} values, aliases expanded", "split the file")
        if self._text > TEXT_LIMIT:
            self._stop(event, "too-large", f"aliases expand to more than {TEXT_LIMIT:,} characters", "use fewer")

    def _descend(self, event: yaml.Event, depth: int) -> None:
        self._deepest = max(self._deepest, depth)
        if depth > DEPTH_LIMIT:
            self._stop(event, "too-deep", *_TOO_DEEP)

    def _refuse_tag(self, event: Any) -> None:
        if event.tag != "!":
            self._fault(self._at(event), "yaml-tag", f"the tag {event.tag!r} is not supported", "remove the tag")

    def _sequence(self, start: Any, depth: int) -> tuple[list[Any], Marks]:
        items: list[Any] = []
        children: dict[str | int, Marks] = {}
        while type(event := self._event()) is not yaml.SequenceEndEvent:
            value, children[len(items)] = self._node(event, depth + 1)
            items.append(value)
        return items, Marks(start.start_mark, self._columns, children)

    def _mapping(self, start: Any, depth: int) -> tuple[dict[str, Any], Marks]:
        mapping: dict[str, Any] = {}
        children: dict[str | int, Marks] = {}
        while type(event := self._event()) is not yaml.MappingEndEvent:
            key = self._key(event, depth)
            value, below = self._node(self._event(), depth + 1)
            if key is None:
                continue
            if key in mapping:
                first = children[key].key or self._at(start)
                summary = f"{key!r} is written twice; it stands in line {first[0]} too"
                self._fault(self._at(event), "duplicate-key", summary, None)
                continue
            mapping[key] = value
            children[key] = below.under(event.start_mark)
        return mapping, Marks(start.start_mark, self._columns, children)

    def _key(self, event: Any, depth: int) -> str | None:
        if type(event) is not yaml.ScalarEvent:
            self._node(event, depth + 1)
            self._fault(self._at(event), "yaml-key", "a key is a list, a mapping or an alias", "keys are strings")
            return None
        key = str(event.value)
        self._text += len(key)
        if self._nodes > NODE_LIMIT or self._text > TEXT_LIMIT:
            self._check(event)
        if event.tag is not None:
            self._refuse_tag(event)
        if event.anchor is not None:
            marks = Marks(event.start_mark, self._columns)
            self._anchors[event.anchor] = _Anchored(key, marks, 1, len(key), 0)
        if (key != "<<" and key not in _NULLS) or not event.implicit[0]:
            return key
        if key == "<<":
            hint = "write the keys out"
            self._fault(self._at(event), "yaml-merge-key", "merge keys ('<<') are not in YAML 1.2", hint)
        else:
            hint = "keys are strings; quote it if it is meant"
            self._fault(self._at(event), "yaml-key", "a key is empty or null", hint)
        return None

    def _scalar(self, event: Any) -> Any:
        text: str = event.value
        if self._nodes > NODE_LIMIT:
            self._check(event)
        if event.tag is not None:
            self._refuse_tag(event)
        self._text += len(text)
        if self._text > TEXT_LIMIT:
            self._check(event)
        if event.style or not event.implicit[0]:
            return text
        if text in _WORDS:
            return _WORDS[text]
        if text[0] in _NUMERIC:
            if text.isdecimal() and text.isascii() and text[0] != "0" and len(text) <= _SHORT:
                return int(text)
            return self._number(text, self._at(event))
        if text in _LOOKS_BOOLEAN:
            hint = "write true or false for a boolean, or quote it"
            summary = f"{text} is read as the string {text!r}"
            self._fault(self._at(event), "ambiguous-scalar", summary, hint, severity="warning")
        return text

    def _number(self, text: str, at: Position) -> Any:
        value: int | float
        if _INT.match(text):
            significant = text.lstrip("+-0")
            if significant and text.lstrip("+-").startswith("0"):
                summary = f"{_cut(text)} is read as the decimal number {_cut(significant)}"
                self._fault(at, "ambiguous-scalar", summary, "quote it if the zeros matter", severity="warning")
            # int() of thousands of digits is slow, and refused by Python: their count alone says they are too many.
            value = int(significant or "0") if len(significant) <= 40 else SAFE_INTEGER * 2
            value = -value if text.startswith("-") else value
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
            self._fault(at, "not-json", f"{_cut(text)} is beyond ±2^53, which JSON cannot carry", "quote it")
            return None
        if value in (float("inf"), float("-inf")):
            self._fault(at, "not-json", f"{_cut(text)} is too large for JSON", "quote it if it is text")
            return None
        return value

    def _fault(
        self,
        at: Position,
        code: str,
        summary: str,
        hint: str | None,
        *,
        severity: Literal["error", "warning"] = "error",
    ) -> None:
        self.diagnostics.append(Diagnostic(code, summary, Location(self._path, *at), severity, hint=hint))

    def _at(self, event: yaml.Event) -> Position:
        mark = event.start_mark
        assert mark is not None  # only events that were not parsed from text have none
        return in_file(mark.line + 1, mark.column + 1, self._columns)

    def _stop(self, event: yaml.Event, code: str, summary: str, hint: str | None) -> NoReturn:
        raise _Stop(Diagnostic(code, summary, Location(self._path, *self._at(event)), hint=hint))


def _cut(text: str) -> str:
    return text if len(text) <= 40 else text[:39] + "…"
