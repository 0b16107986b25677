"""Who may ask for a round, and what the loop answers over HTTP."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from reconciler.errors import UsageError
from reconciler.loop import web
from reconciler.loop.health import Health
from reconciler.loop.hook import Proof
from reconciler.loop.metrics import Metrics
from reconciler.loop.rounds import Result, Round
from reconciler.loop.web import LONGEST, Web, parse_address

SECRET = "It's a Secret to Everybody"
SIGNATURE = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
"""Of the body `Hello, World!`, as GitHub's documentation has it."""


def holds(body: bytes = b"Hello, World!", **headers: str) -> bool:
    proof = Proof(SECRET, {name.replace("_", "-"): value for name, value in headers.items()})
    for byte in body:
        proof.feed(bytes([byte]))
    return proof.holds()


def test_the_example_of_githubs_documentation_holds() -> None:
    assert holds(x_hub_signature_256=SIGNATURE)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"x_hub_signature_256": ""},
        {"x_hub_signature_256": SIGNATURE.removeprefix("sha256=")},
        {"x_hub_signature_256": SIGNATURE.upper()},
        {"x_hub_signature_256": SIGNATURE[:-1]},
        {"x_hub_signature": "sha1=" + hmac.new(SECRET.encode(), b"Hello, World!", hashlib.sha1).hexdigest()},
        {"x_gitlab_token": ""},
        {"x_gitlab_token": SECRET + " "},
        {"x_gitlab_token": "ü"},
        {"authorization": SECRET},
        {"authorization": f"Basic {SECRET}"},
        {"authorization": "Bearer"},
        {"authorization": "Bearer \u0661"},
        {"x_hub_signature_256": "sha256=0", "x_gitlab_token": SECRET},
    ],
)
def test_what_is_not_the_proof_does_not_hold(headers: dict[str, str]) -> None:
    assert not holds(b"Hello, World!", **headers)


def test_a_body_that_was_changed_does_not_hold() -> None:
    assert not holds(b"Hello, World?", x_hub_signature_256=SIGNATURE)


@pytest.mark.parametrize(
    "headers",
    [{"x_gitlab_token": SECRET}, {"authorization": f"Bearer {SECRET}"}, {"authorization": f"bearer {SECRET}"}],
)
def test_gitlab_and_scripts_show_the_secret_itself(headers: dict[str, str]) -> None:
    assert holds(b"anything", **headers)


@dataclass
class Client:
    """Asks a web server that has no port."""

    web: Web

    def request(self, method: str, path: str, **how: Any) -> httpx.Response:
        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(self.web.app())
            async with httpx.AsyncClient(transport=transport, base_url="http://loop") as client:
                return await client.request(method, path, **how)

        return asyncio.run(ask())

    def get(self, path: str) -> httpx.Response:
        return self.request("GET", path)

    def post(self, path: str, **how: Any) -> httpx.Response:
        return self.request("POST", path, **how)


@dataclass
class Asked:
    """What a web server was asked for."""

    client: Client
    health: Health
    metrics: Metrics
    clock: list[float]
    count: list[None] = field(default_factory=list)

    def sample(self, name: str) -> float | None:
        lines = self.metrics.text().decode().splitlines()
        return next((float(line.split()[-1]) for line in lines if line.startswith(f"reconciler_{name} ")), None)

    def heard(self, result: Result, **more: object) -> None:
        made = Round(1, "interval", datetime.now(UTC), result, ended=datetime.now(UTC), **more)  # type: ignore[arg-type]
        self.health.heard(made)
        self.metrics.heard(made, leader=result != "standby")


@pytest.fixture
def asked() -> Asked:
    clock, count = [0.0], list[None]()
    health, metrics = Health(600, lambda: clock[0]), Metrics()
    answers = Web(health, metrics, lambda: count.append(None), SECRET)
    return Asked(Client(answers), health, metrics, clock, count)


def test_a_signed_push_asks_for_a_round(asked: Asked) -> None:
    body = b'{"ref": "refs/heads/main"}'
    signature = "sha256=" + hmac.new(SECRET.encode(), body, hashlib.sha256).hexdigest()
    assert asked.client.post("/hook", content=body, headers={"X-Hub-Signature-256": signature}).status_code == 202
    assert len(asked.count) == 1
    assert asked.sample('hook_requests_total{answer="accepted"}') == 1


def test_a_stranger_asks_for_nothing(asked: Asked) -> None:
    answer = asked.client.post("/hook", content=b"{}", headers={"X-Gitlab-Token": "guess"})
    assert answer.status_code == 401
    assert SECRET not in answer.text
    assert asked.client.post("/hook").status_code == 401
    assert asked.client.get("/hook").status_code == 405
    assert not asked.count
    assert asked.sample('hook_requests_total{answer="refused"}') == 2


def test_a_body_without_end_is_cut_off(asked: Asked) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(LONGEST // 65536 + 2):
            yield b"x" * 65536

    answer = asked.client.post("/hook", content=pieces(), headers={"X-Hub-Signature-256": SIGNATURE})
    assert answer.status_code == 413
    assert not asked.count


def test_without_a_secret_there_is_no_hook() -> None:
    answers = Web(Health(600), Metrics(), lambda: None)
    assert Client(answers).post("/hook", headers={"Authorization": "Bearer "}).status_code == 404


def test_a_loop_that_does_not_move_is_not_healthy(asked: Asked) -> None:
    assert asked.client.get("/healthz").status_code == 200
    asked.clock[0] = 601
    assert asked.client.get("/healthz").status_code == 503
    asked.health.beat()
    assert asked.client.get("/healthz").status_code == 200
    asked.health.beat(3600)  # it rests for an hour
    asked.clock[0] += 4000
    assert asked.client.get("/healthz").status_code == 200
    asked.clock[0] += 300
    assert asked.client.get("/healthz").status_code == 503


@pytest.mark.parametrize(
    ("result", "why"),
    [
        ("done", None),
        ("failed", None),
        ("refused", "a guard refuses the plan"),
        ("invalid", "the specs are invalid"),
        ("fetch_failed", "the repository cannot be fetched"),
        ("unavailable", "the platform does not answer"),
        ("error", "the last round failed"),
        ("standby", "another loop leads"),
    ],
)
def test_readyz_says_why_it_is_not_ready(asked: Asked, result: Result, why: str | None) -> None:
    before = asked.client.get("/readyz")
    assert (before.status_code, before.json()["reasons"]) == (503, ["no round is over yet"])
    asked.heard(result, commit="abc")
    answer = asked.client.get("/readyz")
    assert answer.status_code == (503 if why else 200)
    assert answer.json()["reasons"] == ([why] if why else [])
    assert answer.json()["last_round"]["commit"] == "abc"


def test_a_state_that_somebody_works_on_makes_nobody_unready(asked: Asked) -> None:
    asked.heard("done")
    asked.heard("locked")
    assert asked.client.get("/readyz").status_code == 200


def test_metrics_tell_rounds_and_who_leads(asked: Asked) -> None:
    asked.heard("done")
    assert asked.sample("leader") == 1
    assert (asked.sample("last_success_timestamp_seconds") or 0) > 1e9
    asked.heard("standby")
    assert asked.sample("leader") == 0
    text = asked.client.get("/metrics").text
    assert 'reconciler_rounds_total{result="standby"} 1.0' in text
    assert 'reconciler_build_info{version="' in text


@pytest.mark.network
def test_a_connection_that_says_nothing_is_closed_and_others_are_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web, "_LIFE", 0.3)
    listener = web.bind("127.0.0.1", 0)
    address = ("127.0.0.1", listener.getsockname()[1])
    with web.served(Web(Health(600), Metrics(), lambda: None), listener), socket.create_connection(address) as silent:
        silent.settimeout(30)
        silent.sendall(b"GET /healthz HT")
        assert httpx.get(f"http://127.0.0.1:{address[1]}/healthz", trust_env=False).text == "ok\n"
        with contextlib.suppress(ConnectionResetError):
            assert silent.recv(1) == b""


@pytest.mark.parametrize(
    ("text", "expected"),
    [("127.0.0.1:80", ("127.0.0.1", 80)), ("[::1]:0", ("::1", 0)), ("localhost:9", ("localhost", 9)), ("none", None)],
)
def test_addresses(text: str, expected: tuple[str, int] | None) -> None:
    assert parse_address(text) == expected


@pytest.mark.parametrize(
    "text", ["", "8751", ":8751", "::1:80", "127.0.0.1:", "127.0.0.1:x", "h:70000", "h:-1", "h:\u0661"]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_address(text)
