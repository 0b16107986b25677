"""`state pull`, `push` and `migrate`: a whole record, out of its place, into it, or from one place to another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeAlias

from reconciler.address import Address, beside
from reconciler.backends import Snapshot
from reconciler.durable import make_folder, read_file, replace_file
from reconciler.errors import PlanRefused, StateError
from reconciler.job import State
from reconciler.journal import parse_journal, parse_late
from reconciler.reconcile.settings import Settings
from reconciler.state import parse_state

Review: TypeAlias = Callable[[State | None, State, str], bool]
"""Shown what a place holds, what it is to hold, and where that is; whether to go on."""


@dataclass(frozen=True, slots=True)
class Replaced:
    """A state that took the place of another one, or was not `approved` to. `notes`: what is left to do."""

    where: str
    before: State | None
    after: State
    approved: bool = True
    notes: tuple[str, ...] = ()


def pull(settings: Settings) -> tuple[bytes, int]:
    """The bytes of the state, checked, and how many entries of a run that was cut off are not in it.

    Raises `StateError`, and `PlanRefused` when there is no state.
    """
    store = settings.store()
    taken = store.snapshot()
    if taken.state is None:
        raise PlanRefused(f"there is no state at {store}", "the first apply makes one")
    state = parse_state(taken.state, str(store))
    return taken.state, _entries(taken, str(store), state)


def write_pulled(path: Path, data: bytes) -> None:
    """Put what was pulled into a file that is not there yet. Raises `PlanRefused`, `StateError`."""
    if path.exists() or path.is_symlink():
        raise PlanRefused(f"{path} is there already", "name a new file, or move that one out of the way")
    try:
        make_folder(path.parent)
        replace_file(path, data)
    except OSError as error:
        raise StateError(f"{path} cannot be written: {error.strerror}") from error


async def push(settings: Settings, file: Path, review: Review, *, force: bool = False) -> Replaced:
    """Put the state in `file` in place of the present one, which must be an earlier one of the same history; with
    `force` it may be any, and the serial goes on from the higher of both.

    Raises `PlanRefused` and `StateError`.
    """
    try:
        data = read_file(file)
    except OSError as error:
        raise StateError(f"{file} cannot be read: {error.strerror}") from error
    if data is None:
        raise PlanRefused(f"there is no file {file}")
    after = parse_state(data, file)
    store = settings.store()
    async with store.locked(settings.command, settings.lock_timeout, settings.tell) as hold:
        before = _settled(hold.snapshot(), str(store))
        if before == after:
            return Replaced(str(store), before, after, notes=("it holds this very state already",))
        if force and before is not None:
            after = after.model_copy(update={"serial": max(before.serial, after.serial) + 1})
        elif not force:
            _refuse_other(before, after, settings)
        if not review(before, after, str(store)):
            return Replaced(str(store), before, after, approved=False)
        hold.check()
        hold.replace(before, after)
        return Replaced(str(store), before, after, notes=hold.notes)


def _refuse_other(before: State | None, after: State, settings: Settings) -> None:
    """Raises `PlanRefused` unless `after` can follow `before`."""
    force = "; --force replaces it all the same"
    if after.endpoint != settings.endpoint:
        hint = f"give --endpoint {after.endpoint}, if that is the one that is meant"
        raise PlanRefused(f"the file belongs to {after.endpoint}, not to {settings.endpoint}", hint)
    if before is None:
        return
    if before.lineage != after.lineage:
        message = f"the file is of another history: lineage {after.lineage}, and there it is {before.lineage}"
        raise PlanRefused(message, f"that state may record jobs that the file does not know{force}")
    if before.serial >= after.serial:
        message = f"the file is not newer: serial {after.serial}, and there it is {before.serial}"
        raise PlanRefused(message, f"'reconciler state pull' gets the present one to start from{force}")


async def migrate(settings: Settings, path: Path, address: Address | None, review: Review) -> Replaced:
    """Put the state at another place: at `address`, or in the file `path`. A state file that was left gets another
    name, so that nobody goes on with it.

    Raises `PlanRefused` when there is nothing to move, or something else at that place, and `StateError`.
    """
    there = replace(settings, state=path, address=address)
    source, target = settings.store(), there.store()
    if str(source) == str(target):
        raise PlanRefused(f"the state is at {source} already")
    async with (
        source.locked(settings.command, settings.lock_timeout, settings.tell) as left,
        target.locked(settings.command, settings.lock_timeout, settings.tell) as hold,
    ):
        state = _settled(left.snapshot(), str(source))
        if state is None:
            hint = f"with --state {target} the first apply makes one there"
            raise PlanRefused(f"there is no state at {source}", hint)
        before = _settled(hold.snapshot(), str(target))
        if before is not None and (before.lineage != state.lineage or before.serial > state.serial):
            message = f"there is another state at {target}: serial {before.serial}, lineage {before.lineage}"
            raise PlanRefused(message, "give a place that holds none")
        if not review(before, state, str(target)):
            return Replaced(str(target), before, state, approved=False)
        left.check()
        if before != state:
            hold.replace(before, state)
        return Replaced(str(target), before, state, notes=(*hold.notes, _left(settings, str(source))))


def _left(settings: Settings, source: str) -> str:
    if settings.address is not None:
        return f"{source} holds it still: nothing uses it any more once 'state' says the new place everywhere"
    old = beside(settings.state, ".migrated.json")
    try:
        settings.state.rename(old)
    except OSError as error:
        return f"{settings.state} is still there, and must not be used any more: {error.strerror}"
    return f"{settings.state} is {old} now: nothing uses it any more"


def _settled(taken: Snapshot, where: str) -> State | None:
    """The state, which must be all that there is: what a run left that was cut off is settled first."""
    state = None if taken.state is None else parse_state(taken.state, where)
    if _entries(taken, where, state):
        hint = "'reconciler settle' with that state finds out; then try again"
        raise PlanRefused(f"a run was cut off, and what became of it is not yet in the state {where}", hint)
    return state


def _entries(taken: Snapshot, where: str, state: State | None) -> int:
    leftover = parse_journal(taken.journal, where, state)
    late = sum(len(parse_late(data, where, state)) for data in taken.late)
    return late + (len(leftover.entries) if leftover else 0)
