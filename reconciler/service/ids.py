"""TypeIDs: a prefix that says what it is, and 128 bits in Crockford's base32."""

from __future__ import annotations

import hashlib
import uuid

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"


def _encode(value: uuid.UUID) -> str:
    number = value.int
    return "".join(_ALPHABET[(number >> shift) & 31] for shift in range(125, -1, -5))


def new_id(prefix: str) -> str:
    """A fresh id such as `job_` and 26 characters; random, so it carries no order in time."""
    return f"{prefix}_{_encode(uuid.uuid4())}"


def derived_id(prefix: str, *parts: str) -> str:
    """The id that the same parts give in every process, for things that are defined by files."""
    digest = hashlib.sha256("\0".join(parts).encode()).digest()
    return f"{prefix}_{_encode(uuid.UUID(bytes=digest[:16], version=4))}"
