"""Clients that are slow, silent or too many, on real sockets. Those that move are served to the end."""

from __future__ import annotations

import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from service_client import Served, served

from reconciler.service.pace import Allowance

pytestmark = [pytest.mark.network, pytest.mark.slow]
HEAD, IDLE, RATE = 0.3, 0.4, 1000.0
LATE = 5.0  # seconds; bounds a test that fails
SETTINGS = {"head_time": HEAD, "idle_time": IDLE, "min_rate": int(RATE)}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("slow") / "data", settings=SETTINGS) as service:
        yield service


@contextmanager
def connected(service: Served, receive_buffer: int | None = None) -> Iterator[socket.socket]:
    host, _, port = service.url.removeprefix("http://").partition("/")[0].partition(":")
    with socket.socket() as connection:
        if receive_buffer:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        connection.settimeout(LATE)
        connection.connect((host, int(port)))
        yield connection


def head(service: Served, first: str, *more: str) -> bytes:
    lines = [f"{first} HTTP/1.1", "Host: x", f"Authorization: Bearer {service.key}", *more, "", ""]
    return "\r\n".join(lines).encode()


def rest(connection: socket.socket) -> bytes:
    """All that comes until the other side closes."""
    found = b""
    try:
        while piece := connection.recv(1 << 16):
            found += piece
    except ConnectionResetError:
        pass
    return found


def answer(connection: socket.socket) -> bytes:
    """One answer, of a connection that stays open."""
    found = b""
    while b"\r\n\r\n" not in found:
        found += connection.recv(1 << 16)
    top, _, body = found.partition(b"\r\n\r\n")
    length = next(int(line.split(b":")[1]) for line in top.split(b"\r\n") if line.lower().startswith(b"content-length"))
    while len(body) < length:
        body += connection.recv(1 << 16)
    return top + b"\r\n\r\n" + body


# (size of a piece, seconds until it comes) again and again → cut off in the end?
@pytest.mark.parametrize(
    ("pieces", "cut"),
    [
        ([(0, 30.1)], True),  # silence
        ([(0, 29.9)], False),
        ([(1, 0.9)] * 40, True),  # a trickle: 40 bytes in 36 s
        ([(1000, 1.0)] * 1000, False),  # the slowest that may go on for ever
        ([(999, 1.0)] * 40_000, True),  # a little slower, in the end
        ([(29_000, 29.0)] * 1000, False),  # long pauses, but enough in the end
        ([(10**9, 0.1), (0, 30.1)], True),  # what came before saves up no more than one pause
    ],
)
def test_the_allowance(pieces: list[tuple[int, float]], cut: bool) -> None:
    allowance = Allowance(30, 1000)
    for size, seconds in pieces:
        if seconds > allowance.left + 1e-6:
            assert cut
            return
        allowance.waited(seconds, size)
    assert not cut


@pytest.mark.parametrize("sent", [b"", b"GET /v0.5/batch/jobs HTTP/1.1\r\nHost: x\r\n"])
def test_a_head_that_does_not_end_is_cut_off(service: Served, sent: bytes) -> None:
    with connected(service) as connection:
        began = time.monotonic()
        connection.sendall(sent)
        assert rest(connection) == b""
        assert HEAD * 0.9 < time.monotonic() - began < LATE


def test_a_head_that_trickles_is_cut_off_too(service: Served) -> None:
    with connected(service) as connection:
        began = time.monotonic()
        with pytest.raises(OSError):  # reset or broken pipe
            while time.monotonic() - began < LATE:
                connection.sendall(b"G")
                time.sleep(0.05)
        assert time.monotonic() - began < LATE


@pytest.mark.parametrize(
    ("path", "kind"),
    [("/v0.5/batch/jobs", "application/json"), ("/v0.5/files", "multipart/form-data; boundary=b")],
)
@pytest.mark.parametrize("trickle", [False, True])
def test_a_body_that_does_not_come_is_answered_with_408(service: Served, path: str, kind: str, trickle: bool) -> None:
    with connected(service) as connection:
        connection.sendall(
            head(service, f"POST {path}", f"Content-Type: {kind}", "Content-Length: 100000") + b"--b\r\n"
        )
        began = time.monotonic()
        connection.settimeout(0.05)
        while trickle and time.monotonic() - began < LATE:  # faster than silence, slower than `min_rate`
            try:
                connection.sendall(b"x")
                said = connection.recv(1, socket.MSG_PEEK)
                assert said == b"H"
                break
            except TimeoutError:
                continue
        connection.settimeout(LATE)
        said = rest(connection)
        assert said.startswith(b"HTTP/1.1 408 ")
        assert b'"request_timeout"' in said
        assert b"connection: close" in said.lower()
        assert IDLE * 0.9 < time.monotonic() - began < LATE


def test_a_long_upload_that_moves_is_taken(service: Served) -> None:
    piece, count = b"y" * 200, 12  # 1.2 s in all: three times `idle_time`, twice `min_rate`
    body = b'--b\r\nContent-Disposition: form-data; name="f"; filename="slow"\r\nContent-Type: text/plain\r\n\r\n'
    end = b"\r\n--b--\r\n"
    length = len(body) + len(piece) * count + len(end)
    kind = "Content-Type: multipart/form-data; boundary=b"
    with connected(service) as connection:
        connection.sendall(head(service, "POST /v0.5/files", kind, f"Content-Length: {length}") + body)
        for _ in range(count):
            time.sleep(0.1)
            connection.sendall(piece)
        connection.sendall(end)
        assert answer(connection).startswith(b"HTTP/1.1 200 ")
        time.sleep(HEAD * 2)  # a connection that is kept alive owes nothing
        connection.sendall(head(service, "GET /v0.5/files/download/slow"))
        assert answer(connection).endswith(piece * count)


def test_the_rest_of_a_body_that_nobody_wants_is_not_awaited_for_ever(service: Served) -> None:
    with connected(service) as connection:
        connection.sendall(b"POST /v0.5/files HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n")  # no key
        assert answer(connection).startswith(b"HTTP/1.1 401 ")
        began = time.monotonic()
        with pytest.raises(OSError):  # reset or broken pipe
            while time.monotonic() - began < LATE:
                connection.sendall(b"x")
                time.sleep(0.05)
        assert IDLE * 0.9 < time.monotonic() - began < LATE


def test_a_body_that_nobody_wants_may_still_end_and_the_connection_goes_on(service: Served) -> None:
    with connected(service) as connection:
        for _ in range(3):
            connection.sendall(b"POST /v0.5/files HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n")
            assert answer(connection).startswith(b"HTTP/1.1 401 ")
            time.sleep(IDLE / 2)
            connection.sendall(b"x" * 100)
        time.sleep(HEAD / 2)
        connection.sendall(head(service, "GET /v0.5/batch/jobs"))
        assert answer(connection).startswith(b"HTTP/1.1 200 ")


def upload(service: Served, name: str, size: int) -> None:
    import httpx

    headers = {"Authorization": f"Bearer {service.key}"}
    files = {"f": (name, b"z" * size, "text/plain")}
    assert httpx.post(f"{service.url}/files", files=files, headers=headers, trust_env=False).status_code == 200


def test_an_answer_that_is_not_read_is_cut_off(service: Served) -> None:
    size = 32 << 20  # more than what the system takes in between
    upload(service, "large", size)
    with connected(service, receive_buffer=4096) as connection:
        connection.sendall(head(service, "GET /v0.5/files/download/large"))
        time.sleep(IDLE * 3)
        assert len(rest(connection)) < size


def test_an_answer_that_is_read_slowly_comes_whole(service: Served) -> None:
    size = 4 << 20
    upload(service, "medium", size)
    with connected(service, receive_buffer=1 << 16) as connection:
        connection.sendall(head(service, "GET /v0.5/files/download/medium", "Connection: close"))
        found = 0
        for _ in range(30):
            time.sleep(IDLE / 8)
            found += len(connection.recv(1 << 16))
        found += len(rest(connection))
        assert found > size


def test_too_many_connections_are_told_so(tmp_path: Path) -> None:
    with served(tmp_path, settings={"connections": 2}) as service:
        with connected(service), connected(service), connected(service) as third:
            third.sendall(head(service, "GET /v0.5/batch/jobs"))
            said = rest(third)
            assert said.startswith(b"HTTP/1.1 503 ")
            assert b'"too_many_connections"' in said
            assert b"retry-after: 1" in said.lower()
        with connected(service) as later:
            later.sendall(head(service, "GET /v0.5/batch/jobs"))
            assert answer(later).startswith(b"HTTP/1.1 200 ")


def test_clients_that_do_nothing_do_not_hold_up_a_stop(tmp_path: Path) -> None:
    with served(tmp_path) as service, connected(service), connected(service) as begun, connected(service) as kept:
        begun.sendall(b"GET /v0.5/batch/jobs HTTP/1.1\r\n")
        kept.sendall(head(service, "GET /v0.5/batch/jobs"))
        assert answer(kept).startswith(b"HTTP/1.1 200 ")
        began = time.monotonic()
        assert service.stop(signal.SIGTERM) == 0
        assert time.monotonic() - began < LATE
        assert rest(begun) == b""
        assert service.process.stderr is not None
        assert service.process.stderr.read() == ""
