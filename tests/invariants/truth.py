"""A stand-in for the platform that knows the truth: which jobs were really made, whatever it told anybody.

It is made for the invariants: thousands of short trials, each a tenant of its own under `/t/<trial>/v0.5`, with a clock
that only moves when it is told to, a list that lags behind, and faults before and after a request is handled. The real
service is in the acceptance tests; this one can lie about everything.

    python truth.py PORT_FILE
"""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

_BIRTH = datetime(2026, 1, 1, tzinfo=UTC)
_PHRASE = {200: "OK", 201: "Created", 404: "Not Found", 409: "Conflict"}


@dataclass
class Tenant:
    """One trial's platform. `faults`: what happens to the n-th request, by n, counted from 1."""

    honours: bool = False
    lag: float = 0.0
    rows_with_parameters: bool = True
    can_list: bool = True
    skew: float = 0.0
    faults: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    requests: int = 0
    jobs: dict[str, dict[str, Any]] = field(default_factory=dict)
    bodies: dict[str, dict[str, Any]] = field(default_factory=dict)
    tokens: dict[str, str] = field(default_factory=dict)

    def now(self) -> datetime:
        return _BIRTH + timedelta(seconds=self.seconds + self.skew)

    def stamp(self) -> str:
        return self.now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")

    def answer(self, method: str, path: str, query: dict[str, list[str]], body: Any, token: str) -> tuple[int, Any]:
        parts = path.strip("/").split("/")
        if parts[:2] == [
            "files",
            "metadata",
        ]:  # files that go from job to job are there already
            return 200, {"file_id": parts[2], "num_bytes": 1, "is_valid": True}
        if parts == ["batch", "registry", "pipelines"] and self.can_list:
            return 200, {"total": 1, "pipelines": [self._latest()]}
        if parts[:2] != ["batch", "jobs"]:
            return 404, {"detail": "no such route"}
        if len(parts) == 2:
            return self._create(body, token) if method == "POST" else self._list(query)
        job = self.jobs.get(parts[2])
        if job is None:
            return 404, {"errors": [{"code": "not_found", "message": "no such job"}]}
        if len(parts) == 3:
            return 200, job
        if parts[3] == "inputs":
            files = self.bodies[job["id"]].get("inputs") or {}
            rows = [{"port_name": p, "file_id": i["file_id"], "data": {}} for p, items in files.items() for i in items]
            return 200, {"total": len(rows), "inputs": rows}
        if parts[3] == "outputs":
            data = {"filename": "out.csv", "num_bytes": 1, "ref": "/nowhere"}
            row = {"id": f"out_{job['id']}", "port_name": "out", "data": data}
            return 200, {"total": 1, "outputs": [row] if parse_offset(query) == 0 else []}
        return self._act(job, parts[3])

    def _latest(self) -> dict[str, Any]:
        """A pipeline whose latest version is another one after each job that was made."""
        version = f"1.{len(self.jobs)}"
        return {"id": "ppl_1", "pipeline_key": "k", "pipeline_version": version, "status": "published"}

    def _create(self, body: dict[str, Any], token: str) -> tuple[int, Any]:
        if self.honours and token in self.tokens:
            return 201, self.jobs[self.tokens[token]]
        job_id = f"job_{len(self.jobs) + 1:026}"
        self.tokens[token] = job_id
        self.bodies[job_id] = body
        self.jobs[job_id] = {
            "id": job_id,
            "name": body["name"],
            "pipeline_type": body["pipeline_type"],
            "pipeline_key": body["pipeline_key"],
            "pipeline_version": body.get("pipeline_version", "1"),
            "status": "PENDING",
            "parameters": {**body.get("parameters", {}), "added": {"by": "the platform"}},
            "retry_count": 0,
            "created_at": self.stamp(),
            "error": None,
        }
        return 201, self.jobs[job_id]

    def _list(self, query: dict[str, list[str]]) -> tuple[int, Any]:
        if not self.can_list:
            return 501, {"detail": "not implemented"}
        visible = (self.now() - timedelta(seconds=self.lag)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        rows = [j for j in reversed(self.jobs.values()) if j["created_at"] <= visible]
        if not self.rows_with_parameters:
            rows = [{**j, "parameters": {}} for j in rows]
        offset, limit = int(query["offset"][0]), min(int(query["limit"][0]), 3)  # short pages: they must be walked
        return 200, {"total": len(rows), "offset": offset, "limit": limit, "jobs": rows[offset : offset + limit]}

    def _act(self, job: dict[str, Any], verb: str) -> tuple[int, Any]:
        if verb == "cancel" and job["status"] not in ("COMPLETED", "FAILED", "CANCELLED"):
            job.update(status="CANCELLED", cancelled_at=self.stamp())
            return 200, job
        if verb == "retry" and job["status"] in ("FAILED", "CANCELLED"):
            job.update(status="PENDING", retry_count=job["retry_count"] + 1)
            return 200, job
        return 409, {"errors": [{"code": "conflict", "message": f"the job is {job['status']}"}]}

    def control(self, verb: str, body: Any) -> Any:
        """What only a test may do: set the tenant up, move its clock, end its jobs, ask for the truth."""
        if verb == "setup":
            for key, value in body.items():
                setattr(self, key, value)
            self.requests = 0
        elif verb == "advance":
            self.seconds += body["seconds"]
        elif verb == "event":
            self.jobs[body["id"]].update(status=body["status"], **{f"{body['status'].lower()}_at": self.stamp()})
        return {"jobs": self.jobs, "bodies": self.bodies, "requests": self.requests}


def parse_offset(query: dict[str, list[str]]) -> int:
    return int(query.get("offset", ["0"])[0])


class Platform:
    """All tenants behind one port."""

    def __init__(self) -> None:
        self._tenants: dict[str, Tenant] = {}

    async def connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await self._request(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the client was killed: that is what this is for
        finally:
            writer.close()

    async def _request(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = await reader.readuntil(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        method, target, _ = first.split(" ", 2)
        headers = {k.lower(): v.strip() for k, _, v in (line.partition(":") for line in lines if line)}
        raw = await reader.readexactly(int(headers.get("content-length") or 0))
        body = json.loads(raw) if raw else None
        url = urlsplit(target)
        _, _, trial, rest = url.path.split("/", 3)
        if rest.startswith("forget"):
            self._tenants.pop(trial, None)
            return await self._send(writer, 200, {})
        tenant = self._tenants.setdefault(trial, Tenant())
        if rest.startswith("control/"):
            return await self._send(writer, 200, tenant.control(rest.removeprefix("control/"), body))
        tenant.requests += 1
        fault = tenant.faults.get(str(tenant.requests), "")
        kind, _, what = fault.partition(":")
        if kind == "before":
            return await self._lie(writer, what)
        path = "/" + rest.removeprefix("v0.5/")
        status, value = tenant.answer(method, path, parse_qs(url.query), body, headers.get("idempotency-key", ""))
        if kind == "after":
            return await self._lie(writer, what)
        return await self._send(writer, status, value, tenant)

    async def _lie(self, writer: asyncio.StreamWriter, what: str) -> bool:
        if what == "drop":
            writer.transport.abort()
            return False
        if what == "garbage":
            writer.write(b"HTTP/1.1 201 Created\r\ncontent-length: 9\r\n\r\n<garbage>")
            return True
        return await self._send(writer, int(what), {"errors": [{"code": "made_up", "message": "a fault"}]})

    async def _send(self, writer: asyncio.StreamWriter, status: int, value: Any, tenant: Tenant | None = None) -> bool:
        body = json.dumps(value).encode()
        date = f"date: {format_datetime(tenant.now(), usegmt=True)}\r\n" if tenant else ""
        head = f"HTTP/1.1 {status} {_PHRASE.get(status, 'X')}\r\n{date}content-type: application/json\r\n"
        writer.write(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
        await writer.drain()
        return True


async def serve(port_file: Path) -> None:
    """Serve until killed; the port is in `port_file` when it is ready."""
    server = await asyncio.start_server(Platform().connection, "127.0.0.1", 0)
    temporary = port_file.with_suffix(".new")
    temporary.write_text(str(server.sockets[0].getsockname()[1]))
    temporary.rename(port_file)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1])))
