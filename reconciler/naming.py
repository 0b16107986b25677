"""Which jobs a plan is about: what the names and globs of its options mean, and which records change names. Pure."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from reconciler.chains import followers, source_names
from reconciler.errors import PlanRefused
from reconciler.facts import Facts, PlanOptions
from reconciler.findings import did_you_mean
from reconciler.globs import expand, one_name


def named(facts: Facts, options: PlanOptions) -> PlanOptions:
    """`options` with the names that its globs stand for. Protection is lifted by name only.

    Raises `PlanRefused` when an option names a job that does not exist.
    """
    known = facts.desired.keys() | facts.state.jobs.keys()
    hint = "names are those in the specs"

    def meant(option: str, typed: frozenset[str], possible: Collection[str]) -> frozenset[str]:
        return frozenset(expand(sorted(typed), possible, lambda one: f"{option} {one!r}: no spec has this name", hint))

    targets = meant("--target", options.targets, known)
    again = meant("--replace", options.replace, facts.desired.keys())
    for name in sorted(options.unprotect - known):
        one_name(name, known, "--unprotect takes names only")
        raise PlanRefused(f"--unprotect {name!r}: no spec has this name", did_you_mean(name, sorted(known)) or hint)
    if targets and (left_out := sorted(again - targets)):
        raise PlanRefused(f"--replace {left_out[0]!r}: it is not among the targets", "give it as a --target too")
    return replace(options, targets=targets, replace=again, follow=_followers(again | options.follow, facts) - again)


def _followers(names: frozenset[str], facts: Facts) -> frozenset[str]:
    """`names`, and the recorded jobs that take from them."""
    if not names:
        return names
    takes = {n: source_names(facts.desired[n].request) for n in facts.desired.keys() & facts.state.jobs.keys()}
    return followers(names, takes)


def moves_of(facts: Facts) -> dict[str, str]:
    """Removed name → new name with the same fingerprint. Equal fingerprints are interchangeable: pair them in order."""
    moves = {
        old: want.name
        for want in facts.desired.values()
        if (old := want.policy.moved_from) is not None
        and old in facts.state.jobs.keys() - facts.desired.keys() - facts.unresolved.keys()
        and want.name not in facts.state.jobs.keys() | facts.unresolved.keys()
    }
    removed: dict[str, list[str]] = {}
    for name in sorted(facts.state.jobs.keys() - facts.desired.keys() - facts.unresolved.keys() - facts.elsewhere):
        if name not in moves:
            removed.setdefault(facts.state.jobs[name].fingerprint, []).append(name)
    moved = set(moves.values())
    for name in sorted(facts.desired.keys() - facts.state.jobs.keys() - facts.unresolved.keys()):
        same = removed.get(facts.desired[name].fingerprint)
        if same and name not in moved:
            moves[same.pop(0)] = name
    return moves
