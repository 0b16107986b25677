"""RFC 8785 canonical JSON, which fingerprints are made of. Pure.

`rfc8785` writes it right, and takes as long for a thousand specs as reading them. What JSON and RFC 8785 write alike is
written here; numbers with a fraction, and whatever is out of the ordinary, are left to it.
"""

from __future__ import annotations

from json.encoder import encode_basestring as _quoted  # C, where Python has it
from typing import Any

import rfc8785

_EXACT = 2**53


def canonical(value: Any) -> bytes:
    """Raises `rfc8785.CanonicalizationError` for what JSON cannot carry."""
    try:
        return _text(value).encode()
    except (UnicodeEncodeError, TypeError):
        return rfc8785.dumps(value)


def _text(value: Any) -> str:
    kind = type(value)
    if kind is str:
        return _quoted(value)
    if kind is dict:
        keys = sorted(value) if "".join(value).isascii() else sorted(value, key=_code_units)
        return "{" + ",".join([f"{_quoted(key)}:{_text(value[key])}" for key in keys]) + "}"
    if kind is list:
        return "[" + ",".join([_text(item) for item in value]) + "]"
    if value is True:
        return "true"
    if value is False:
        return "false"
    if value is None:
        return "null"
    if kind is int and -_EXACT < value < _EXACT:
        return str(value)
    return rfc8785.dumps(value).decode()


def _code_units(key: str) -> bytes:
    return key.encode("utf-16-be")
