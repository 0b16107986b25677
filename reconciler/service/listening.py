"""Where the service listens, and what it takes to let other machines reach it."""

from __future__ import annotations

import errno
import ipaddress
import socket

from reconciler.service.errors import ServiceError
from reconciler.service.keys import SHORTEST


def is_loopback(address: str) -> bool:
    """Whether only this machine reaches the numeric `address`."""
    return ipaddress.ip_address(address.partition("%")[0]).is_loopback


def demand_key(host: str, port: int, key: str | None, *, key_file: bool = False) -> None:
    """Raises `ServiceError` when others could reach `host` and no person has set a key worth the name.

    A key that is made without anybody noticing is also forgotten, and stays in the folder for whoever copies that. The
    keys in a `key_file` are looked at where they are read.
    """
    try:
        address = str(socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][4][0])
    except OSError as error:
        raise _cannot_listen(host, port, error) from error
    if is_loopback(address):
        return
    hint = "set one: export ATAI_API_KEY=\"$(python3 -c 'import secrets; print(secrets.token_urlsafe(32))')\""
    if key is None and not key_file:
        raise ServiceError(f"other machines could reach {host}, and no key is set", hint)
    if key is not None and len(key) < SHORTEST:
        raise ServiceError(f"other machines could reach {host}, and the key has less than {SHORTEST} characters", hint)


def bind(host: str, port: int) -> socket.socket:
    """A socket that listens. Raises `ServiceError`."""
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listener = socket.create_server((host, port), family=family, backlog=1024)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise ServiceError(
                f"port {port} on {host} is taken", "stop the program that uses it, or choose another with --port"
            ) from error
        raise _cannot_listen(host, port, error) from error
    # Connections inherit it. asyncio would set it, but not on those of a socket that was made by hand; without it the
    # body of each answer waits for the client to acknowledge the head, which takes 40 ms.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener


def _cannot_listen(host: str, port: int, error: OSError) -> ServiceError:
    return ServiceError(f"cannot listen on {host}:{port}: {error.strerror or error}", "choose another --host or --port")
