"""Names as they are typed for a command: each stands for itself, or as a glob for several. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Collection, Iterable, Sequence
from fnmatch import fnmatchcase

from reconciler.errors import PlanRefused
from reconciler.findings import did_you_mean

_SPECIAL = frozenset("*?[")
_LISTED = 3


def expand(
    typed: Iterable[str], known: Collection[str], refusal: Callable[[str], str], hint: str | None = None
) -> tuple[str, ...]:
    """The names of `known` that are meant, each once: in the order of `typed`, those of one glob sorted.

    A name that exists is itself, whatever is in it; anything else is a glob, as of a shell, in which case counts.
    Raises `PlanRefused` with the message `refusal(what was typed)` when it fits nothing.
    """
    found: dict[str, None] = {}
    for pattern in typed:
        names = [pattern] if pattern in known else _fitting(pattern, known)
        if not names:
            raise PlanRefused(refusal(pattern), _nearest(pattern, known) or hint)
        found.update(dict.fromkeys(names))
    return tuple(found)


def _fitting(pattern: str, known: Collection[str]) -> list[str]:
    if not is_glob(pattern):
        return []
    return sorted(name for name in known if fnmatchcase(name, pattern))


def _nearest(pattern: str, known: Collection[str]) -> str | None:
    """Which name may be meant, going by what is no glob in it."""
    plain = "".join(c for c in pattern if c not in "*?[]")
    for word in filter(None, (pattern, plain)):
        if meant := did_you_mean(word, sorted(known)):
            return meant
    within = sorted(name for name in known if plain and plain.casefold() in name.casefold())
    return f"there is {listed(within)}" if within else None


def listed(names: Sequence[str]) -> str:
    """The first of `names`, and how many more there are."""
    more = f" and {len(names) - _LISTED:,} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more


def one_name(typed: str, known: Collection[str], what: str) -> None:
    """Raises `PlanRefused`, with the names of `known` that it fits, when `typed` is a glob: `what` takes names only."""
    if typed not in known and is_glob(typed):
        fitting = _fitting(typed, known)
        hint = f"it fits {listed(fitting)}" if fitting else _nearest(typed, known)
        raise PlanRefused(f"{what}, and {typed!r} is a glob", hint)


def is_glob(typed: str) -> bool:
    """Whether `typed` stands for the names that fit it, when none is written like that."""
    return not _SPECIAL.isdisjoint(typed)


def not_recorded(typed: str) -> str:
    """What is said of a name that no record has."""
    return f"no job that fits {typed!r} is recorded" if is_glob(typed) else f"no job named {typed!r} is recorded"


def with_names(command: Sequence[str], names: Sequence[str]) -> str:
    """The line to type for `command` with `names` behind it."""
    dashed = ["--"] if any(name.startswith("-") for name in names) else []
    return shlex.join([*command, *dashed, *names])
