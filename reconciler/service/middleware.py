"""What happens to every request before a route sees it: who asks, and is the body whole and strict JSON."""

from __future__ import annotations

import hmac

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from reconciler.service import strictjson
from reconciler.service.errors import ApiError, envelope, refuse

HONORED = "Idempotency-Key-Honored"


def error_response(error: ApiError) -> JSONResponse:
    """The platform's error envelope."""
    headers = {"WWW-Authenticate": "Bearer"} if error.status == 401 else None
    return JSONResponse(envelope(error.faults), status_code=error.status, headers=headers)


class Announce:
    """Every answer says that idempotency keys are honoured, so that clients may rely on it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def announced(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)[HONORED] = "true"
            await send(message)

        await self._app(scope, receive, announced if scope["type"] == "http" else send)


class BearerAuth:
    """Refuses requests without the key. With no key set, everything passes."""

    def __init__(self, app: ASGIApp, *, key: str | None) -> None:
        self._app = app
        self._expected = None if key is None else key.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        fault = self._fault(Headers(scope=scope)) if scope["type"] == "http" else None
        if fault is None:
            await self._app(scope, receive, send)
        else:
            await error_response(fault)(scope, receive, send)

    def _fault(self, headers: Headers) -> ApiError | None:
        if self._expected is None:
            return None
        given = headers.get("authorization")
        if not given:
            suggestion = "send the header 'Authorization: Bearer <key>'"
            return refuse(401, "unauthorized", "the request has no API key", suggestion)
        scheme, _, key = given.partition(" ")
        matches = hmac.compare_digest(key.strip().encode("latin-1", "replace"), self._expected)
        if scheme.lower() == "bearer" and matches:
            return None
        return refuse(401, "unauthorized", "the API key is not the key of this service", "check ATAI_API_KEY")


class JsonBodies:
    """Reads bodies of JSON requests whole, up to `limit` bytes, and refuses what is not strict JSON."""

    def __init__(self, app: ASGIApp, *, limit: int) -> None:
        self._app = app
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] not in {"POST", "PUT", "PATCH"}:
            await self._app(scope, receive, send)
            return
        if Headers(scope=scope).get("content-type", "").startswith("multipart/"):
            await self._app(scope, receive, send)
            return
        try:
            body = await self._read(receive)
        except ApiError as error:
            await error_response(error)(scope, receive, send)
            return
        if body is not None:
            await self._app(scope, _replay(body, receive), send)

    async def _read(self, receive: Receive) -> bytes | None:
        """The body; None when the client went away before its end."""
        body = b""
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            body += bytes(message.get("body", b""))
            if len(body) > self._limit:
                raise refuse(
                    413,
                    "payload_too_large",
                    f"the body is larger than {self._limit:,} bytes",
                    "split the job into several with fewer inputs each",
                )
            if not message.get("more_body", False):
                break
        if body:
            _check(body)
        return body


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
