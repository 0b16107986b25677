"""A record in a few words: the rules that stand in for the vendor's model."""

import re
from collections import Counter
from collections.abc import Sequence

from records import Record

MODEL = "summary-rules-v1"
_NUMBER = re.compile(r"(?<![\w.])[-+]?\d+(?:\.\d+)?(?:[eE][-+]?\d{1,2})?(?![\w.]*\w)")
_WORD = re.compile(r"[^\W\d_]{4,}")
_SENTENCE = re.compile(r"(?<=[.!?])\s+")
_COMMON = 3  # words that are named


def describe(record: Record, most_words: int) -> str:
    """Numbers by count, range, mean and trend; text by its first sentence and its most frequent words."""
    text = " ".join(record.texts)
    numbers = [float(found) for found in _NUMBER.findall(text)]
    parts = [_of_numbers(numbers)] if len(numbers) > 1 else []
    if first := _SENTENCE.split(text.strip())[0]:
        parts.append(first if first.endswith((".", "!", "?")) else first + ".")
    if common := _frequent(text):
        parts.append(f"Often: {', '.join(common)}.")
    for count, kind in ((record.images, "image"), (record.videos, "video")):
        if count:
            parts.append(f"{count} {kind}{'' if count == 1 else 's'}, not looked at.")
    return " ".join(" ".join(parts or ["Nothing to go by."]).split()[:most_words])


def _of_numbers(numbers: Sequence[float]) -> str:
    half = len(numbers) // 2
    before, after = sum(numbers[:half]) / half, sum(numbers[half:]) / (len(numbers) - half)
    room = 0.05 * (max(numbers) - min(numbers))
    trend = "rising" if after - before > room else "falling" if before - after > room else "steady"
    mean = sum(numbers) / len(numbers)
    return f"{len(numbers)} numbers from {min(numbers):.6g} to {max(numbers):.6g}, mean {mean:.6g}, {trend}."


def _frequent(text: str) -> list[str]:
    """Words that come more than once, the most frequent first, then by the alphabet."""
    counts = Counter(word.lower() for word in _WORD.findall(text))
    often = sorted((-count, word) for word, count in counts.items() if count > 1)
    return [word for _, word in often[:_COMMON]]
