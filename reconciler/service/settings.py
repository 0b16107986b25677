"""What whoever starts the service may choose."""

from __future__ import annotations

from dataclasses import dataclass

MIB = 1 << 20
DIRECT_LIMIT = 250 * 10**9


@dataclass(frozen=True, slots=True)
class Settings:
    """Limits in bytes. Those of the platform: 512 MB for a file in one request, 250 GB for one in parts; a job with
    about 37,000 inputs is refused.
    """

    upload_limit: int = 512 * MIB
    body_limit: int = 2 * MIB
    base64_limit: int = 64 * MIB  # the whole body of `POST /files/base64`, which is read into memory
    direct_limit: int = DIRECT_LIMIT
    part_size: int = 8 * MIB
