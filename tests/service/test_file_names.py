"""Names that users give to files become names on disk, and never anything else."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from service_client import BASE, entries

from reconciler.service.names import disk_name
from reconciler.service.service import open_service
from reconciler.service.settings import Settings

HOSTILE = "..|.|/|\\|\0|\n|\r\n|\x7f|\u202e|\u200f|\ufeff|\ud800|\udcff|\u3000|C:".split("|")
PLAIN = "a|ä|e\u0301|漢|🙂| |%2f|%00|~|-|\"|'|;|*|CON|.txt|service.db".split("|")
PIECES = st.one_of(st.sampled_from(PLAIN), st.sampled_from(PLAIN), st.sampled_from(HOSTILE))
NAMES = st.one_of(
    st.lists(PIECES, max_size=4).map("".join),
    st.text(max_size=8),
    st.integers(190, 260).map("n".__mul__),
)
UNUSUAL = ("...", ".hidden", "CON", "nul.txt", "-rf", "~", "a b", "100%25", "%2e%2e%2fx", "漢字🙂.csv", "n" * 200)
JSON = {"content-type": "application/json"}


def base64_body(name: str) -> bytes:
    return json.dumps({"filename": name, "file_type": "text/plain", "data": "eA=="}).encode()


def multipart(name: str) -> bytes:
    quoted = name.replace("\\", "\\\\").replace('"', '\\"').encode("utf-8", "surrogatepass")
    head = b'--x\r\ncontent-disposition: form-data; name="f"; filename="' + quoted
    return head + b'"\r\ncontent-type: text/plain\r\n\r\nx\r\n--x--\r\n'


class Store:
    """All three ways into one service."""

    def __init__(self, app: Any) -> None:
        self._transport = httpx.ASGITransport(app)

    async def simple(self, name: str) -> httpx.Response:
        headers = {"content-type": "multipart/form-data; boundary=x"}
        return await self._send("POST", "/files", content=multipart(name), headers=headers)

    async def base64(self, name: str) -> httpx.Response:
        return await self._send("POST", "/files/base64", content=base64_body(name), headers=JSON)

    async def direct(self, name: str) -> httpx.Response:
        body = json.dumps({"filename": name, "file_type": "text/plain", "num_bytes": 1}).encode()
        begun = await self._send("POST", "/files/uploads/initiate", content=body, headers=JSON)
        if begun.status_code != 200:
            return begun
        upload = begun.json()
        sent = await self._send("PUT", upload["parts"][0]["url"], content=b"x")
        tokens = {"parts": [{"part_number": 1, "part_token": sent.headers["etag"]}]}
        return await self._send("POST", f"/files/uploads/{upload['upload_id']}/complete", json=tokens)

    async def read(self, name: str) -> bytes:
        return (await self._send("GET", f"/files/download/{quote(name, safe='')}")).content

    async def delete(self, name: str) -> int:
        return (await self._send("DELETE", f"/files/delete/{quote(name, safe='')}")).status_code

    async def _send(self, method: str, path: str, **more: Any) -> httpx.Response:
        async with httpx.AsyncClient(transport=self._transport, base_url=BASE) as http:
            return await http.request(method, path, **more)


def stored_names(root: Path) -> list[str]:
    """The files below `root` that are not the service's own, each checked to lie where contents lie."""
    found = []
    for path in root.rglob("*"):
        inside = path.relative_to(root).parts
        if inside[:2] == ("data", "contents") and len(inside) == 4:
            found.append(path.name)
        elif path.is_file():
            assert inside[0] == "data", path
            assert len(inside) == 2, path
            assert path.name.startswith(("service.db", "setup.lock", "link-secret")), path
    return found


@pytest.mark.parametrize("way", ["simple", "base64", "direct"])
def test_a_file_is_stored_under_its_name_or_not_at_all(tmp_path: Path, way: str) -> None:
    with (
        open_service(tmp_path / "data", key=None, capacity=1, pipelines=None, settings=Settings()) as service,
        asyncio.Runner() as runner,
    ):
        store = Store(service.app)

        @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
        @given(NAMES)
        @example("..")
        @example("../../service.db")
        @example("a\u202etxt.exe")
        @example("n" * 200)
        @example("ä" * 200)
        @example("🙂" * 199)
        @example("\ud800")
        @example("\ud800\udcff")
        def check(name: str) -> None:
            answer = runner.run(getattr(store, way)(name))
            if answer.status_code != 200:
                assert entries(answer)[0] == 400
                assert stored_names(tmp_path) == []
                return
            handle = answer.json()
            kept = handle["file_name"] if way == "direct" else handle["file_id"]
            if way != "simple":  # a multipart header has rules of its own for what stands between its quotes
                assert kept == json.loads(json.dumps(name))  # where two halves of a character meet, they are one
            assert stored_names(tmp_path) == [disk_name(kept)]
            assert runner.run(store.read(kept)) == b"x"
            assert runner.run(store.delete(kept)) == 200
            assert stored_names(tmp_path) == []

        check()


@pytest.mark.parametrize("way", ["simple", "base64", "direct"])
def test_unusual_names_are_names(tmp_path: Path, way: str) -> None:
    with (
        open_service(tmp_path / "data", key=None, capacity=1, pipelines=None, settings=Settings()) as service,
        asyncio.Runner() as runner,
    ):
        store = Store(service.app)
        for name in UNUSUAL:
            assert runner.run(getattr(store, way)(name)).status_code == 200, name
            assert stored_names(tmp_path) == [name]
            assert runner.run(store.read(name)) == b"x"
            assert runner.run(store.delete(name)) == 200
