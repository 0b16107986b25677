"""What is the same in every run of a transcript."""

from __future__ import annotations

import re

# What differs from run to run, in this order. Ids are numbered as they first appear.
NUMBERED = {
    "JOB": re.compile(r"job_[0-9a-hjkmnp-tv-z]{26}"),
    "INPUT": re.compile(r"inp_[0-9a-hjkmnp-tv-z]{26}"),
    "UUID": re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"),
    "FINGERPRINT": re.compile(r"sha256:[0-9a-f]{64}"),
}
REPLACED = (
    (re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z?"), "TIME"),
    (re.compile(r'(?<= time=")(?!0\.000)\d+\.\d+'), "SECONDS"),
    (re.compile(r"http://127\.0\.0\.1:\d+"), "http://PLATFORM"),
    (re.compile(r"\[err-[^\]]+\]"), "[ERROR-UID]"),
    (re.compile(r" +\d+\.\d s(  |$)", re.MULTILINE), r"  SECONDS\1"),
    (re.compile(r"pid \d+"), "pid PID"),
)


def normalised(text: str) -> str:
    """`text` without what differs from run to run."""
    for word, pattern in NUMBERED.items():
        text = _numbered(text, word, pattern)
    for pattern, replacement in REPLACED:
        text = pattern.sub(replacement, text)
    return text


def _numbered(text: str, word: str, pattern: re.Pattern[str]) -> str:
    seen: dict[str, str] = {}
    return pattern.sub(lambda m: seen.setdefault(m[0], f"{word}-{len(seen) + 1}"), text)
