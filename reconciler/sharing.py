"""Work on many things shared by the cores of this machine: a copy of the process for each core but one.

Copies are made where nothing but this work goes on, and where there is enough of it. One that fails is done without:
its share is done here.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")
ENOUGH = 200
"""Things from which on a copy pays."""
_MOST = 4


def shared(things: Sequence[T], work: Callable[[T], R], kind: type[R]) -> list[R]:
    """`work` of each thing, in their order. `kind`: what it returns; plain data."""
    count = _copies(len(things))
    if count < 2:
        return [work(thing) for thing in things]
    import msgspec

    def share(number: int) -> bytes:
        return msgspec.msgpack.encode([work(thing) for thing in things[number::count]])

    results: list[R | None] = [None] * len(things)
    with contextlib.ExitStack() as stack:
        others = [stack.enter_context(_copy(share, number)) for number in range(1, count)]
        results[0::count] = [work(thing) for thing in things[0::count]]
        for number, told in enumerate(others, 1):
            try:
                done = msgspec.msgpack.decode(told(), type=list[kind])  # type: ignore[valid-type]
            except msgspec.MsgspecError:  # nothing, or not all of it
                done = [work(thing) for thing in things[number::count]]
            results[number::count] = done
    return [result for result in results if result is not None]


def _copies(things: int) -> int:
    """Into how many shares the work is divided."""
    threads = sys.modules.get("threading")
    alone = threads is None or threads.active_count() == 1  # a lock that another thread holds would stay locked
    if things < ENOUGH or not alone or not hasattr(os, "fork") or not hasattr(os, "sched_getaffinity"):
        return 1
    return min(len(os.sched_getaffinity(0)), _MOST, things // (ENOUGH // 2))


@contextlib.contextmanager
def _copy(share: Callable[[int], bytes], number: int) -> Iterator[Callable[[], bytes]]:
    """A process that does a share. It yields what waits for the result: nothing when it failed."""
    reader, writer = os.pipe()
    try:
        process = os.fork()
    except OSError:  # too many processes
        os.close(reader)
        os.close(writer)
        yield bytes
        return
    if process == 0:
        _work_and_exit(share, number, writer)
    os.close(writer)
    ended: list[int] = []

    def told() -> bytes:
        with os.fdopen(os.dup(reader), "rb") as file:
            data = file.read()
        ended.append(os.waitpid(process, 0)[1])
        return data if ended == [0] else b""

    try:
        yield told
    finally:
        os.close(reader)
        if not ended:
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
            os.waitpid(process, 0)


def _work_and_exit(share: Callable[[int], bytes], number: int, writer: int) -> None:
    """Does nothing else, and leaves everything that the process shares with its copy alone."""
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        with os.fdopen(writer, "wb") as file:
            file.write(share(number))
        code = 0
    finally:
        os._exit(code)
