"""Lines from workers, however they are cut."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from reconciler.service import protocol
from reconciler.service.protocol import BadLine, EventLine, Line, LineSplitter, ProgressLine, parse

LINES = [
    b'{"type":"event","message":"m"}',
    b'{"type":"progress","kind":"k","step":1,"metrics":{"a":1.5}}',
    b'{"type":"output","port":"p","path":"a.csv"}',
    b'{"type":"input","input_id":"i","status":"completed"}',
    b'{"type":"error","error":{"code":"c","message":"m"}}',
    b"no json",
    b"",
]


def split(stream: bytes, sizes: list[int]) -> list[Line]:
    splitter, found = LineSplitter(), list[Line]()
    for size in sizes:
        found += splitter.feed(stream[:size])
        stream = stream[size:]
    return found + splitter.feed(stream) + splitter.end()


@given(st.lists(st.sampled_from(LINES)), st.lists(st.integers(1, 50)), st.booleans())
def test_lines_do_not_depend_on_how_the_stream_is_cut(lines: list[bytes], sizes: list[int], ended: bool) -> None:
    stream = b"\n".join(lines) + (b"\n" if ended else b"")
    assert split(stream, sizes) == [parse(line) for line in lines if line]


@given(st.integers(1, 1000), st.integers(1, 5000))
def test_a_line_that_is_too_long_costs_itself_only(chunk: int, extra: int) -> None:
    long = b"x" * (protocol.LONGEST_LINE + extra)
    stream = LINES[0] + b"\n" + long + b"\n" + LINES[1] + b"\n"
    kinds = [type(line) for line in split(stream, [chunk * 1000] * 3)]
    assert kinds == [EventLine, BadLine, ProgressLine]


@given(st.lists(st.sampled_from(LINES)), st.integers(0, 400))
def test_what_is_read_again_from_the_position_is_what_was_not_read_before(lines: list[bytes], cut: int) -> None:
    stream = b"\n".join([*lines, b""])
    first = LineSplitter()
    before = first.feed(stream[:cut])
    assert before + LineSplitter().feed(stream[first.consumed :]) == LineSplitter().feed(stream)
    assert first.consumed == stream[:cut].rfind(b"\n") + 1


@given(st.binary(max_size=200))
def test_no_line_raises(raw: bytes) -> None:
    line = parse(raw)
    if isinstance(line, BadLine):
        assert not any(ord(c) < 32 and c not in "\t\n" for c in line.reason + line.text)


def test_what_a_line_says_can_be_written_as_json_again() -> None:
    assert isinstance(parse(b'{"type":"progress","kind":"k","step":1,"metrics":{"a":1e999}}'), BadLine)
    line = parse('{"type":"event","message":"ä","payload":{"deep":[1,{"a":null}]},"future":1}'.encode())
    assert isinstance(line, EventLine)
    assert json.loads(json.dumps(line.payload)) == {"deep": [1, {"a": None}]}
