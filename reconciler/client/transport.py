"""Sending requests: the key, time-outs, size limits, and the one policy of what may be sent again.

A request that may have been processed is never sent again unless the caller says that repeating it is harmless.
Redirects are not followed: a redirected POST turns into a GET, and the key must not go to another host.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, TypeVar
from urllib.request import getproxies

import httpx

from reconciler.client import wire
from reconciler.client.address import is_loopback
from reconciler.client.lanes import Lanes
from reconciler.client.pace import Pace
from reconciler.client.patience import Patience, Retries, Timing
from reconciler.client.response import AGAIN, NoAnswer, NotAllowed, NotSent, Response
from reconciler.errors import PlatformError, PlatformUnavailable, ReconcilerError, UsageError

BODY_LIMIT = 64 << 20
"""Bytes of an answer that is JSON, after decompression."""
REQUEST_TIMEOUT = 30.0
"""Seconds for one request, from the connection to the last byte; fewer where patience is shorter."""
LEAST_TIMEOUT = 10.0
"""Seconds that a request has however short patience is: the answer that is not waited for may be that of a create."""
STORING_TIMEOUT = 600.0
"""Seconds that storage may take over bytes that it has got, before it answers."""
T = TypeVar("T")
_KEY = re.compile(r"[\x21-\x7e]+\Z")
_TIMEOUT = httpx.Timeout(REQUEST_TIMEOUT, connect=10.0)


def _own_transport(base: str, app: Any) -> httpx.AsyncBaseTransport | None:
    """How to reach `base`; None for httpx's own way, which knows about proxies."""
    if app is not None:
        return httpx.ASGITransport(app, raise_app_exceptions=False)
    url = httpx.URL(base)
    if url.scheme == "http" and is_loopback(url.host):
        # This machine needs no certificates, which take longer to load than a plan to make, and no proxy.
        return Lanes(lambda: False)
    return _beyond_this_machine()


def _beyond_this_machine() -> httpx.AsyncBaseTransport | None:
    return None if getproxies().keys() - {"no"} else Lanes(httpx.create_ssl_context)


class Transport:
    """One platform, one key. An async context manager; requests beyond `parallelism` wait their turn."""

    def __init__(
        self,
        base: str,
        key: str | None,
        *,
        parallelism: int = 16,
        timing: Timing = Timing(),
        app: Any = None,
    ) -> None:
        if key is not None and not _KEY.match(key):
            raise UsageError("ATAI_API_KEY holds characters that no key has", "it may have been pasted with a line end")
        self._base = base
        self._key = key
        self._timing = timing
        self._pace = Pace(parallelism, timing)
        self._patience = Patience(timing, Retries())
        self._clock_offset: timedelta | None = None
        self._limits = limits = httpx.Limits(max_connections=parallelism, max_keepalive_connections=parallelism)
        self._storage: httpx.AsyncClient | None = None
        self.may_send: Callable[[], None] | None = None
        """Raises `ReconcilerError` when nothing that acts must be sent any longer."""
        self._http = httpx.AsyncClient(
            transport=_own_transport(base, app),
            timeout=_TIMEOUT,
            limits=limits,
            follow_redirects=False,
            # One compression on top of another lets a few bytes fill the memory; one alone is bounded by a chunk.
            headers={"user-agent": "reconciler", "accept-encoding": "gzip"},
        )

    async def __aenter__(self) -> Transport:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()
        if self._storage is not None:
            await self._storage.aclose()

    def platform_now(self) -> datetime | None:
        """The platform's clock, from the last answer that told it; None before that. Accurate to a second."""
        return self._timing.now() + self._clock_offset if self._clock_offset is not None else None

    async def ask(self, method: str, path: str, **request: Any) -> Response:
        """Send a request that may be repeated, until it is answered or the budget is spent.

        Raises `PlatformUnavailable`. Any other answer, refusals included, is returned.
        """
        return await self._until_answered(lambda: self._once(method, path, **request))

    async def ask_once(self, method: str, path: str, **request: Any) -> Response:
        """Send a request whose answer is worth no patience. Raises `PlatformUnavailable`."""
        return await self._once(method, path, **request)

    async def _until_answered(self, attempt: Callable[[], Awaitable[Response]]) -> Response:
        return await self._patience.until_done(
            attempt,
            again=lambda r: r.status in AGAIN,
            again_after=(NotSent, NoAnswer),
            asked=self._asked_to_wait,
        )

    async def patiently(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Make `attempt` again while it raises `PlatformUnavailable`, until the budget is spent."""
        return await self._patience.until_done(
            attempt, again=lambda _: False, again_after=(PlatformUnavailable,), asked=lambda _: None
        )

    async def submit(self, path: str, body: Any, headers: Mapping[str, str]) -> Response:
        """POST something that must not happen twice: repeated only if it certainly was not processed.

        Raises `NotSent` when it never left, and `NoAnswer` when it may have been processed.
        """
        return await self._patience.until_done(
            lambda: self._once("POST", path, json=body, headers=headers),
            again=lambda r: r.status == 429,
            again_after=(NotSent,),
            asked=self._asked_to_wait,
        )

    def _asked_to_wait(self, response: Response) -> float | None:
        """Seconds that `Retry-After` asks for: a number, or a date on the platform's clock. Nonsense is ignored."""
        text = response.headers.get("retry-after", "").strip()
        if text.isdecimal() and len(text) < 10:
            return float(text)
        until = wire.http_date(text)
        if until is None:
            return None
        return (until - (self.platform_now() or self._timing.now())).total_seconds()

    async def _once(
        self,
        method: str,
        path: str,
        *,
        headers: Mapping[str, str] | None = None,
        make_files: Callable[[], Any] | None = None,
        seconds: float | None = None,
        **request: Any,
    ) -> Response:
        """One attempt. Raises `NotSent`, `NotAllowed` or `NoAnswer`, and OSError for a file that cannot be read."""
        what = f"{method} {self._base}{path}"
        seconds = seconds or min(REQUEST_TIMEOUT, max(LEAST_TIMEOUT, self._timing.budget))
        acts = method == "POST" and self.may_send is not None
        if acts:
            self._refuse_to_act()
        files = make_files() if make_files else None
        try:
            built = self._http.build_request(
                method,
                self._base + path,
                headers={**self._auth(), **(headers or {})},
                files=files,
                timeout=_waiting(seconds),
                extensions={"trace": self._before_sending} if acts else {},
                **request,
            )
        except (httpx.InvalidURL, ValueError) as error:
            raise NotSent(f"{what}: cannot be asked: {self._redacted(_reason(error))}") from error
        return await self._exchange(self._http, built, what, None if files else seconds, note=self._note_clock)

    async def _before_sending(self, event: str, _: Mapping[str, Any]) -> None:
        """The last moments: a connection is there, and what makes the request whole has not been written. A request
        whose body does not come is not processed.
        """
        if event in ("http11.send_request_headers.started", "http11.send_request_body.started"):
            self._refuse_to_act()

    def _refuse_to_act(self) -> None:
        try:
            if self.may_send is not None:
                self.may_send()
        except ReconcilerError as error:
            raise NotAllowed(error.message, error.hint) from error

    async def _exchange(
        self,
        http: httpx.AsyncClient,
        built: httpx.Request,
        what: str,
        seconds: float | None,
        note: Callable[[httpx.Response], None] = lambda raw: None,
    ) -> Response:
        """Send `built`, and read its answer within `seconds`. Raises `NotSent`, `NotAllowed` or `NoAnswer`."""
        clock = asyncio.get_running_loop().time
        began = clock()
        try:
            async with self._pace.turn() as round_:
                began = clock()
                async with (
                    asyncio.timeout(seconds),
                    contextlib.aclosing(await http.send(built, stream=True, follow_redirects=False)) as raw,
                ):
                    note(raw)
                    response = self._response(raw, await self._body(raw))
                    if response.status == 429:
                        self._pace.too_fast(round_, self._asked_to_wait(response))
                    else:
                        self._pace.went_well()
                    return response
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol) as error:
            hint = "check --endpoint and the network; nothing was sent"
            said = f"{what}: cannot be reached: {self._redacted(_reason(error))}"
            raise NotSent(said, hint, seconds=clock() - began) from error
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError, ValueError) as error:
            said = f"{what}: no usable answer: {self._redacted(_reason(error))}"
            raise NoAnswer(said, seconds=clock() - began) from error

    async def _body(self, raw: httpx.Response) -> bytes:
        _one_compression(raw)
        body = bytearray()
        async for chunk in raw.aiter_bytes(1 << 16):
            body += chunk
            if len(body) > BODY_LIMIT:
                raise ValueError(f"the body is larger than {BODY_LIMIT >> 20} MiB")
        return bytes(body)

    def _response(self, raw: httpx.Response, body: bytes) -> Response:
        text = self._redacted(body.decode("utf-8", "replace"))
        try:
            value = wire.loads(text)
            # JSON can spell the key in many ways; written again it has one.
            plain, key = json.dumps(value, ensure_ascii=False), json.dumps(self._key or "")[1:-1]
            if key and key in plain:
                text = plain.replace(key, "[key]")
                value = wire.loads(text)
        except ValueError:
            value = None
        return Response(raw.status_code, raw.headers, text, value)

    def _note_clock(self, raw: httpx.Response) -> None:
        if date := wire.http_date(raw.headers.get("date", "")):
            self._clock_offset = date - self._timing.now()

    def _auth(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self._key}"} if self._key else {}

    def _redacted(self, text: str) -> str:
        return text.replace(self._key, "[key]") if self._key else text

    async def put(self, url: str, length: int, blocks: Callable[[], AsyncIterator[bytes]]) -> Response:
        """PUT `length` bytes to a storage URL, which carries its own right: it gets no key. `blocks` gives the bytes,
        from the first one on, for each attempt.

        Raises `PlatformUnavailable`, and `PlatformError` for a URL that is none. Other answers are returned.
        """
        place = self._place(url)
        http = self._http_for(place)

        async def attempt() -> Response:
            # What a server answers before it has read all stands in its answer, not in the connection that it closes.
            built = http.build_request(
                "PUT",
                place,
                headers={"content-length": str(length)},
                content=blocks(),
                timeout=_waiting(STORING_TIMEOUT),
            )
            return await self._exchange(http, built, f"PUT to {place.host}", None)

        return await self._until_answered(attempt)

    async def download(
        self,
        ref: str,
        sink: Callable[[bytes], Any],
        *,
        start: int = 0,
        anew: Callable[[], Any] = lambda: None,
    ) -> None:
        """Stream a file into `sink`. A `ref` that begins with '/' is the platform's own and gets the key; an absolute
        one is a storage URL that carries its own right, so it must not. With `start` only what comes after so many
        bytes is asked for; `anew` is called when all of it comes instead.

        Raises `PlatformError`.
        """
        own = ref.startswith("/") and not ref.startswith("//")
        url = self._place(self._base + ref if own else ref)
        # A part of a compressed file is no part of the file.
        headers = {"accept-encoding": "identity", **(self._auth() if own else {})}
        if start:
            headers["range"] = f"bytes={start}-"
        http = self._http if own else self._http_for(url)
        try:
            async with (
                self._pace.turn(),
                http.stream("GET", url, headers=headers, follow_redirects=False) as raw,
            ):
                if not (raw.is_success or (raw.status_code == 416 and start)):
                    async with asyncio.timeout(REQUEST_TIMEOUT):
                        raise self._response(raw, await self._body(raw)).error("download")
                _one_compression(raw)
                if not _continues(raw, start):
                    anew()
                _refuse_part(raw, start)
                async for chunk in raw.aiter_bytes():  # as they come: what came before a break is not lost
                    sink(chunk)
        except (httpx.HTTPError, TimeoutError, ValueError) as error:
            raise PlatformUnavailable(f"the download broke off: {_reason(error)}", "run the command again") from error

    def _place(self, ref: str) -> httpx.URL:
        """An absolute reference that the platform gave. Raises `PlatformError` for one that is not to be followed."""
        try:
            url = httpx.URL(ref)
        except (httpx.InvalidURL, ValueError):
            url = httpx.URL()
        if url.scheme not in ("http", "https") or not url.host or (url.port or 0) > 65535:
            raise PlatformError("the platform gave a reference that is not an http(s) URL; it was not followed")
        if url.scheme == "http" and not is_loopback(url.host) and not self._is_own(url):
            raise PlatformError("the platform gave a reference without encryption (http); it was not followed")
        return url

    def _is_own(self, url: httpx.URL) -> bool:
        base = httpx.URL(self._base)
        return (url.scheme, url.host, url.port) == (base.scheme, base.host, base.port)

    def _http_for(self, url: httpx.URL) -> httpx.AsyncClient:
        """What to reach `url` with: another host gets connections of their own, with nothing of ours."""
        if self._is_own(url):
            return self._http
        if self._storage is None:
            self._storage = httpx.AsyncClient(
                transport=_beyond_this_machine(), timeout=_TIMEOUT, limits=self._limits, follow_redirects=False
            )
        return self._storage


def _waiting(seconds: float) -> httpx.Timeout:
    """Time-outs for a request whose answer may take `seconds`."""
    return httpx.Timeout(REQUEST_TIMEOUT, connect=10.0, read=seconds)


def _refuse_part(raw: httpx.Response, start: int) -> None:
    """Raises ValueError when the body is some other part of the file than the one that was asked for."""
    if raw.status_code == 416 or (raw.status_code == 206 and not _continues(raw, start)):
        raise ValueError("another part of the file came than was asked for")


def _continues(raw: httpx.Response, start: int) -> bool:
    """Whether the body begins at byte `start` of the file."""
    if raw.status_code != 206:
        return start == 0
    begins = re.match(r"bytes (\d{1,18})-", raw.headers.get("content-range", ""))
    return "content-encoding" not in raw.headers and begins is not None and int(begins[1]) == start


def _one_compression(raw: httpx.Response) -> None:
    if "," in raw.headers.get("content-encoding", ""):
        raise ValueError("the body is compressed more than once")


def _reason(error: BaseException) -> str:
    return str(error) or ("it takes too long" if isinstance(error, TimeoutError) else type(error).__name__)
