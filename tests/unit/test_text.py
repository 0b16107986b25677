"""Text from outside cannot do anything to a terminal."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from reconciler.text import one_line, pad, plural, width


@given(st.text(alphabet=st.characters()), st.integers(1, 60))
def test_any_text_is_one_printable_line_within_the_limit(text: str, limit: int) -> None:
    line = one_line(text, limit)
    assert len(line) <= limit
    assert len(line.splitlines()) <= 1
    assert not any(c < " " or "\x7f" <= c <= "\x9f" for c in line)
    line.encode()


def test_what_is_unsafe_is_shown_not_dropped() -> None:
    assert one_line("a\x1b[31m\n\u202eb\ud800") == "a\\u001b[31m\\u000a\\u202eb\\ud800"


def test_a_cut_is_visible() -> None:
    assert one_line("abcdef", 4) == "abc…"
    assert one_line("abcd", 4) == "abcd"


def test_columns_line_up_in_wide_and_combining_scripts() -> None:
    assert [width(t) for t in ("abc", "日本", "e\u0301")] == [3, 4, 1]
    assert width(pad("日本", 6)) == width(pad("abc", 6)) == 6
    assert pad("too long", 3) == "too long"


def test_counts_are_readable() -> None:
    assert [plural(n, "job") for n in (0, 1, 1000)] == ["0 jobs", "1 job", "1,000 jobs"]
