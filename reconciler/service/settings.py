"""What whoever starts the service may choose."""

from __future__ import annotations

from dataclasses import dataclass

MIB = 1 << 20
DIRECT_LIMIT = 250 * 10**9


@dataclass(frozen=True, slots=True)
class Settings:
    """Limits. Those of sizes are in bytes, those of time in seconds.

    The sizes are the platform's: 512 MB for a file in one request, 250 GB for one in parts; a job with about 37,000
    inputs is refused.
    """

    upload_limit: int = 512 * MIB
    body_limit: int = 2 * MIB
    base64_limit: int = 64 * MIB  # the whole body of `POST /files/base64`, which is read into memory
    direct_limit: int = DIRECT_LIMIT
    part_size: int = 8 * MIB

    rate_limit: float | None = None
    """Requests a second for each API key; None: as many as come."""

    head_time: float = 10.0
    """For the request line and headers, from the first byte, and from the connection to the first request."""
    idle_time: float = 30.0
    """For a body that brings nothing, and for an answer that is not read."""
    min_rate: int = 1024
    """Bytes a second that a body or the reader of an answer has to make once `idle_time` is used up."""
    connections: int = 512
    """Open at a time; below the 1,024 files that a process may usually have open."""
