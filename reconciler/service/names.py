"""Names of files: which ones users may give, and under which they lie on disk."""

from __future__ import annotations

import hashlib
import re

LONGEST = 200  # characters
_BYTES = 200  # on disk; leaves room below the 255 of most file systems
# No slashes, no control characters, nothing invisible, no marks that turn text around, no spaces but the plain one.
# The ranges are written out, so that this is the same pattern for Python, for JSON Schema and for whoever reads it.
_BAD = (
    r"\u0000-\u001f\u007f-\u00a0\u00ad\u061c\u1680\u180e\u2000-\u200f\u2028-\u202f\u205f-\u206f\u3000\ufeff\ufff0-\uffff"
    r"\/\\"
)
_ANY, _NO_DOT = f"[^{_BAD}]", f"[^{_BAD}.]"
PATTERN = f"^(?:{_ANY}*{_NO_DOT}{_ANY}*|[.]{{3}}{_ANY}*)$"  # and not "." nor ".."
_NAME = re.compile(PATTERN)


def is_name(text: str) -> bool:
    """Whether a file may have the name. Lone surrogates cannot be written, so they are no name either."""
    return len(text) <= LONGEST and _NAME.fullmatch(text) is not None and not re.search("[\ud800-\udfff]", text)


def disk_name(filename: str) -> str:
    """The name on disk: the same, unless it takes too many bytes there; then its end is a digest of the whole."""
    raw = filename.encode()
    if len(raw) <= _BYTES:
        return filename
    digest = hashlib.sha256(raw).hexdigest()[:16]
    return raw[: _BYTES - 17].decode(errors="ignore") + "~" + digest
