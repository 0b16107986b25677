"""A stand-in for the platform's API, with a latency that is set: so little beside it that clients are what is measured.

    python -m benchmarks.stand_in --latency 0.05 --fleet 10000

It keeps jobs in memory, answers as the platform documents it, and counts what it was asked. Jobs never end by
themselves. `GET /counts` tells the counts, and the seconds between the first and the last create, and begins anew;
`POST /clear` forgets the jobs that were made since the start.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import json
import time
from collections.abc import Sequence
from email.utils import formatdate
from typing import Any
from urllib.parse import parse_qsl

from benchmarks.fleet import file_row, files, job_id, platform_job, specs

_PREFIX = "/v0.5"


class Platform:
    """The jobs, and the answers: a status and a JSON body for each request."""

    def __init__(self, fleet: int) -> None:
        made = (platform_job(spec, job_id(index), "RUNNING") for index, spec in enumerate(specs(fleet)))
        self._fleet = [json.dumps(job).encode() for job in made]
        self._ids = {job_id(index): index for index in range(fleet)}
        self._files = list(dict.fromkeys(name for spec in specs(fleet) for name in files(spec.request)))
        self.counts: collections.Counter[str] = collections.Counter()
        self.most_under_way = 0
        self.window = [0.0, 0.0]
        self.under_way = 0
        self.clear()

    def clear(self) -> None:
        self._rows = list(self._fleet)
        self._by_id = dict(self._ids)

    def answer(self, method: str, target: str, body: bytes) -> tuple[int, bytes]:
        path, _, query = target.partition("?")
        if not path.startswith(_PREFIX):
            return self._control(method, path)
        parts = path.removeprefix(_PREFIX).strip("/").split("/")
        match method, *parts:
            case "POST", "batch", "jobs":
                self.counts["create"] += 1
                now = time.perf_counter()
                self.window = [now if self.counts["create"] == 1 else self.window[0], now]
                return 201, self._create(json.loads(body))
            case "GET", "batch", "jobs":
                self.counts["list"] += 1
                return 200, self._page(dict(parse_qsl(query)))
            case "GET", "batch", "jobs", job:
                self.counts["get"] += 1
                index = self._by_id.get(job)
                return (404, _NOT_FOUND) if index is None else (200, self._rows[index])
            case "GET", "files", "metadata":
                self.counts["list"] += 1
                return 200, self._files_page(dict(parse_qsl(query)))
            case _:
                self.counts["other"] += 1
                return 404, _NOT_FOUND

    def _control(self, method: str, path: str) -> tuple[int, bytes]:
        if (method, path) == ("POST", "/clear"):
            self.clear()
        seconds = self.window[1] - self.window[0]
        told = json.dumps({**self.counts, "most_under_way": self.most_under_way, "creating": seconds}).encode()
        if (method, path) == ("GET", "/counts"):
            self.counts.clear()
            self.most_under_way = 0
        return 200, told

    def _create(self, asked: dict[str, Any]) -> bytes:
        number = len(self._rows)
        job = f"job_made{number:022}"
        shown = {k: v for k, v in asked.items() if k != "inputs"}
        row = json.dumps({"id": job, "org_id": "org_fleet", **shown, **_QUEUED}).encode()
        self._by_id[job] = number
        self._rows.append(row)
        return row

    def _page(self, query: dict[str, str]) -> bytes:
        offset, limit = int(query.get("offset", 0)), min(int(query.get("limit", 20)), 100)
        rows = self._rows[::-1][offset : offset + limit] if offset < len(self._rows) else []
        head = f'{{"total":{len(self._rows)},"offset":{offset},"limit":{limit},"jobs":['
        return head.encode() + b",".join(rows) + b"]}"

    def _files_page(self, query: dict[str, str]) -> bytes:
        start, limit = int(query.get("after", 0)), min(int(query.get("limit", 100)), 1000)
        end = start + limit
        page = {"data": [file_row(name) for name in self._files[start:end]], "has_more": end < len(self._files)}
        return json.dumps(page | {"next_cursor": str(end) if end < len(self._files) else None}).encode()


_NOT_FOUND = json.dumps({"errors": [{"code": "not_found", "message": "there is no such thing"}]}).encode()
_QUEUED = {
    "status": "PENDING",
    "retry_count": 0,
    "preemption_count": 0,
    "queue_position": 1,
    "queue_depth": 1,
    **dict.fromkeys(("created_at", "updated_at"), "2026-11-20T08:00:00.120001Z"),
    **dict.fromkeys(("started_at", "completed_at", "failed_at", "cancelled_at", "error")),
}


class Connection(asyncio.Protocol):
    """One connection of a client. Requests on it come one after the other."""

    def __init__(self, platform: Platform, latency: float, at_once: int) -> None:
        self._platform = platform
        self._latency = latency
        self._at_once = at_once
        self._got = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._got += data
        head, end, rest = self._got.partition(b"\r\n\r\n")
        if not end:
            return
        length = 0
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                length = int(line[15:])
        if len(rest) < length:
            return
        self._got = rest[length:]
        method, target, _ = head.split(b"\r\n", 1)[0].decode().split(" ")
        self._asked(method, target, rest[:length])

    def _asked(self, method: str, target: str, body: bytes) -> None:
        platform, counted = self._platform, target.startswith(_PREFIX)
        if counted:
            platform.under_way += 1
            platform.most_under_way = max(platform.most_under_way, platform.under_way)
        if counted and platform.under_way > self._at_once:
            platform.counts["refused"] += 1
            status, answer = 429, b'{"errors":[{"code":"rate_limited","message":"too many requests"}]}'
        else:
            status, answer = platform.answer(method, target, body)
        head = (
            f"HTTP/1.1 {status} Said\r\ncontent-type: application/json\r\ncontent-length: {len(answer)}\r\n"
            f"date: {formatdate(time.time(), usegmt=True)}\r\n\r\n"
        )
        whole = head.encode() + answer
        if counted:
            asyncio.get_running_loop().call_later(self._latency, self._say, whole)
        else:
            self._transport.write(whole)

    def _say(self, whole: bytes) -> None:
        self._platform.under_way -= 1
        if not self._transport.is_closing():
            self._transport.write(whole)


async def run(options: argparse.Namespace) -> None:
    platform = Platform(options.fleet)
    server = await asyncio.get_running_loop().create_server(
        lambda: Connection(platform, options.latency, options.at_once), "127.0.0.1", options.port, backlog=1024
    )
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}{_PREFIX}", flush=True)
    await server.serve_forever()


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="A stand-in for the platform's API, on this machine.")
    parser.add_argument("--port", type=int, default=0, help="default: any that is free; the URL is printed")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds before each answer")
    parser.add_argument("--fleet", type=int, default=0, help="jobs of benchmarks.fleet that run")
    parser.add_argument("--at-once", type=int, default=1 << 30, help="more requests at a time are answered with 429")
    asyncio.run(run(parser.parse_args(arguments)))


if __name__ == "__main__":
    main()
