"""The address of the platform: how it is written, and whether it is this machine."""

from __future__ import annotations

import re

from reconciler.errors import UsageError

_PLAIN = re.compile(
    r"https?://(127\.0\.0\.1|([a-z][a-z0-9]*(-[a-z0-9]+)*\.)*[a-z][a-z0-9]*)(:(8[1-9]|[1-9]\d{3}))?(/v0\.5)?/?"
)
"""Addresses that need no closer look."""


def normalise_endpoint(url: str) -> str:
    """The base URL with its version: `https://host` and `https://host/v0.5/` both give `https://host/v0.5`."""
    if _PLAIN.fullmatch(url):
        return url.rstrip("/").removesuffix("/v0.5") + "/v0.5"
    if "@" in url or "?" in url or "#" in url:  # not shown: what is before an @ is a password
        raise UsageError("the endpoint must not hold credentials, a query or a fragment", "the key is ATAI_API_KEY")
    return _parsed(url)


def _parsed(url: str) -> str:
    import httpx

    try:
        parsed = httpx.URL(url.strip())
    except httpx.InvalidURL as error:
        raise UsageError(f"the endpoint {url!r} is not a URL: {error}") from error
    if parsed.scheme not in ("http", "https") or not parsed.host or (parsed.port or 0) > 65535:
        raise UsageError(f"the endpoint {url!r} is not an http(s) URL", "for example http://127.0.0.1:8750, or local")
    path = parsed.path.rstrip("/")
    return str(parsed.copy_with(path=path or "/v0.5"))


def is_loopback(host: str) -> bool:
    """Whether `host` is this machine, as far as its name says."""
    import ipaddress

    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
