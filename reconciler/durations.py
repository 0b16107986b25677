"""Lengths of time as people write them: `90`, `90s`, `5m`, `1.5h`, `2d`, `500ms`. Pure."""

from __future__ import annotations

import re

PATTERN = r"^[0-9]{1,9}(\.[0-9]{1,9})?(ms|s|m|h|d|)$"
_UNITS = {"ms": 0.001, "": 1.0, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def seconds(text: str) -> float | None:
    """The seconds that `text` stands for; None when it is not a duration."""
    match = re.fullmatch(r"([0-9.]+)([a-z]*)", text) if re.match(PATTERN, text) else None
    return float(match[1]) * _UNITS[match[2]] if match else None


def told(length: float) -> str:
    """A length in its two largest units, rounded down: `3h 5m`, `45s`."""
    if 0 < length < 1:
        return f"{int(length * 1000)}ms"
    rest = int(length)
    parts: list[str] = []
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        count, rest = divmod(rest, size)
        if count or (unit == "s" and not parts):
            parts.append(f"{count}{unit}")
    return " ".join(parts[:2])
