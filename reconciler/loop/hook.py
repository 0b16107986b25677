"""Who may ask for a round: the proofs that GitHub, GitLab and scripts send along. Pure."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field

SHORTEST = 16
"""Characters of a secret that is worth the name."""
_SIGNATURE, _TOKEN, _AUTHORIZATION = "x-hub-signature-256", "x-gitlab-token", "authorization"


@dataclass(slots=True)
class Proof:
    """The proof of one request: made from its headers, fed with its body, and asked at the end.

    Headers are by their names in lower case. One that has several proofs is judged by the first, GitHub's; nothing
    depends on how much of a wrong one is right.
    """

    secret: str
    headers: Mapping[str, str]
    _hash: hmac.HMAC = field(init=False)

    def __post_init__(self) -> None:
        self._hash = hmac.new(self.secret.encode(), digestmod=hashlib.sha256)

    @property
    def needs_body(self) -> bool:
        """Whether the body is signed; else it is none of our business."""
        return _SIGNATURE in self.headers

    def feed(self, piece: bytes) -> None:
        """A piece of the body."""
        self._hash.update(piece)

    def holds(self) -> bool:
        """Whether whoever sent the request knows the secret."""
        if (signature := self.headers.get(_SIGNATURE)) is not None:
            return _same(signature, f"sha256={self._hash.hexdigest()}")
        if (token := self.headers.get(_TOKEN)) is not None:
            return _same(token, self.secret)
        kind, _, given = self.headers.get(_AUTHORIZATION, "").partition(" ")
        return kind.lower() == "bearer" and _same(given.strip(), self.secret)


def _same(given: str, wanted: str) -> bool:
    """Whether they are equal, in a time that does not tell where they differ."""
    # Bytes of a header are read as Latin-1: so this is what was sent.
    return hmac.compare_digest(given.encode("latin-1", "replace"), wanted.encode())
