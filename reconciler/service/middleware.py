"""What happens to every request before a route sees it: who asks, and is the body whole and strict JSON."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from reconciler.service import strictjson
from reconciler.service.errors import ApiError, envelope, refuse
from reconciler.service.keys import Keys

HONORED = "Idempotency-Key-Honored"
PROBES = frozenset({"/healthz", "/readyz"})
_READ_FREELY = frozenset({"/", "/openapi.json"})  # the page, which has nobody's data in it; the API
_PAGE_PARTS = "/page/"
_SIGNED = re.compile(r"/v0\.5/files/uploads/[^/]+/parts/[0-9]+")
_LONG = 1 << 20  # bytes; a longer body is checked in a thread, so that others need not wait


def error_response(error: ApiError) -> JSONResponse:
    """The platform's error envelope."""
    headers = {}
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    if error.status == 408:
        headers["Connection"] = "close"  # the rest of the request is not waited for
    if error.retry_after is not None:
        headers["Retry-After"] = str(error.retry_after)
    return JSONResponse(envelope(error.faults), status_code=error.status, headers=headers)


def signed(scope: Scope) -> bool:
    """Whether the request is for a URL that is itself the permission, and checked by its route: the PUT of a part.

    Its body is a piece of a file, of any size and form.
    """
    return scope["method"] == "PUT" and _SIGNED.fullmatch(scope["path"]) is not None


def needs_key(scope: Scope) -> bool:
    """Whether the request is only for who has a key."""
    path = str(scope["path"])
    if path in PROBES or signed(scope):
        return False
    return scope["method"] not in ("GET", "HEAD") or not (path in _READ_FREELY or path.startswith(_PAGE_PARTS))


def at_start(send: Send, note: Callable[[Message], None]) -> Send:
    """`send`, with the start of the answer shown to `note`, which may change its headers."""

    async def noted(message: Message) -> None:
        if message["type"] == "http.response.start":
            note(message)
        await send(message)

    return noted


class Announce:
    """Every answer says that idempotency keys are honoured, so that clients may rely on it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            send = at_start(send, lambda start: MutableHeaders(scope=start).update({HONORED: "true"}))
        await self._app(scope, receive, send)


class BearerAuth:
    """Refuses requests without a key, and says whose key it was in the request's state, as `org_id`.

    With no keys set, everything passes and belongs to the organisation `default`. What needs no key passes without an
    organisation.
    """

    def __init__(self, app: ASGIApp, *, keys: Keys | None, default: str) -> None:
        self._app = app
        self._keys = keys
        self._default = default

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and needs_key(scope):
            try:
                scope.setdefault("state", {})["org_id"] = self._organisation(Headers(scope=scope))
            except ApiError as error:
                await error_response(error)(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _organisation(self, headers: Headers) -> str:
        if self._keys is None:
            return self._default
        given = headers.get("authorization")
        if not given:
            suggestion = "send the header 'Authorization: Bearer <key>'"
            raise refuse(401, "unauthorized", "the request has no API key", suggestion)
        scheme, _, key = given.partition(" ")
        if scheme.lower() != "bearer":
            raise refuse(401, "unauthorized", "the key has no 'Bearer ' before it", "Authorization: Bearer <key>")
        organisation = self._keys.organisation(key.strip())
        if organisation is not None:
            return organisation
        raise refuse(401, "unauthorized", "the API key is none of this service's", "check ATAI_API_KEY")


class JsonBodies:
    """Reads bodies of JSON requests whole, up to `limit` bytes, and refuses what is not strict JSON.

    `others` has the limits of paths that have one of their own.
    """

    def __init__(self, app: ASGIApp, *, limit: int, others: Mapping[str, int]) -> None:
        self._app = app
        self._limit = limit
        self._others = others

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] not in {"POST", "PUT", "PATCH"}:
            await self._app(scope, receive, send)
            return
        kind = Headers(scope=scope).get("content-type", "")
        if signed(scope) or kind.startswith("multipart/"):
            await self._app(scope, receive, send)
            return
        try:
            body = await self._read(receive, self._others.get(scope["path"], self._limit))
            if body and "json" in kind:  # what is said to be something else is refused by the route, if there is one
                if len(body) > _LONG:
                    await run_in_threadpool(_check, body)
                else:
                    _check(body)
        except ApiError as error:
            await error_response(error)(scope, receive, send)
            return
        if body is not None:
            await self._app(scope, _replay(body, receive), send)

    async def _read(self, receive: Receive, limit: int) -> bytes | None:
        """The body; None when the client went away before its end."""
        body = bytearray()
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            body += message.get("body", b"")
            if len(body) > limit:
                raise refuse(
                    413,
                    "payload_too_large",
                    f"the body is larger than {limit:,} bytes",
                    "send a file with POST /files, or in parts; split a job into several with fewer inputs each",
                )
            if not message.get("more_body", False):
                break
        return bytes(body)


def _check(body: bytes) -> None:
    try:
        strictjson.loads(body)
    except ValueError as error:
        raise refuse(400, "invalid_parameter", f"the body is not JSON: {error}") from None


def _replay(body: bytes, receive: Receive) -> Receive:
    rest = [{"type": "http.request", "body": body, "more_body": False}]

    async def replayed() -> Message:
        return rest.pop() if rest else await receive()

    return replayed
