"""Names as they are typed for a command: each stands for itself, or as a glob for several. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from fnmatch import fnmatchcase

from reconciler.errors import PlanRefused
from reconciler.findings import did_you_mean

_SPECIAL = frozenset("*?[")


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
    if _SPECIAL.isdisjoint(pattern):
        return []
    return sorted(name for name in known if fnmatchcase(name, pattern))


def _nearest(pattern: str, known: Collection[str]) -> str | None:
    """Which name may be meant, going by what is no glob in it."""
    words = [pattern, "".join(c for c in pattern if c not in "*?[]")]
    return next((meant for word in words if word and (meant := did_you_mean(word, sorted(known)))), None)


def not_recorded(typed: str) -> str:
    """What is said of a name that no record has."""
    return f"no job that fits {typed!r} is recorded" if _SPECIAL & set(typed) else f"no job named {typed!r} is recorded"
