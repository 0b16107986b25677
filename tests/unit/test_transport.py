"""What may be sent again, how long we are patient, and what no answer can do to us."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
from datetime import timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from http_server import KEY, Clock, Told, answer, endless, reset, serve, silence, talk

from reconciler.client import Client, Transport, normalise_endpoint
from reconciler.client import transport as module
from reconciler.client.patience import Timing
from reconciler.client.response import NoAnswer, NotSent, Response
from reconciler.errors import ExitCode, PlatformError, PlatformUnavailable, UsageError

OK = answer(200, {"ok": 1})
SHORT = 0.2


def ask(script: Any, method: str = "GET", path: str = "/x", clock: Clock | None = None, budget: float = 60) -> Told:
    return talk(script, lambda c: c._transport.ask(method, path), clock, budget)


def post(script: Any, clock: Clock | None = None, budget: float = 60) -> Told:
    return talk(script, lambda c: c._transport.submit("/x", {"a": 1}, {"idempotency-key": "t"}), clock, budget)


def unused_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@pytest.mark.parametrize(
    ("given", "base"),
    [
        ("https://host", "https://host/v0.5"),
        ("https://host/", "https://host/v0.5"),
        ("https://host/v0.5", "https://host/v0.5"),
        ("https://host/v0.5//", "https://host/v0.5"),
        (" HTTPS://Host:443/v0.5/\n", "https://host/v0.5"),
        ("http://127.0.0.1:8750", "http://127.0.0.1:8750/v0.5"),
        ("https://platform.example/api", "https://platform.example/api"),
        ("http://[::1]:8750/", "http://[::1]:8750/v0.5"),
    ],
)
def test_endpoints_with_and_without_their_version_are_one(given: str, base: str) -> None:
    assert normalise_endpoint(given) == base
    assert normalise_endpoint(base) == base


@pytest.mark.parametrize(
    "given",
    [
        "",
        "host",
        "host:8750",
        "ftp://host",
        "file:///etc/passwd",
        "http://",
        "http://host:abc",
        "http://host:99999",
        "http://[::1",
        "https://host/v0.5?",
        "https://host/?a=1",
        "https://host/#a",
        "https://ho\nst",
        "https://user:hunter2@host",
        "ftp://user:hunter2@host",
        "https://user:hunter2@host:abc",
    ],
)
def test_what_is_no_endpoint_is_refused_without_showing_a_password(given: str) -> None:
    with pytest.raises(UsageError) as caught:
        normalise_endpoint(given)
    assert "hunter2" not in f"{caught.value.message} {caught.value.hint}"


@pytest.mark.parametrize("key", ["", "sk_a\n", "sk_a b", "sk_\u00e9", "sk_a\r\nx-evil: 1", "\x00"])
def test_a_key_that_could_not_be_a_header_is_refused(key: str) -> None:
    with pytest.raises(UsageError) as caught:
        Transport("http://127.0.0.1:1", key)
    assert "ATAI_API_KEY" in caught.value.message
    assert "sk_a" not in caught.value.message


@pytest.mark.network
def test_the_key_goes_in_the_header_and_the_path_below_the_base() -> None:
    told = ask([OK])
    assert told.result.value == {"ok": 1}
    (request,) = told.requests
    assert request.target == "/v0.5/x"
    assert request.headers["authorization"] == f"Bearer {KEY}"


@pytest.mark.network
@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_reads_and_cancels_are_asked_again(status: int) -> None:
    for method in ("GET", "POST"):
        told = ask([answer(status), answer(status), OK], method)
        assert told.result.value == {"ok": 1}
        assert len(told.requests) == 3
        assert len(told.slept) == 2


@pytest.mark.network
@pytest.mark.parametrize(
    "broken", [reset, b"", b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{}", b"SSH-2.0-x\r\n\r\n"]
)
def test_a_read_that_broke_off_is_asked_again(broken: Any) -> None:
    told = ask([broken, OK])
    assert told.result.value == {"ok": 1}
    assert len(told.requests) == 2


@pytest.mark.network
@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 410, 413, 422])
def test_refusals_are_given_back_at_once(status: int) -> None:
    told = ask([answer(status, {"detail": "no"}), OK])
    assert told.result.status == status
    assert len(told.requests) == 1
    error = told.result.error("GET /x")
    assert error.status == status
    assert error.exit_code == ExitCode.FAILED
    assert f"HTTP {status}: no" in error.message


@pytest.mark.network
def test_a_refused_key_says_what_to_check_and_not_the_key() -> None:
    told = ask([answer(401, {"detail": f"bad key {KEY}"})])
    error = told.result.error("GET /x")
    assert "ATAI_API_KEY" in error.hint
    assert KEY not in f"{error.message} {error.hint}"
    assert "[key]" in error.message


@pytest.mark.network
@pytest.mark.parametrize("status", [429, 503])
def test_patience_ends_with_the_budget_and_the_last_answer_is_given_back(status: int) -> None:
    told = ask([answer(status, {"detail": "busy"})], budget=10)
    assert told.result.status == status
    assert sum(told.slept) <= 10
    assert len(told.requests) > 1
    error = told.result.error("GET /x")
    assert isinstance(error, PlatformUnavailable)
    assert error.exit_code == ExitCode.TRY_LATER


@pytest.mark.network
def test_retry_after_in_seconds_is_honoured_to_the_second() -> None:
    told = ask([answer(429, Retry_After="7"), answer(503, Retry_After="2"), OK])
    assert told.result.ok
    assert told.slept == [7, 2]


@pytest.mark.network
@pytest.mark.parametrize("server_is_ahead", [timedelta(0), timedelta(hours=1), timedelta(days=-400)])
def test_a_retry_after_date_is_judged_by_the_clock_of_the_server(server_is_ahead: timedelta) -> None:
    clock = Clock()
    date = clock.now() + server_is_ahead
    until = format_datetime(date + timedelta(seconds=9), usegmt=True)
    told = ask([answer(503, Retry_After=until, Date=format_datetime(date, usegmt=True)), OK], clock=clock)
    assert told.result.ok
    assert told.slept == [9]


@pytest.mark.network
@pytest.mark.parametrize("asked", ["999999999", "99999999999999999999", "Fri, 31 Dec 8999 23:59:59 GMT"])
def test_a_wait_beyond_the_budget_is_not_begun(asked: str) -> None:
    told = ask([answer(429, Retry_After=asked), OK], budget=0)
    assert told.result.status == 429
    assert told.slept == []
    assert len(told.requests) == 1


@pytest.mark.network
@pytest.mark.parametrize("asked", ["-1", "abc", "", "1.5", "1e3", "\u0665", "Mon, 20 Nov 99999999999 10:00:00 GMT"])
def test_a_retry_after_that_makes_no_sense_is_ignored(asked: str) -> None:
    raw = answer(429).replace(b"\r\n", b"\r\nretry-after: " + asked.encode() + b"\r\n", 1)
    told = ask([raw, OK])
    assert told.result.ok
    assert len(told.slept) == 1
    assert told.slept[0] <= 30


@pytest.mark.network
@pytest.mark.parametrize("at_once", ["0", "Mon, 20 Nov 2006 10:00:00 GMT"])
def test_to_be_asked_back_at_once_for_ever_ends_too(at_once: str) -> None:
    told = ask([answer(429, Retry_After=at_once)], budget=30)
    assert told.result.status == 429
    assert len(told.requests) < 100


@pytest.mark.network
@pytest.mark.parametrize(
    "date", ["nonsense", "Mon, 20 Nov 99999999999 10:00:00 GMT", "Fri, 31 Dec 9999 23:59:59 -1200"]
)
def test_a_date_header_that_makes_no_sense_tells_no_clock(date: str) -> None:
    async def clock_after(client: Client) -> Any:
        await client._transport.ask("GET", "/x")
        return client.platform_now()

    assert talk([answer(200, {}, Date=date)], clock_after).result is None


@pytest.mark.network
def test_the_clock_of_the_platform_goes_on_between_answers() -> None:
    clock = Clock()
    theirs = clock.now() + timedelta(hours=1)

    async def clock_later(client: Client) -> Any:
        assert client.platform_now() is None
        await client._transport.ask("GET", "/x")
        await clock.sleep(30)
        return client.platform_now()

    told = talk([answer(200, {}, Date=format_datetime(theirs, usegmt=True))], clock_later, clock)
    assert told.result == theirs + timedelta(seconds=30)


@pytest.mark.network
def test_a_submission_that_nobody_listens_to_was_not_sent() -> None:
    clock = Clock()

    async def run() -> None:
        async with Transport(f"http://127.0.0.1:{unused_port()}/v0.5", KEY, timing=clock.timing(5)) as transport:
            with pytest.raises(NotSent, match="cannot be reached"):
                await transport.submit("/x", {}, {})

    asyncio.run(run())
    assert 0 < sum(clock.slept) <= 5


@pytest.mark.network
@pytest.mark.parametrize("status", [408, 425, 500, 501, 502, 503, 504, 507, 520])
def test_a_submission_is_not_repeated_after_an_error_of_the_server(status: int) -> None:
    told = post([answer(status, Retry_After="1"), OK])
    assert told.result.status == status
    assert len(told.requests) == 1


@pytest.mark.network
@pytest.mark.parametrize("broken", [reset, b"", b"HTTP/1.1 2", b"HTTP/1.1 201 Created\r\ncontent-length: 99\r\n\r\n{"])
def test_a_submission_is_not_repeated_after_a_broken_answer(broken: Any) -> None:
    told = post([broken, OK])
    assert isinstance(told.result, NoAnswer)
    assert len(told.requests) == 1


@pytest.mark.network
def test_a_submission_is_repeated_after_429_and_after_nothing_else() -> None:
    told = post([answer(429, Retry_After="3"), answer(429, Retry_After="4"), answer(201, {"ok": 1})])
    assert told.result.status == 201
    assert told.slept == [3, 4]
    assert [r.headers["idempotency-key"] for r in told.requests] == ["t"] * 3
    assert len({r.body for r in told.requests}) == 1


@pytest.mark.network
def test_a_429_and_then_a_broken_answer_is_no_answer() -> None:
    told = post([answer(429, Retry_After="1"), reset, OK])
    assert isinstance(told.result, NoAnswer)
    assert len(told.requests) == 2


@pytest.mark.network
@pytest.mark.parametrize("value", [float("nan"), "\ud800"])
def test_a_body_that_is_not_json_never_leaves(value: Any) -> None:
    told = talk([OK], lambda c: c._transport.submit("/x", {"a": value}, {}), budget=0)
    assert isinstance(told.result, NotSent)
    assert told.requests == []


@pytest.mark.network
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("call", [ask, post])
def test_redirects_are_not_followed_and_the_other_host_gets_no_key(status: int, call: Any) -> None:
    async def run() -> tuple[Response, list[Any]]:
        async with serve([OK]) as other:
            location = f"{other.url}/stolen"

            def redirected() -> Any:
                return call([answer(status, Location=location)])

            told = await asyncio.to_thread(redirected)
            assert f"127.0.0.1:{other.port}" in told.result.error("x").message
            return told.result, other.requests

    result, stolen = asyncio.run(run())
    assert result.status == status
    assert stolen == []
    assert "--endpoint" in (result.error("x").hint or "")


@pytest.mark.network
@pytest.mark.parametrize("location", ["http://[::1", "/elsewhere", "", "http://user:hunter2@h/", "javascript:alert(1)"])
def test_no_location_breaks_the_client(location: str) -> None:
    told = post([answer(302, Location=location)])
    assert isinstance(told.result, NoAnswer | Response)
    message = str(told.result) if isinstance(told.result, NoAnswer) else told.result.error("x").message
    assert "hunter2" not in message


@pytest.mark.network
@pytest.mark.parametrize(
    "head", [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"]
)
def test_an_answer_that_drips_for_ever_ends_at_the_deadline(head: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REQUEST_TIMEOUT", SHORT)
    piece = b"1\r\n \r\n" if b"chunked" in head else b"x"
    told = post([endless(head, piece, pause=SHORT / 10)])
    assert isinstance(told.result, NoAnswer)
    assert len(told.requests) == 1


@pytest.mark.network
def test_silence_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REQUEST_TIMEOUT", SHORT)
    assert isinstance(post([silence]).result, NoAnswer)
    told = ask([silence, OK])
    assert told.result.ok
    assert len(told.requests) == 2


@pytest.mark.network
@pytest.mark.parametrize(("budget", "attempts"), [(0.0, 1), (1.0, 2)])
def test_waiting_for_answers_counts_as_patience(budget: float, attempts: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REQUEST_TIMEOUT", 0.6)
    monkeypatch.setattr("reconciler.client.patience.FIRST_PAUSE", 0.0)
    told = ask([silence], budget=budget)
    assert isinstance(told.result, NoAnswer)
    assert "it takes too long" in told.result.message
    assert len(told.requests) == attempts


@pytest.mark.network
def test_short_patience_makes_a_request_shorter_but_not_too_short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LEAST_TIMEOUT", 0.2)
    for budget in (0.0, 0.3):
        error = ask([silence], budget=budget).result
        assert max(0.2, budget) <= error.seconds < 5


@pytest.mark.network
def test_waiting_is_told_once_for_all_requests_and_not_at_once() -> None:
    async def both(client: Client) -> list[Response]:
        return list(await asyncio.gather(*(client._transport.ask("GET", f"/{n}") for n in range(5))))

    heard: list[str] = []
    clock = Clock()
    busy = answer(503, Retry_After="3")
    told = talk([*[busy] * 15, OK], both, clock, heard=heard)
    assert all(response.ok for response in told.result)
    assert heard == ["The platform does not answer as it should; trying again, for 60 s a request"]
    heard.clear()
    assert talk([busy, OK], both, clock, heard=heard).result
    assert heard == []


@pytest.mark.network
def test_a_body_beyond_the_limit_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BODY_LIMIT", 1 << 20)
    told = post([endless(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n", b" " * 65536)])
    assert isinstance(told.result, NoAnswer)
    assert "larger than 1 MiB" in told.result.message


@pytest.mark.network
def test_a_gzip_bomb_is_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BODY_LIMIT", 1 << 20)
    told = post([answer(200, gzip.compress(b" " * (16 << 20)), Content_Encoding="gzip")])
    assert isinstance(told.result, NoAnswer)
    assert "larger than" in told.result.message


@pytest.mark.network
def test_gzip_in_gzip_is_refused_before_it_is_unpacked() -> None:
    bomb = gzip.compress(gzip.compress(b'{"ok": 1}'))
    told = post([answer(200, bomb, Content_Encoding="gzip, gzip")])
    assert isinstance(told.result, NoAnswer)
    told = post([answer(200, gzip.compress(b'{"ok": 1}'), Content_Encoding="gzip")])
    assert told.result.value == {"ok": 1}


@pytest.mark.network
@pytest.mark.parametrize(
    "raw",
    [
        answer(200, b"\x00\x01not gzip", Content_Encoding="gzip"),
        b"HTTP/1.1 200 OK\r\nx: " + b"a" * (1 << 20) + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: -5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 two OK\r\n\r\n",
    ],
    ids=["not gzip", "huge header", "negative length", "broken chunk", "broken status"],
)
def test_broken_http_is_no_answer(raw: bytes) -> None:
    assert isinstance(post([raw]).result, NoAnswer)


@pytest.mark.network
@pytest.mark.parametrize("kind", ["text/html", "application/json; charset=utf-16", "", "image/png"])
def test_the_content_type_is_not_believed(kind: str) -> None:
    assert ask([answer(200, {"ok": 1}, content_type=kind)]).result.value == {"ok": 1}
    assert ask([answer(200, b"<html>", content_type="application/json")]).result.value is None


@pytest.mark.network
@pytest.mark.parametrize("spelled", [KEY, KEY.replace("s", "\\u0073"), "x" + KEY + "y"])
@pytest.mark.parametrize("status", [200, 400])
def test_an_echoed_key_is_redacted_however_it_is_spelled(spelled: str, status: int) -> None:
    body = f'{{"detail": "{spelled}", "{spelled}": ["{spelled}"]}}'.encode()
    result = ask([answer(status, body)]).result
    assert KEY not in result.text
    assert KEY not in json.dumps(result.value)
    assert "[key]" in result.value["detail"]
    assert KEY not in result.error("x").message


@pytest.mark.network
def test_a_key_echoed_in_a_page_is_redacted() -> None:
    result = ask([answer(500, f"you sent {KEY}".encode())], budget=0).result
    assert "you sent [key]" in result.error("x").message


def get_file(script: Any, ref: str) -> tuple[Told, bytes]:
    content = bytearray()

    def sink(chunk: bytes) -> None:
        content.extend(chunk)

    told = talk(script, lambda c: c._transport.download(ref, sink))
    return told, bytes(content)


@pytest.mark.network
def test_a_relative_reference_is_the_platforms_own_and_gets_the_key() -> None:
    told, content = get_file([answer(200, b"1,2\n")], "/files/a.csv?x=1")
    assert content == b"1,2\n"
    (request,) = told.requests
    assert request.target == "/v0.5/files/a.csv?x=1"
    assert request.headers["authorization"] == f"Bearer {KEY}"


@pytest.mark.network
def test_an_absolute_reference_gets_no_key_not_even_on_the_same_host() -> None:
    async def run() -> list[Any]:
        async with serve([answer(200, b"1,2\n")]) as storage, Transport(storage.url, KEY) as transport:
            await transport.download(f"{storage.url}/signed?sig=1", lambda chunk: None)
            return storage.requests

    (request,) = asyncio.run(run())
    assert "authorization" not in request.headers


@pytest.mark.parametrize(
    "ref",
    [
        "",
        "x",
        "//host/x",
        "file:///etc/passwd",
        "ftp://h/x",
        "http://",
        "http://[::1",
        "http://h:99999/",
        "data:,x",
        "http://ho\nst",
    ],
)
def test_other_references_are_not_followed(ref: str) -> None:
    async def run() -> None:
        async with Transport("http://127.0.0.1:1", KEY) as transport:
            await transport.download(ref, lambda chunk: None)

    with pytest.raises(PlatformError, match="not followed"):
        asyncio.run(run())


@pytest.mark.network
def test_a_download_that_breaks_off_or_is_refused_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "BODY_LIMIT", 1 << 16)
    told, _ = get_file([b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\nhalf"], "/x")
    assert isinstance(told.result, PlatformUnavailable)
    told, content = get_file([answer(403, b"<Error>AccessDenied</Error>")], "/x")
    assert told.result.status == 403
    assert content == b""
    told, content = get_file([answer(302, Location="http://127.0.0.1:1/")], "/x")
    assert isinstance(told.result, PlatformError)
    assert content == b""
    told, _ = get_file([answer(500, b"x" * (1 << 17))], "/x")
    assert isinstance(told.result, PlatformUnavailable)
    told, _ = get_file([answer(200, gzip.compress(gzip.compress(b"x")), Content_Encoding="gzip,gzip")], "/x")
    assert isinstance(told.result, PlatformUnavailable)


@pytest.mark.network
def test_the_clock_of_a_storage_host_is_not_the_platforms() -> None:
    async def run(client: Client) -> Any:
        with pytest.raises(PlatformError):
            await client._transport.download("/x", lambda chunk: None)
        return client.platform_now()

    assert talk([answer(404, Date="Mon, 20 Nov 2006 10:00:00 GMT")], run).result is None


@pytest.mark.network
def test_no_more_requests_at_a_time_than_asked_for() -> None:
    most = now = 0

    async def slow(writer: asyncio.StreamWriter) -> None:
        nonlocal most, now
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.01)
        now -= 1
        writer.write(OK)

    async def run() -> None:
        async with serve([slow]) as server, Transport(server.url, KEY, parallelism=3, timing=Timing(0)) as transport:
            answers = await asyncio.gather(*(transport.ask("GET", "/x") for _ in range(12)))
            assert all(a.ok for a in answers)

    asyncio.run(run())
    assert most == 3


@pytest.mark.network
def test_a_proxy_that_the_environment_names_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    async def run() -> list[str]:
        async with serve([OK]) as proxy:
            monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.port}")
            async with Transport("http://platform.example/v0.5", KEY, timing=Timing(0)) as transport:
                assert (await transport.ask("GET", "/x")).ok
            return [request.target for request in proxy.requests]

    assert asyncio.run(run()) == ["http://platform.example/v0.5/x"]
