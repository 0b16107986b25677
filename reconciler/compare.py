"""Two JSON values, compared: what differs, and whether one holds all of the other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from reconciler.canonical import canonical
from reconciler.findings import Route, route_text


class Change(BaseModel):
    """One field of the request that differs. `before` is null when it was added, `after` when it was removed."""

    model_config = ConfigDict(frozen=True, defer_build=True)

    path: str
    op: Literal["add", "remove", "change"]
    before: Any = None
    after: Any = None


def declared_in(declared: Any, actual: Any) -> bool:
    """Whether everything that we declared is there. The platform adds defaults, so `actual` may hold more."""
    if isinstance(declared, Mapping) and isinstance(actual, Mapping):
        return all(k in actual and declared_in(v, actual[k]) for k, v in declared.items() if v is not None)
    # True == 1 in Python, not in JSON.
    return isinstance(declared, bool) == isinstance(actual, bool) and bool(declared == actual)


_ABSENT = object()


def compare(before: Any, after: Any, route: Route = ()) -> Iterator[Change]:
    """The fields that differ between two requests, in a stable order."""
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for key in sorted(before.keys() | after.keys()):
            yield from compare(before.get(key, _ABSENT), after.get(key, _ABSENT), (*route, key))
    elif isinstance(before, list) and isinstance(after, list):
        yield from _compare_lists(before, after, route)
    elif before is _ABSENT:
        yield Change(path=route_text(route), op="add", after=after)
    elif after is _ABSENT:
        yield Change(path=route_text(route), op="remove", before=before)
    elif before != after or isinstance(before, bool) != isinstance(after, bool):
        yield Change(path=route_text(route), op="change", before=before, after=after)


def _compare_lists(before: list[Any], after: list[Any], route: Route) -> Iterator[Change]:
    """Items that were changed in their place, or else those that were removed and added, by their own positions."""
    start = 0
    while start < min(len(before), len(after)) and _same(before[start], after[start]):
        start += 1
    end = 0
    while end < min(len(before), len(after)) - start and _same(before[-1 - end], after[-1 - end]):
        end += 1
    old, new = before[start : len(before) - end], after[start : len(after) - end]
    if len(old) == len(new):
        for index, (one, other) in enumerate(zip(old, new, strict=True), start):
            yield from compare(one, other, (*route, index))
        return
    left = Counter(map(_canonical, old)) & Counter(map(_canonical, new))
    for op, items in (("remove", old), ("add", new)):
        there = Counter(left)
        for index, item in enumerate(items, start):
            if there[_canonical(item)]:
                there[_canonical(item)] -= 1
            elif op == "remove":
                yield Change(path=route_text((*route, index)), op="remove", before=item)
            else:
                yield Change(path=route_text((*route, index)), op="add", after=item)


def _canonical(value: Any) -> bytes:
    return canonical(value)


def _same(one: Any, other: Any) -> bool:
    return next(compare(one, other), None) is None
