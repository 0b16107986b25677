"""How many requests the platform gets, and how fast jobs are submitted beside a bare HTTP client."""

from __future__ import annotations

import asyncio
import json
import shutil
import statistics
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from benchmarks import fleet, peers
from benchmarks.measure import RECONCILER, Bar, Command, Plot, Results, Series, process, run, told

AT_ONCE = (16, 64, 256)
LATENCY = 0.05
"""Seconds. What a platform on the network needs at least to make a job; without it only the clients' work counts."""
_KEY = {"ATAI_API_KEY": "sk_bench"}


@dataclass(frozen=True, slots=True)
class Sizes:
    """Jobs in flight for the count of requests; jobs to submit; rounds; jobs that the slow peer submits."""

    in_flight: int
    submissions: int
    rounds: int
    peer: int


@contextmanager
def stand_in(latency: float = 0.0, jobs: int = 0) -> Iterator[str]:
    """A stand-in for the platform that runs; its URL."""
    command = (sys.executable, "-m", "benchmarks.stand_in", "--latency", str(latency), "--fleet", str(jobs))
    with process(command) as url:
        yield url


def counts(url: str) -> dict[str, Any]:
    """What the stand-in was asked since the last time."""
    with urllib.request.urlopen(url.removesuffix("/v0.5") + "/counts") as answer:
        told: dict[str, Any] = json.load(answer)
        return told


def clear(url: str) -> None:
    """The stand-in forgets the jobs that were made, and what it was asked."""
    urllib.request.urlopen(urllib.request.Request(url.removesuffix("/v0.5") + "/clear", method="POST")).close()
    counts(url)


def requests(results: Results, home: Path, sizes: Sizes) -> None:
    """The bars about requests."""
    number = sizes.in_flight
    told(f"requests of plans over {number:,} jobs")
    folder = home / "requests"
    with stand_in(jobs=number) as url:
        fleet.write(folder, number, "in-flight", endpoint=url)
        plan = Command((*RECONCILER, "plan"), folder, _KEY)
        counts(url)
        run(plan)
        in_flight = _total(counts(url))
        bound = number // 100 + 10
        results.bars.append(Bar("requests", f"a plan over {number:,} jobs in flight", "requests", in_flight, bound))
        fleet.write_state(folder, number, "completed", endpoint=url)
        run(plan)
        ended = _total(counts(url))
        results.bars.append(Bar("requests", f"a plan over {number:,} jobs that have ended", "requests", ended, 0))
        fleet.write_state(folder, number, "completed", endpoint=url, with_files=True)
        run(plan)
        inputs = len({name for spec in fleet.specs(number) for name in fleet.files(spec.request)})
        what = f"the same, with {inputs:,} inputs by file_id whose contents are compared"
        results.row(what, f"{_total(counts(url)):,} requests", "no bar: pages of the list of files")
    shutil.rmtree(folder)


def _total(counted: dict[str, Any]) -> int:
    return sum(counted.get(kind, 0) for kind in ("create", "list", "get", "other", "refused"))


def submissions(results: Results, home: Path, sizes: Sizes) -> None:
    """The bars about submissions."""
    for latency in (LATENCY, 0.0):
        _submissions(results, home, sizes, latency)


def _submissions(results: Results, home: Path, sizes: Sizes, latency: float) -> None:
    """A bar for each number at once: the rate at which creates reach the server, of apply and of the bare client."""
    number, said = sizes.submissions, f"{latency * 1000:.0f} ms"
    folder = home / "apply"
    rates: dict[tuple[str, int], float] = {}
    with stand_in(latency) as url:
        fleet.write(folder, number, endpoint=url, shared=True)
        bodies = [{"name": spec.name, **spec.request} for spec in fleet.specs(number, shared=True)]
        for at_once in AT_ONCE:
            told(f"submitting {number:,} jobs, {at_once} at once, {said} latency")
            found: dict[str, list[float]] = {"apply": [], "bare": [], "lanes": []}
            whole = []
            for _ in range(sizes.rounds):
                for name in ("bare", "lanes"):
                    asyncio.run(bare(url, bodies, at_once, one_each=name == "lanes"))
                    found[name].append(_rate(counts(url)))
                    clear(url)
                shutil.rmtree(folder / ".reconciler", ignore_errors=True)
                limits = ("--max-submissions", "none", "--parallelism", str(at_once))
                whole.append(run(Command((*RECONCILER, "apply", "--yes", *limits), folder, _KEY)).seconds)
                found["apply"].append(_rate(counts(url)))
                clear(url)
            ratios = {n: statistics.median(a / b for a, b in zip(found["apply"], found[n], strict=True)) for n in found}
            rates |= {(name, at_once): statistics.median(each) for name, each in found.items()}
            _row(results, at_once, said, {n: rates[n, at_once] for n in found}, statistics.median(whole) / number)
            if latency:
                what = f"apply, {at_once} at once, server answers after {said}"
                results.bars.append(Bar("apply", what, "× bare httpx", ratios["bare"], 0.9, fewer=False))
                what += "; beside httpx with a client for each request at a time"
                results.row(what, f"{ratios['lanes']:.2f} ×", "no bar: the fastest that httpx can be made here")
    shutil.rmtree(folder)
    titles = {"apply": "apply", "bare": "bare httpx", "lanes": "httpx, one client each"}
    lines = [Series(title, [(n, rates[name, n]) for n in AT_ONCE]) for name, title in titles.items()]
    name = "apply" if latency else "apply-no-latency"
    results.plots.append(Plot(name, f"Submitting, server answers after {said}", "at once", "jobs a second", lines))


def _row(results: Results, at_once: int, said: str, rates: dict[str, float], whole: float) -> None:
    overhead = 1000 / rates["apply"] - 1000 / rates["lanes"]
    figure = f"{rates['apply']:.0f} jobs/s, bare httpx {rates['bare']:.0f}"
    about = f"{overhead:+.2f} ms a job beside httpx with a client each; the whole command {whole * 1000:.1f} ms a job"
    results.row(f"apply, {at_once} at once, {said} latency", figure, about)


def _rate(counted: dict[str, Any]) -> float:
    """Creates a second, from the first that the server saw to the last."""
    return float((counted["create"] - 1) / counted["creating"])


async def bare(url: str, bodies: Sequence[dict[str, Any]], at_once: int, *, one_each: bool = False) -> None:
    """Submit with httpx and nothing else: one client with a pool, as its documentation has it, or a client for each
    request at a time.
    """
    queue = iter(bodies)

    def client(connections: int) -> httpx.AsyncClient:
        limits = httpx.Limits(max_connections=connections, max_keepalive_connections=connections)
        return httpx.AsyncClient(limits=limits, timeout=60, trust_env=False, verify=False)

    async with client(at_once) as shared:

        async def work() -> None:
            async with client(1) as own:
                for body in queue:
                    headers = {"authorization": "Bearer sk_bench"}
                    answer = await (own if one_each else shared).post(f"{url}/batch/jobs", json=body, headers=headers)
                    answer.raise_for_status().json()

        await asyncio.gather(*(work() for _ in range(at_once)))


def beside_ansible(results: Results, home: Path, tools: Path | None, sizes: Sizes) -> None:
    """Submissions of another tool."""
    peer = peers.installed("ansible-core", tools)
    if peer is None:
        results.skipped.append("Ansible could not be installed: apply was not compared with its module `uri`")
        return
    number = sizes.peer
    told(f"submitting {number} jobs, beside {peer.name}")
    folder = home / "beside-ansible"
    with stand_in(LATENCY) as url:
        bodies = [{"name": spec.name, **spec.request} for spec in fleet.specs(number, shared=True)]
        theirs = run(peers.ansible(peer, home / "ansible", url, bodies)).seconds
        assert counts(url).get("create") == number
        clear(url)
        fleet.write(folder, number, endpoint=url, shared=True)
        began = time.perf_counter()
        run(Command((*RECONCILER, "apply", "--yes", "--max-submissions", "none"), folder, _KEY))
        ours = time.perf_counter() - began
        assert counts(url).get("create") == number
    figure = f"{theirs / ours:.0f} × our apply"
    results.row(f"{peer.name}, module uri, {number} jobs", figure, f"{theirs / number * 1000:.0f} ms a job, one by one")
    shutil.rmtree(folder)
