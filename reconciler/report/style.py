"""Colours, marks, and how values are written."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeAlias

Colour: TypeAlias = Literal["green", "red", "yellow", "cyan", "bold", "dim"]
Paint: TypeAlias = Callable[[str, Colour], str]

_CODES = {"green": "32", "red": "31", "yellow": "33", "cyan": "36", "bold": "1", "dim": "2"}
MARKS: Mapping[str, tuple[str, Any, str]] = {
    "create": ("+", "green", "to create"),
    "replace": ("±", "yellow", "to replace"),
    "retry": ("↻", "yellow", "to retry"),
    "cancel": ("-", "red", "to cancel"),
    "adopt": ("=", "cyan", "to adopt"),
    "move": ("→", "cyan", "to move"),
    "forget": ("x", "dim", "to forget"),
    "orphan": ("?", "yellow", "orphaned"),
    "blocked": ("!", "red", "blocked"),
}


def plain(text: str, colour: str) -> str:
    """No colour."""
    return text


def coloured(text: str, colour: str) -> str:
    """ANSI colour."""
    return f"\x1b[{_CODES[colour]}m{text}\x1b[0m"


def to_json(value: Any) -> str:
    """Pretty JSON for scripts; strings keep their true value, escaped as JSON does."""
    return json.dumps(value, indent=2, ensure_ascii=False)


def size(num_bytes: Any) -> str:
    """`512 B`, `3.4 kB`, `1.2 GB`; empty when it is not known."""
    if type(num_bytes) is not int:
        return ""
    if num_bytes < 1000:
        return f"{num_bytes} B"
    value, unit = num_bytes / 1000, "kB"
    for larger in ("MB", "GB", "TB"):
        if value >= 1000:
            value, unit = value / 1000, larger
    return f"{value:.1f} {unit}"
