"""Calls of the uploads API as tests need them."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import google_crc32c
import httpx
from service_client import BASE, entries

from reconciler.service.clock import Clock, system_clock
from reconciler.service.service import open_service
from reconciler.service.settings import Settings

SMALL = Settings(part_size=4)
TEXT = b"0123456789"  # three parts of SMALL


def checksum(content: bytes) -> str:
    return base64.b64encode(int(google_crc32c.value(content)).to_bytes(4, "big")).decode()


@dataclass
class Now:
    """A clock that stands still until it is moved."""

    moment: datetime = field(default_factory=lambda: datetime.now(UTC))

    def __call__(self) -> datetime:
        return self.moment


@asynccontextmanager
async def opened(
    data: Path,
    *,
    settings: Settings = SMALL,
    clock: Clock = system_clock,
    key: str | None = None,
    keys_file: Path | None = None,
) -> AsyncIterator[httpx.ASGITransport]:
    """The service with what `running` does not let choose."""
    with open_service(
        data, key=key, keys_file=keys_file, capacity=1, pipelines=None, settings=settings, clock=clock
    ) as service:
        yield httpx.ASGITransport(service.app)


def client(transport: httpx.ASGITransport, key: str | None = None) -> httpx.AsyncClient:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    return httpx.AsyncClient(transport=transport, base_url=BASE, headers=headers)


async def initiate(http: httpx.AsyncClient, name: str = "a.txt", size: int = len(TEXT), **more: Any) -> dict[str, Any]:
    body = {"filename": name, "file_type": "text/plain", "num_bytes": size, **more}
    answer = await http.post("/files/uploads/initiate", json=body)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def put(http: httpx.AsyncClient, part: dict[str, Any], content: bytes = TEXT) -> dict[str, Any]:
    """Send the part's bytes out of the whole `content`. Returns it as the other calls take it."""
    piece = content[part["offset"] : part["offset"] + part["length"]]
    answer = await http.put(part["url"], content=piece)
    assert (answer.status_code, answer.content) == (200, b""), answer.text
    token = answer.headers["etag"]
    assert token.startswith('"')
    assert token.endswith('"')
    return {"part_number": part["part_number"], "part_token": token}


async def put_all(http: httpx.AsyncClient, upload: dict[str, Any], content: bytes = TEXT) -> list[dict[str, Any]]:
    return [await put(http, part, content) for part in upload["parts"]]


async def post(http: httpx.AsyncClient, upload: dict[str, Any], what: str, **body: Any) -> httpx.Response:
    return await http.post(f"/files/uploads/{upload['upload_id']}/{what}", json=body)


async def complete(
    http: httpx.AsyncClient, upload: dict[str, Any], parts: Sequence[Any], **more: Any
) -> dict[str, Any]:
    answer = await post(http, upload, "complete", parts=list(parts), **more)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def refused(http: httpx.AsyncClient, upload: dict[str, Any], what: str, **body: Any) -> tuple[int, str, str]:
    status, errors = entries(await post(http, upload, what, **body))
    return status, errors[0]["code"], errors[0]["message"]


def on_disk(data: Path) -> list[str]:
    """The uploads that have bytes, and what is on its way to `contents`."""
    return [path.name for noun in ("uploads", "incoming") for path in (data / noun).iterdir()]
