"""Faults on demand, for tests of clients: the service does its work, or does not, and lies about it.

A file of rules is a JSON list; a rule names requests (`match`), which of them (`at`, `times`) and what happens (`do`):

    {"match": "POST /v0.5/batch/jobs", "at": 2, "times": 1, "do": "drop_after"}
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from reconciler.service import strictjson
from reconciler.service.connections import TRANSPORT
from reconciler.service.errors import ServiceError, refuse
from reconciler.service.middleware import error_response

_GARBAGE = b"<html>\xff not JSON"


class _Rule(BaseModel):
    """The n-th request that fits `match`, from `at` on, `times` of them (0: all). `*` stands for anything."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    match: Annotated[str, Field(pattern=r"^\S+ [/*]\S*$")]
    at: Annotated[int, Field(ge=1)] = 1
    times: Annotated[int, Field(ge=0)] = 1


class Refuse(_Rule):
    """Not processed; the status in the envelope."""

    do: Literal["refuse"]
    status: Annotated[int, Field(ge=400, le=599)] = 503
    retry_after: Annotated[int, Field(ge=0)] | None = None


class Delay(_Rule):
    """Processed after `seconds`."""

    do: Literal["delay"]
    seconds: Annotated[float, Field(ge=0)]


class DropBefore(_Rule):
    """Not processed; the connection closes without an answer."""

    do: Literal["drop_before"]


class DropAfter(_Rule):
    """Processed; the connection closes without an answer."""

    do: Literal["drop_after"]


class Truncate(_Rule):
    """Processed; the connection closes after `bytes` of the body that was announced."""

    do: Literal["truncate"]
    bytes: Annotated[int, Field(ge=0)]


class Garbage(_Rule):
    """Processed; the body of the answer is no JSON."""

    do: Literal["garbage"]


Rule = Annotated[Refuse | Delay | DropBefore | DropAfter | Truncate | Garbage, Field(discriminator="do")]
_RULES: TypeAdapter[list[Rule]] = TypeAdapter(list[Rule])


def load(path: Path) -> list[Rule]:
    """The rules of a file. Raises `ServiceError` that names all faults and where they are."""
    try:
        return _RULES.validate_python(strictjson.loads(path.read_bytes()))
    except ValidationError as error:
        found = [f"{'.'.join(map(str, each['loc'])) or 'the file'}: {each['msg']}" for each in error.errors()]
        raise ServiceError(
            f"{path}: {'; '.join(found)}", "the README of reconciler describes the rules, under '--faults'"
        ) from error
    except (OSError, ValueError) as error:
        raise ServiceError(f"{path}: {error}", "give a file with a JSON list of rules") from error


class Faults:
    """Does to a request what the first rule says that is due. Each rule counts the requests that it fits.

    The drops need the connections of `reconciler serve`; elsewhere they raise `ConnectionAbortedError`.
    """

    def __init__(self, app: ASGIApp, rules: Sequence[Rule]) -> None:
        self._app = app
        self._rules = tuple(rules)
        self._seen = [0] * len(rules)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        match self._due(scope):
            case Refuse() as rule:
                error = refuse(rule.status, "fault", "a fault on demand", retry_after=rule.retry_after)
                await error_response(error)(scope, receive, send)
            case Delay() as rule:
                await asyncio.sleep(rule.seconds)
                await self._app(scope, receive, send)
            case DropBefore():
                await _drop(scope, receive)
            case DropAfter():
                await self._answer(scope, receive)
                await _drop(scope, receive)
            case Truncate() as rule:
                start, body = await self._answer(scope, receive)
                await send(_of_length(start, len(body)))
                await send({"type": "http.response.body", "body": body[: rule.bytes], "more_body": True})
                await _drop(scope, receive)
            case Garbage():
                start, _ = await self._answer(scope, receive)
                await send(_of_length(start, len(_GARBAGE)))
                await send({"type": "http.response.body", "body": _GARBAGE})
            case None:
                await self._app(scope, receive, send)

    def _due(self, scope: Scope) -> Rule | None:
        if scope["type"] != "http":
            return None
        due: Rule | None = None
        for index, rule in enumerate(self._rules):
            pattern = ".*".join(map(re.escape, rule.match.split("*")))
            if re.fullmatch(pattern, f"{scope['method']} {scope['path']}", re.DOTALL):
                self._seen[index] += 1
                hits = self._seen[index] - rule.at  # counted from 0
                if due is None and hits >= 0 and (hits < rule.times or rule.times == 0):
                    due = rule
        return due

    async def _answer(self, scope: Scope, receive: Receive) -> tuple[Message, bytes]:
        """What the service would have answered."""
        messages: list[Message] = []

        async def keep(message: Message) -> None:
            messages.append(message)

        await self._app(scope, receive, keep)
        start, *rest = messages
        return start, b"".join(message.get("body", b"") for message in rest)


def _of_length(start: Message, length: int) -> Message:
    headers = [(k, v) for k, v in start["headers"] if k.lower() not in (b"content-length", b"transfer-encoding")]
    return {**start, "headers": [*headers, (b"content-length", str(length).encode())]}


async def _drop(scope: Scope, receive: Receive) -> None:
    """Close the connection once all that was written is on its way."""
    transport = scope.get("extensions", {}).get(TRANSPORT)
    if transport is None:
        raise ConnectionAbortedError("a fault on demand")
    transport.close()
    while (await receive())["type"] != "http.disconnect":
        pass  # uvicorn has to see that it is closed, or it would send an answer of its own
