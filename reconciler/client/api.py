"""The calls: one method, one request (or one walk over pages), one typed result."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import quote

from reconciler.client import uploads, wire
from reconciler.client.response import NoAnswer, NotAllowed, NotSent
from reconciler.client.transport import Transport
from reconciler.errors import PlatformError, PlatformUnavailable
from reconciler.job import Gone, JsonObject, Observation, ObservedJob, Seen, Unreachable, Upload
from reconciler.secrets import Secrets

FILES_PAGE = 1000
"""Rows that are asked for in one page of the list of files."""
PAGE = 100
"""Rows asked for in one page; the platform's maximum is not published, and users send up to this."""
_PAGES = 10_000


@dataclass(frozen=True, slots=True)
class Made:
    """The platform answered with the new job."""

    job: ObservedJob


@dataclass(frozen=True, slots=True)
class Refused:
    """There is certainly no job: the platform said no, or the request never reached it."""

    error: PlatformError


@dataclass(frozen=True, slots=True)
class Unknown:
    """There may be a job."""

    reason: str


Submission: TypeAlias = Made | Refused | Unknown


class Client:
    """The batch API over a `Transport`. `secrets` are filled in in what is submitted, and hidden in what comes back."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self.secrets = Secrets()

    def _job(self, value: Any) -> ObservedJob | None:
        return wire.job(self.secrets.hide(value))

    def only_while(self, may_send: Callable[[], None]) -> None:
        """Ask `may_send` right before each request that acts: what it raises keeps the request from being sent."""
        self._transport.may_send = may_send

    def platform_now(self) -> datetime | None:
        """The platform's clock, if an answer has told it."""
        return self._transport.platform_now()

    async def learn_clock(self) -> None:
        """Make sure that `platform_now` knows the time, if the platform tells it at all: one small request at most."""
        if self._transport.platform_now() is None:
            with contextlib.suppress(PlatformUnavailable):
                await self._transport.ask("GET", "/batch/jobs", params={"offset": 0, "limit": 1})

    async def submit(self, name: str, request: Mapping[str, Any], token: str) -> Submission:
        """`POST /batch/jobs`, once. Never raises for an answer: what is not certain is `Unknown`."""
        try:
            headers = {"idempotency-key": token}
            filled = self.secrets.fill({"name": name, **request})
            response = await self._transport.submit("/batch/jobs", filled, headers)
        except (NotSent, NotAllowed) as error:
            return Refused(error)
        except NoAnswer as error:
            return Unknown(error.message)
        if response.ok:
            job = self._job(response.value)
            if job is None or job.name != name or job.pipeline_key not in ("", request["pipeline_key"]):
                return Unknown(f"HTTP {response.status}, but the body is not the job that was asked for")
            return Made(job)
        told = dataclasses.replace(response, text=self.secrets.hide_text(response.text))
        answer = told.error("POST /batch/jobs")
        if response.status == 409 and "idempotency-key-honored" in response.headers:
            return Unknown(answer.message)  # the token is in use: by a request of ours that is still being handled
        if 400 <= response.status < 500 and response.status not in (408, 425):
            return Refused(answer)
        return Unknown(answer.message)

    async def observe(self, job_id: str) -> Observation:
        """`GET /batch/jobs/{id}`. No news is `Unreachable`; a refused key raises `PlatformError`."""
        try:
            response = await self._transport.ask("GET", f"/batch/jobs/{quote(job_id, safe='')}")
        except PlatformUnavailable as error:
            return Unreachable(error.message)
        if response.status == 404 and wire.error_text(404, response.text)[0].startswith("HTTP 404: an HTML"):
            return Unreachable("HTTP 404 with an HTML page: not the batch API's own answer")
        if response.status == 404:
            return Gone()
        if response.status in (401, 403):
            raise response.error(f"GET /batch/jobs/{job_id}")
        job = self._job(response.value) if response.ok else None
        if job is None:
            return Unreachable(
                response.error(f"job {job_id}").message if not response.ok else "the answer is not a job"
            )
        if job.id != job_id:
            return Unreachable(f"the platform answered with another job, {job.id}")
        return Seen(job)

    async def jobs(self) -> AsyncIterator[ObservedJob]:
        """`GET /batch/jobs`: every row that is a job, each id once. Raises `PlatformError`."""
        seen: set[str] = set()
        async for row in self._rows("/batch/jobs", "jobs", {}):
            job = self._job(row)
            if job is None:  # it could be one that somebody looks for
                raise PlatformUnavailable("GET /batch/jobs: a row of the list is not a job")
            if job.id not in seen:
                seen.add(job.id)
                yield job

    async def jobs_page(self, offset: int, status: str | None = None) -> tuple[list[ObservedJob], int, int | None]:
        """One page of `GET /batch/jobs`: the rows that are jobs, how many rows there are, and the total that it claims.

        Raises `PlatformError`.
        """
        query = {"offset": offset, "limit": PAGE} | ({} if status is None else {"status": status})
        rows, total = await self._page("/batch/jobs", "jobs", query)
        return [job for row in rows if (job := self._job(row)) is not None], len(rows), total

    async def inputs(self, job_id: str) -> list[JsonObject]:
        """`GET /batch/jobs/{id}/inputs`, all pages. Raises `PlatformError`."""
        return [row async for row in self._rows(f"/batch/jobs/{quote(job_id, safe='')}/inputs", "inputs", {})]

    async def events(self, job_id: str) -> list[JsonObject]:
        """The job's events, oldest first, each once. Raises `PlatformError`."""
        rows = [row async for row in self._rows(f"/batch/jobs/{quote(job_id, safe='')}/events", "events", {})]
        return _sorted_events(rows)

    async def newest_events(self, job_id: str, count: int) -> tuple[list[JsonObject], int]:
        """The newest events, at most `count`, oldest first, and how many older ones there are: two requests at most.

        Raises `PlatformError`. Which end a platform lists first is not documented, so both are read.
        """
        path = f"/batch/jobs/{quote(job_id, safe='')}/events"
        rows, total = await self._page(path, "events", {"offset": 0, "limit": PAGE})
        if total is not None and total > len(rows) and rows:
            offset = max(len(rows), total - PAGE)
            rows += (await self._page(path, "events", {"offset": offset, "limit": PAGE}))[0]
        events = _sorted_events(rows)
        return events[-count:], max(total or 0, len(events)) - min(count, len(events))

    async def failed_inputs(self, job_id: str, count: int) -> list[JsonObject]:
        """The first inputs that failed, at most `count`, without their references. Raises `PlatformError`."""
        path = f"/batch/jobs/{quote(job_id, safe='')}/inputs"
        rows, _ = await self._page(path, "inputs", {"status": "failed", "offset": 0, "limit": PAGE})
        failed = [row for row in rows if row.get("status") == "failed"]
        return [{k: v for k, v in row.items() if k != "data"} for row in failed[:count]]

    async def outputs(self, job_id: str) -> list[JsonObject]:
        """The job's outputs with their references, which are secrets. Raises `PlatformError`."""
        return [row async for row in self._rows(f"/batch/jobs/{quote(job_id, safe='')}/outputs", "outputs", {})]

    async def checkpoints(self, job_id: str) -> list[JsonObject]:
        """The checkpoints of a training. Raises `PlatformError`."""
        return [row async for row in self._rows(f"/batch/jobs/{quote(job_id, safe='')}/checkpoints", "checkpoints", {})]

    async def cancel(self, job_id: str) -> bool:
        """`POST …/cancel`. Whether the platform said that it does; a refusal is False. Raises `PlatformError`."""
        response = await self._transport.ask("POST", f"/batch/jobs/{quote(job_id, safe='')}/cancel")
        if not response.ok and response.status not in (404, 409):
            raise response.error(f"cancel {job_id}")
        # A 200 that is not the API's own answer, from a proxy say, has cancelled nothing.
        return response.ok and isinstance(response.value, dict)

    async def retry(self, job_id: str) -> None:
        """`POST …/retry`, once: a second one could start another run. Raises `PlatformError`."""
        response = await self._transport.submit(f"/batch/jobs/{quote(job_id, safe='')}/retry", None, {})
        if not response.ok:
            raise response.error(f"retry {job_id}")

    async def pipelines(self, status: str | None = None) -> list[JsonObject]:
        """The registry's rows, one a pipeline version; with `status` those that have it. Raises `PlatformError`."""
        query = {} if status is None else {"status": status}
        # A row that is missed here hides no job: a short page that is all there is said to be is not asked behind.
        return [row async for row in self._rows("/batch/registry/pipelines", "pipelines", query, trusting=True)]

    async def pipeline_schema(self, pipeline_id: str) -> JsonObject:
        """`GET /batch/registry/pipelines/{id}/schema`. Raises `PlatformError`."""
        path = f"/batch/registry/pipelines/{quote(pipeline_id, safe='')}/schema"
        response = await self._transport.ask("GET", path)
        if not response.ok:
            raise response.error(f"GET {path}")
        if not isinstance(response.value, dict):
            raise PlatformUnavailable(f"GET {path}: the answer is not a schema")
        return response.value

    async def _rows(
        self, path: str, key: str, query: Mapping[str, Any], *, trusting: bool = False
    ) -> AsyncIterator[JsonObject]:
        """All rows, over the pages. Raises `PlatformError`, also for a list that may lack rows: it could hide a job.

        `trusting`: a page that is shorter than asked ends the list where the total says so.
        """
        offset, seen = 0, set[str]()
        for _ in range(_PAGES):
            items, total = await self._page(path, key, {**query, "offset": offset, "limit": PAGE})
            new = {_row_key(item) for item in items} - seen
            seen |= new
            for item in items:
                if _row_key(item) in new:  # rows that were on an earlier page have only moved
                    yield item
            offset += len(items)
            if not items:  # a total may be that of the page, and a page may be shorter than asked: neither is an end
                return
            if trusting and total is not None and offset >= total and len(items) < PAGE:
                return
            if not new:
                if offset >= total if total is not None else len(items) < PAGE:
                    return
                raise PlatformUnavailable(f"GET {path}: a page holds nothing new; the platform may ignore the offset")
        raise PlatformUnavailable(f"GET {path}: more than {_PAGES:,} pages; the platform may repeat itself")

    async def _page(self, path: str, key: str, query: Mapping[str, Any]) -> tuple[list[JsonObject], int | None]:
        """The rows of one page, and the total that it claims. Raises `PlatformError`."""
        response = await self._transport.ask("GET", path, params=query)
        if not response.ok:
            raise response.error(f"GET {path}")
        page = wire.rows(response.value, key)
        if page is None:
            raise PlatformUnavailable(f"GET {path}: the answer is not a list of {key}")
        return page

    async def has_file(self, upload: Upload) -> bool:
        """Whether the platform has this content already. Raises `PlatformError`."""
        return await uploads.is_there(self._transport, upload)

    async def file(self, file_id: str) -> JsonObject | None:
        """`GET /files/metadata/{file_id}`, once; None when there is no such file. Raises `PlatformError`."""
        return await uploads.metadata_once(self._transport, file_id)

    async def files_page(self, after: str | None = None) -> tuple[list[JsonObject], str | None]:
        """One page of `GET /files/metadata`, newest first, and what the next one comes `after`; None behind the last.

        Asked once. Raises `PlatformError`.
        """
        query = {"limit": FILES_PAGE} | ({} if after is None else {"after": after})
        response = await self._transport.ask_once("GET", "/files/metadata", params=query)
        if not response.ok:
            raise response.error("GET /files/metadata")
        return wire.file_rows(response.value)

    async def upload(self, upload: Upload, path: Path, sent: Callable[[int], None] = lambda num_bytes: None) -> None:
        """Send a file, and go on with it where an earlier run was cut off. `sent` is told the bytes that have left, and
        a negative number when some must be sent again; never 0. Repeating it is harmless: the name says the content.

        Raises `PlatformError`, also when the file is not what its digest says, and OSError.
        """
        try:
            await uploads.send(self._transport, upload, path, _but_nothing(sent))
        except PlatformError as error:
            if upload.path in error.message:
                raise
            error.message = f"upload of {upload.path}: {error.message}"
            raise

    async def download(
        self,
        output: JsonObject,
        path: Path,
        *,
        resume: bool = False,
        came: Callable[[int], None] = lambda num_bytes: None,
    ) -> int:
        """Write an output to `path`, which must not exist; with `resume` it may hold the first bytes already, and what
        is missing is asked for. `came` is told how many bytes came, a negative number when they come again; never 0.

        Returns the file's bytes. Raises `PlatformError`, OSError.
        """
        data = output.get("data")
        ref = data.get("ref") if isinstance(data, dict) else None
        if not isinstance(ref, str):
            raise PlatformError("the output has no reference to download it by")
        came = _but_nothing(came)
        with path.open("ab" if resume else "xb") as file:
            came(file.tell())

            def write(chunk: bytes) -> None:
                file.write(chunk)
                came(len(chunk))

            def anew() -> None:
                came(-file.tell())
                file.seek(0)
                file.truncate()

            async def attempt() -> None:
                await self._transport.download(ref, write, start=file.tell(), anew=anew)

            try:
                await self._transport.patiently(attempt)
            except PlatformError:
                came(-file.tell())
                raise
            return file.tell()


def _but_nothing(told: Callable[[int], None]) -> Callable[[int], None]:
    def some(num_bytes: int) -> None:
        if num_bytes:
            told(num_bytes)

    return some


def _sorted_events(rows: list[JsonObject]) -> list[JsonObject]:
    """Each event once, oldest first."""
    unique = {(str(r.get("created_at")), r.get("id") if type(r.get("id")) is int else 0, str(r)): r for r in rows}
    return [unique[key] for key in sorted(unique)]


def _row_key(row: JsonObject) -> str:
    """What tells a row from others: its id, while the rest of it may change between two pages."""
    return repr(row["id"]) if "id" in row else repr(row)
