"""The service's OpenAPI document: what FastAPI derives from the routes, with errors, examples and the choices made."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

_EXAMPLES = Path(__file__).with_name("examples.json")
_BODIES = {"post", "put", "patch"}
ABOUT = """
The batch API of the Archetype AI platform, as this service implements it. The platform's documentation is the
specification; where it is silent, this document says what was chosen.

* **Jobs are immutable.** A job goes PENDING → ADMITTED → RUNNING → COMPLETED, FAILED or CANCELLED. PREEMPTED means that
  it made room for a job of a higher priority, or that the service was stopped; it then waits again in its old place.
  A pipeline's retry policy puts a failed attempt back to PENDING and counts it in `retry_count`.
* **Lists** take `offset` and `limit` (default 20, brought into 1 to 100, echoed) and say the `total`. Jobs are listed
  newest first; other orders are said at each list.
* **The queue** is one for each pipeline type: by the pipeline's priority, then in turn between organisations, then
  first come first served. `queue_position` counts from 1 and is null unless the job is PENDING.
* **`POST /batch/jobs` answers 201**, and again 201 with the same job when it is repeated with the same
  `Idempotency-Key` and the same body (`Idempotency-Replayed: true`); another body with that key is a 409. A key lives
  as long as its job. Every answer says `Idempotency-Key-Honored: true`.
* **Inputs are pinned** to the content that a file has when the job is made. A file that is not there is a 400.
* **Cancel** is allowed from PENDING, ADMITTED, RUNNING and PREEMPTED, **retry** from FAILED and CANCELLED, **delete**
  from COMPLETED, FAILED and CANCELLED; all else is a 409. A retry clears `started_at`, `failed_at`, `cancelled_at`,
  `error` and the outputs, and keeps the events.
* **Errors** have the envelope `{"errors": [{code, message, suggestion, error_uid}]}` with every fault that was found.
  The codes are this service's: the platform publishes few. What belongs to another organisation is a 404.
* **Times** are RFC 3339 in UTC with microseconds. **Ids** are opaque.
""".strip()

_SAYS: dict[str, tuple[str, str, str]] = {
    "400": ("Something in the request is wrong.", "invalid_parameter", "limit: Input should be a valid integer"),
    "401": ("The API key is missing or wrong.", "unauthorized", "the request has no API key"),
    "403": ("The link was not made by this service, or has expired.", "link_expired", "the link has expired"),
    "404": ("It does not exist, or belongs to another organisation.", "not_found", "there is no job 'job_1'"),
    "408": ("The body came too slowly.", "request_timeout", "the body came too slowly"),
    "409": ("The state does not allow it.", "invalid_job_state", "job job_1 is COMPLETED and cannot be cancelled"),
    "411": ("The length of the body is not declared.", "length_required", "send the Content-Length of the part"),
    "413": ("The body is too large.", "payload_too_large", "the body is larger than 2,097,152 bytes"),
    "429": ("Too many requests; `Retry-After` says when to come again.", "rate_limited", "too many requests"),
    "500": ("A bug of the service.", "internal_error", "the service failed: KeyError"),
    "503": ("The storage cannot be used now; come again.", "storage_unavailable", "the storage cannot be used now"),
    "507": ("The disk is full; nothing was stored.", "storage_full", "the disk is full"),
}


def document(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI 3.1 document of the routes of `app`."""
    made = get_openapi(
        title="Batch service", version="0.5", openapi_version="3.1.0", description=ABOUT, routes=app.routes
    )
    made["servers"] = [{"url": "/"}]
    components = made.setdefault("components", {})
    components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer", "description": "ATAI_API_KEY"}}
    for name in ("HTTPValidationError", "ValidationError"):
        components["schemas"].pop(name, None)
    examples = json.loads(_EXAMPLES.read_text("utf-8"))
    for path, operations in made["paths"].items():
        for method, operation in operations.items():
            _complete(path, method, operation, examples.get(operation["operationId"], {}))
    return made


def _complete(path: str, method: str, operation: dict[str, Any], example: dict[str, Any]) -> None:
    open_to_all = operation.setdefault("security", [{"key": []}]) == []
    responses = operation["responses"]
    responses.pop("422", None)  # FastAPI's own form of an invalid request; ours is a 400
    wanted = ["400", "429", "500", "503"]
    wanted += [] if open_to_all else ["401"]
    wanted += ["404"] if "{" in path else []
    wanted += ["408", "413"] if operation.get("requestBody") else []
    wanted += ["409"] if method in {"post", "delete"} else []
    wanted += ["507"] if method in _BODIES else []
    wanted += operation.pop("x-errors", []) + [status for status in responses if status in _SAYS]
    for status in wanted:
        responses[status] = _error(status)
    operation["responses"] = dict(sorted(responses.items()))
    if "request" in example:
        content = operation["requestBody"]["content"]["application/json"]
        content["examples"] = {"example": {"value": example["request"]}}
    for status, response in operation["responses"].items():
        body = response.get("content", {}).get("application/json")
        if status.startswith("2") and body is not None and "response" in example:
            body["examples"] = {"example": {"value": example["response"]}}


def _error(status: str) -> dict[str, Any]:
    description, code, message = _SAYS[status]
    entry = {
        "code": code,
        "message": message,
        "suggestion": None,
        "error_uid": "err-00000000-0000-4000-8000-000000000000",
    }
    headers = {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds."}}
    answer: dict[str, Any] = {
        "description": description,
        "content": {
            "application/json": {
                "schema": {"$ref": "#/components/schemas/ErrorEnvelope"},
                "examples": {"example": {"value": {"errors": [entry]}}},
            }
        },
    }
    return answer | ({"headers": headers} if status in {"429", "503"} else {})
