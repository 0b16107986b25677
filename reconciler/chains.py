"""Jobs that need other jobs: in which order they come, and what a job is that takes another one's outputs. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from typing import Any

from reconciler.job import JsonObject

FROM = "from"
"""The key of an input that is another job's output: `{from: {job: NAME, port: PORT}}`, or a checkpoint of it."""


def sources(request: JsonObject) -> Iterator[tuple[str, JsonObject]]:
    """The inputs of `request` that come from other jobs, each with its port."""
    for port, items in (request.get("inputs") or {}).items():
        for item in items:
            if isinstance(item, dict) and FROM in item:
                yield port, item


def source_names(request: JsonObject) -> frozenset[str]:
    """The jobs whose outputs `request` takes."""
    if not request.get("inputs"):
        return frozenset()
    return frozenset(item[FROM]["job"] for _, item in sources(request))


def followers(names: frozenset[str], takes: Mapping[str, frozenset[str]]) -> frozenset[str]:
    """`names`, and all that take from one of them, or from one that does. `takes`: what each takes from."""
    found = names
    while names:
        names = frozenset(name for name, sources in takes.items() if sources & names) - found
        found |= names
    return found


def with_sources(request: JsonObject, change: Any) -> JsonObject:
    """`request` with each item that comes from another job replaced by the items that `change(item)` gives."""
    inputs = {
        port: [new for item in items for new in (change(item) if FROM in item else [item])]
        for port, items in request["inputs"].items()
    }
    return {**request, "inputs": inputs}


def in_order(needs: Mapping[str, frozenset[str]]) -> tuple[list[str], list[str]]:
    """Every name after those that it needs; or a circle of names that need each other, its first one again at the end.

    Names that are needed but not among `needs` are left out.
    """
    graph = {name: sorted(needed & needs.keys()) for name, needed in sorted(needs.items())}
    try:
        return list(TopologicalSorter(graph).static_order()), []
    except CycleError as error:
        return [], list(reversed(error.args[1]))
