"""The HTTP side: routes under `/v0.5`, and one form for every error."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Sequence
from functools import cache
from typing import Any

from fastapi import Depends, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import compile_path

from reconciler.service import names, openapi, wire
from reconciler.service.diskfaults import disk_fault
from reconciler.service.errors import ApiError, Fault, refuse
from reconciler.service.keys import Keys
from reconciler.service.metrics import Measured
from reconciler.service.middleware import HONORED, PROBES, Announce, BearerAuth, JsonBodies, error_response
from reconciler.service.ratelimit import Buckets, RateLimit
from reconciler.service.routes import details, files, health, jobs, metrics, page, pipelines, uploads
from reconciler.service.routes.context import Context, known_query

_log = logging.getLogger(__name__)
PREFIX = "/v0.5"
_UNLIMITED = PROBES | {"/metrics"}
_ERRORS: dict[int | str, dict[str, Any]] = {400: {"model": wire.ErrorEnvelope}}  # so that the document has the model


def create_app(context: Context, *, keys: Keys | None, default_org: str) -> FastAPI:
    """The service as an ASGI app. Without `keys` all requests are let in, for `default_org`."""
    app = _routed()
    app.state.context = context
    app.include_router(page.router)
    for kind in (ApiError, sqlite3.Error, OSError):
        app.add_exception_handler(kind, _error)
    app.add_exception_handler(RequestValidationError, _invalid_request)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(Exception, _internal_error)
    settings = context.settings
    # What is added last comes first.
    app.add_middleware(JsonBodies, limit=settings.body_limit, others={f"{PREFIX}/files/base64": settings.base64_limit})
    if settings.rate_limit is not None:
        app.add_middleware(RateLimit, buckets=Buckets(settings.rate_limit), exempt=_UNLIMITED)
    app.add_middleware(BearerAuth, keys=keys, default=default_org)
    app.add_middleware(Measured, metrics=context.metrics)
    app.add_middleware(Announce)
    return app


def _routed() -> FastAPI:
    app = FastAPI(docs_url=None, redoc_url=None, generate_unique_id_function=lambda route: route.name)
    for module in (jobs, details, files, uploads, pipelines):
        app.include_router(module.router, prefix=PREFIX, responses=_ERRORS, dependencies=[Depends(known_query)])
    for module in (health, metrics):
        app.include_router(module.router, dependencies=[Depends(known_query)])
    app.openapi = openapi_document  # type: ignore[method-assign]
    return app


@cache
def openapi_document() -> dict[str, Any]:
    """The OpenAPI 3.1 document of the service."""
    return openapi.document(_routed())


async def _error(request: Request, error: Exception) -> Response:
    known = _known(request, error)
    if known is None:
        raise error  # to `_internal_error`
    return error_response(known)


async def _internal_error(request: Request, error: Exception) -> Response:
    """For what no other handler took; this answer is made outside of all middleware."""
    known = _known(request, error)
    if known is None:
        _log.error("%s %s failed", request.method, request.url.path, exc_info=error)
        message = f"the service failed: {type(error).__name__}"
        known = refuse(500, "internal_error", message, "see the log of the service")
    response = error_response(known)
    response.headers[HONORED] = "true"
    return response


def _known(request: Request, error: Exception) -> ApiError | None:
    if isinstance(error, ApiError):
        return error
    fault = disk_fault(error)
    if fault:  # hopefully over soon: a line, not a page
        _log.error("%s %s failed: %s", request.method, request.url.path, error)
    return fault


async def _invalid_request(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    return error_response(ApiError(400, [_fault(each) for each in error.errors()]))


# What a value that does not match its pattern should have been; the patterns themselves are in the OpenAPI document.
_FORMS = {
    "filename": f"a file name: 1 to {names.LONGEST} characters, no slashes, nothing invisible, not '.' or '..'",
    "data": "base64 (RFC 4648), with its padding and without line breaks",
    "integrity_checksum": "the CRC32C, four bytes in network order, as base64: 6 characters and '=='",
    "name": "a name with something visible in it",
}


def _fault(found: dict[str, Any]) -> Fault:
    kind: Sequence[Any] = found["loc"]
    # pydantic names the kind of an input item where the item is; whoever sent it knows nothing of that
    words = [word for at, word in enumerate(kind[1:]) if not (word in wire.KINDS and isinstance(kind[at], int))]
    if kind[0] == "query":
        words = words[:1]  # pydantic counts the values of a parameter that may be repeated
    where = ".".join(map(str, words))
    match found["type"]:
        case "missing" if not where:
            return Fault("missing_parameter", "the request has no body", "send a JSON object")
        case "missing":
            return Fault("missing_parameter", f"{where} is required")
        case "model_attributes_type" | "dict_type" if not where:
            hint = "send one, with the header 'Content-Type: application/json'"
            return Fault("invalid_parameter", "the body is not a JSON object", hint)
        case "extra_forbidden":
            return Fault("invalid_parameter", f"{where}: unknown key", "leave it out")
        case "string_pattern_mismatch" if words and words[-1] in _FORMS:
            return Fault("invalid_parameter", f"{where}: this is no such value", f"it is {_FORMS[str(words[-1])]}")
        case "less_than_equal" if where == "num_bytes":
            return Fault("invalid_file_size", f"num_bytes: {found['msg']}")
        case "literal_error" if where == "file_type":
            return Fault("invalid_file_type", f"file_type: {found['msg']}")
        case _:
            return Fault("invalid_parameter", f"{where or 'the body'}: {found['msg']}")


def _allowed(path: str) -> str:
    """The methods of the resource at `path`. Of templates that fit, the one with the fewest parameters is meant."""
    paths = openapi_document()["paths"]
    fitting = [template for template in paths if compile_path(template)[0].match(path)]
    meant = min(fitting, key=lambda template: template.count("{"), default=None)
    return ", ".join(sorted(method.upper() for method in paths[meant])) if meant else ""


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    message, hint = str(error.detail), None
    if error.status_code == 404:
        message, hint = f"there is no endpoint {request.url.path[:200]!r}", "/openapi.json lists what there is"
    if error.status_code == 405:
        # Starlette names the methods of the first route that fits; the resource has those of all of them.
        allowed = _allowed(request.url.path) or (error.headers or {}).get("Allow", "GET")
        error.headers = {"Allow": allowed}
        message, hint = f"{request.method} is not allowed here", f"it takes {allowed}"
    codes = {404: "not_found", 405: "method_not_allowed"}
    code = codes.get(error.status_code, "invalid_parameter")
    response = error_response(refuse(error.status_code, code, message, hint))
    response.headers.update(error.headers or {})
    return response
