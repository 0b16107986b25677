"""The lock of a shared state: who has it, who may act, and when it goes to somebody else. Over a real git ref."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from shared_places import in_git

from reconciler.address import parse_address
from reconciler.backends.git import GitRegister
from reconciler.backends.lease import Holding, Pace, acquire, new_lease
from reconciler.backends.register import Document, Found, Unsure
from reconciler.backends.shared import SharedStore
from reconciler.errors import StateLocked, StateUnavailable

SECONDS = 60.0


@dataclass
class Clock:
    """Time that passes when somebody sleeps."""

    now: float = 1000.0
    slept: list[Callable[[], None]] = field(default_factory=list)

    def __call__(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        for told in self.slept:
            told()

    def pace(self) -> Pace:
        return Pace(SECONDS, self, self.sleep)


class Flaky(GitRegister):
    """Loses answers: of the changes whose numbers are in `deaf`, after they were made, or, in `dumb`, before."""

    deaf: frozenset[int] = frozenset()
    dumb: frozenset[int] = frozenset()
    count = 0

    def swap(self, found: Found, document: Document, message: str) -> Found:
        self.count += 1
        if self.count in self.dumb:
            raise Unsure("the line is dead")
        swapped = super().swap(found, document, message)
        if self.count in self.deaf:
            raise Unsure("the line is dead")
        return swapped


@pytest.fixture
def register(tmp_path: Path) -> Callable[[], Flaky]:
    place = in_git(tmp_path)
    clone = tmp_path / "clone"
    place.clone(clone)
    address = parse_address(place.text, None)
    assert address is not None
    return lambda: Flaky(address, clone, os.environ)


Make = Callable[[], Flaky]


def take(register: Flaky, clock: Clock, timeout: float = 0.0, **about: Any) -> tuple[Holding, str | None]:
    lease = new_lease("apply", SECONDS, None).model_copy(update=about)
    return asyncio.run(acquire(register, lease, timeout, clock.pace()))


def test_a_lock_that_is_held_is_refused_at_once_and_says_by_whom(register: Make) -> None:
    clock = Clock()
    take(register(), clock, host="builder-7", command="apply")
    with pytest.raises(StateLocked, match=r"'apply' of .* on builder-7, pid") as caught:
        take(register(), clock)
    assert "--lock-timeout 120s" in str(caught.value.hint)


def test_who_waits_for_a_lock_is_told_so_now_and_then(register: Make) -> None:
    clock, told = Clock(), list[tuple[int, str]]()
    holding, _ = take(register(), clock, host="builder-7")
    began = clock.now
    clock.slept.append(lambda: holding.change("the lock goes on") if int(clock.now) % 20 == 0 else None)

    def tell(text: str) -> None:
        told.append((int(clock.now - began), text))

    with pytest.raises(StateLocked):
        asyncio.run(acquire(register(), new_lease("apply", SECONDS, None), 130, clock.pace(), tell=tell))
    assert [seconds for seconds, _ in told] == [1, 61, 121]
    assert told[0][1].startswith("Waiting for the lock of git:refs/reconciler/default, held by 'apply' of ")
    assert re.search(r" on builder-7, pid \d+, since \S+$", told[0][1])


def test_a_lock_that_was_given_back_is_free(register: Make) -> None:
    holding, _ = take(register(), Clock())
    holding.give_back("apply: done")
    _, note = take(register(), Clock())
    assert note is None


def test_silence_for_a_whole_lease_and_no_less_gives_the_lock_away(register: Make) -> None:
    """By the waiter's own clock, whatever the holder's said."""
    clock = Clock()
    take(register(), clock, renewed="2031-01-01T00:00:00Z")
    began = clock.now
    with pytest.raises(StateLocked):
        take(register(), clock, timeout=SECONDS - 2)
    began = clock.now
    _, note = take(register(), clock, timeout=2 * SECONDS)
    assert clock.now - began == pytest.approx(SECONDS, abs=2)
    assert note is not None
    assert "no sign of life for 60 s" in note


def test_a_holder_that_shows_life_keeps_the_lock(register: Make) -> None:
    clock = Clock()
    holding, _ = take(register(), clock)
    beats = iter(range(10_000))

    def live() -> None:
        if next(beats) % 25 == 0:
            holding.change("the lock goes on")

    clock.slept.append(live)
    with pytest.raises(StateLocked):
        take(register(), clock, timeout=4 * SECONDS)
    holding.check()


def test_a_lease_that_was_over_long_ago_by_its_note_is_waited_for_without_being_asked(register: Make) -> None:
    clock = Clock()
    take(register(), clock, renewed="2020-01-01T00:00:00Z")
    _, note = take(register(), clock, timeout=0)
    assert note is not None


def test_the_lock_of_a_holder_that_has_certainly_died_is_free_at_once(register: Make) -> None:
    clock = Clock()
    first, _ = take(register(), clock)
    lease = new_lease("apply", SECONDS, None)
    held = first.document.lease
    assert held is not None
    with pytest.raises(StateLocked):
        asyncio.run(acquire(register(), lease, 0, clock.pace(), dead="somebody else"))
    began = clock.now
    _, note = asyncio.run(acquire(register(), lease, 0, clock.pace(), dead=held.holder))
    assert clock.now == began
    assert note is not None
    assert "runs no longer" in note


def test_only_a_process_that_died_in_the_same_folder_is_known_to_be_dead(register: Make, tmp_path: Path) -> None:
    """What it noted there says who it was; the system freed the lock of the folder when it died."""
    code = (
        "import asyncio, os, sys\n"
        "from pathlib import Path\n"
        "from reconciler.address import parse_address\n"
        "from reconciler.backends.open import open_store\n"
        "async def hold():\n"
        "    place = parse_address('git:refs/reconciler/default', None)\n"
        "    store = open_store(place, Path(sys.argv[1]), Path(sys.argv[2]), os.environ)\n"
        "    async with store.locked('apply', 0, print):\n"
        "        os._exit(9)\n"
        "asyncio.run(hold())\n"
    )
    here, elsewhere = tmp_path / "here" / "shared", tmp_path / "elsewhere" / "shared"
    clone = tmp_path / "clone"
    for _ in range(2):
        died = subprocess.run([sys.executable, "-c", code, here, clone], capture_output=True, text=True, check=False)
        assert died.returncode == 9, died.stderr

    async def notes(aside: Path) -> tuple[str, ...]:
        async with SharedStore(register(), aside, Pace(SECONDS)).locked("apply", 0, print) as hold:
            return hold.notes

    with pytest.raises(StateLocked):
        asyncio.run(notes(elsewhere))
    assert "runs no longer" in asyncio.run(notes(here))[0]
    assert asyncio.run(notes(here)) == ()


def test_whoever_was_taken_over_can_change_nothing_and_send_nothing(register: Make) -> None:
    clock = Clock()
    first, _ = take(register(), clock)
    first.change("work", state="first")
    second, _ = take(register(), clock, timeout=2 * SECONDS)
    with pytest.raises(StateUnavailable):  # it cannot know yet, and does nothing all the same
        first.may_send()
    with pytest.raises(StateLocked, match="taken over meanwhile"):
        first.change("work", state="too late")
    for act in (first.check, first.may_send):
        with pytest.raises(StateLocked):
            act()
    first.give_back("apply: done")
    assert register().read().document.state == "first"
    assert register().read().document.lease == second.document.lease


def test_the_right_to_send_ends_before_anybody_can_take_over(register: Make) -> None:
    clock = Clock()
    holding, _ = take(register(), clock)
    clock.now += 0.7 * SECONDS
    holding.may_send()
    clock.now += 0.1 * SECONDS
    with pytest.raises(StateUnavailable):
        holding.may_send()
    holding.change("the lock goes on")
    holding.may_send()


@pytest.mark.parametrize("lost", ["deaf", "dumb"])
@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_lost_answer_is_made_good_by_another_look(register: Make, lost: str, number: int) -> None:
    one = register()
    setattr(one, lost, frozenset({number}))
    holding, _ = take(one, Clock(), timeout=10)
    holding.change("work", journal="a\n")
    holding.change("work", journal="a\nb\n")
    assert register().read().document.journal == "a\nb\n"
    holding.give_back("apply: done")
    assert register().read().document.lease is None


def test_what_others_leave_beside_the_record_does_not_cost_the_lock(register: Make) -> None:
    holding, _ = take(register(), Clock())
    other = register()
    found = other.read()
    late = found.document.model_copy(update={"late": "late\n", "serial": found.document.serial + 1})
    other.swap(found, late, "what a run did")
    holding.change("work", state="x")
    assert (register().read().document.state, register().read().document.late) == ("x", "late\n")
    holding.change("work", folded="late\n")
    assert register().read().document.late == ""


def test_a_lease_is_renewed_while_its_holder_works(register: Make) -> None:
    lease = new_lease("apply", 0.4, None)
    pace = Pace(0.4)
    holding, _ = asyncio.run(acquire(register(), lease, 0, pace))
    serial = holding.document.serial
    deadline = time.monotonic() + 30
    while holding.document.serial < serial + 3:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    holding.give_back("apply: done")


def test_who_is_interrupted_while_the_lock_is_on_its_way_leaves_none_behind(register: Make) -> None:
    one, begun, go = register(), threading.Event(), threading.Event()
    swap = one.swap

    def slowly(found: Found, document: Document, message: str) -> Found:
        begun.set()
        assert go.wait(30)
        return swap(found, document, message)

    one.swap = slowly  # type: ignore[method-assign]

    async def interrupted() -> None:
        taking = asyncio.create_task(acquire(one, new_lease("apply", SECONDS, None), 0, Clock().pace()))
        await asyncio.to_thread(begun.wait, 30)
        taking.cancel()
        go.set()
        with pytest.raises(asyncio.CancelledError):
            await taking

    asyncio.run(interrupted())
    assert register().read() == Found(Document())


def test_a_place_that_never_answers_is_given_up(register: Make) -> None:
    one = register()
    one.dumb = frozenset(range(1, 100))
    with pytest.raises(StateUnavailable, match="the line is dead"):
        take(one, Clock())
