"""A register behind the protocol of Terraform's HTTP backend, such as the state that GitLab manages.

There the server keeps the lock: who writes names its id, and who names another one is refused. That is the comparison.
A lock that somebody left is taken over only after its document has not changed for a whole lease.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import httpx

from reconciler.address import Address
from reconciler.backends.register import Document, Found, Limits, Lost, Occupied, Unsure, decode, encode
from reconciler.client.address import is_loopback
from reconciler.errors import StateError, StateUnavailable, UsageError
from reconciler.text import one_line

_GITLAB = re.compile(r"/api/v4/projects/[^/]+/terraform/state/[^/]+$")
_LIMIT = 512 << 20
_CONNECTED = 10.0  # seconds until there is a connection
_AGAIN = "check that it is there, and run the command again; --timeout gives it longer"
_TAKEN = (409, 423)


class TerraformRegister:
    """The state at `address`. Its mark is the document with the id of the lock that it was found under, if any."""

    def __init__(self, address: Address, environ: Mapping[str, str], limits: Limits) -> None:
        self._address, self._url, self._limits = address, address.place, limits
        url = urlsplit(self._url)
        gitlab = bool(_GITLAB.search(url.path))
        own = f"{url._replace(path=f'{url.path}/lock').geturl()}" if gitlab else self._url

        def said(name: str, default: str) -> str:
            return environ.get(f"TF_HTTP_{name}") or default

        self._lock_url, self._unlock_url = said("LOCK_ADDRESS", own), said("UNLOCK_ADDRESS", own)
        self._lock_method = said("LOCK_METHOD", "POST" if gitlab else "LOCK")
        self._unlock_method = said("UNLOCK_METHOD", "DELETE" if gitlab else "UNLOCK")
        self._update_method = said("UPDATE_METHOD", "POST")
        for used in (self._url, self._lock_url, self._unlock_url):
            _refuse_open(used, environ)
        self._http = httpx.Client(
            auth=_credentials(environ, self._url, gitlab=gitlab),
            timeout=_waits(limits.write),
            limits=httpx.Limits(max_keepalive_connections=0),  # between two changes there is a whole lease
            headers={"user-agent": "reconciler"},
            follow_redirects=False,
        )
        self._lock: str | None = None
        self._holder: str | None = None
        """Of the lease that this process has, or had."""
        self._next = ""
        """The id of the next lock, where it is not that of the lease."""

    def __str__(self) -> str:
        return str(self._address)

    # -- the register --

    def read(self) -> Found:
        answer = self._ask("GET", self._url, timeout=_waits(self._limits.read))
        if answer.status_code in (204, 404):
            return Found(Document(), (None, None))
        if answer.status_code != 200:
            raise self._refused("read", answer)
        data = answer.content
        return Found(decode(data, str(self)) if data.strip() else Document(), (data, self._lock))

    def swap(self, found: Found, document: Document, message: str) -> Found:
        if self._lock is None or found.mark is None or found.mark[1] != self._lock:
            self._take(found, document)
        data = encode(document)
        assert self._lock is not None
        url = httpx.URL(self._url).copy_merge_params({"ID": self._lock})
        try:
            answer = self._ask(self._update_method, str(url), content=data)
        except StateUnavailable as error:
            self._fence()  # it may still come: then it names a lock that is no more
            raise Unsure(error.message) from error
        if not answer.is_success:
            if answer.status_code in (401, 403, 413):
                raise self._refused("written", answer)
            self._fence()
            raise Unsure(self._refused("written", answer).message)
        mark = (data, self._lock)
        if not self._is_ours(document):
            self._release(self._lock)
            self._lock = None
        return Found(document, mark)

    # -- the server's lock --

    def _take(self, found: Found, document: Document) -> None:
        """Take the lock for `document`, if that replaces what was found. Raises `Lost`, `Occupied`, `Unsure`."""
        data, seen = found.mark or (None, None)
        theirs = found.document.lease
        ours = self._is_ours(document)
        wanted = (self._next or self._holder or "") if ours else secrets.token_hex(16)
        left = seen or (theirs.holder if theirs and theirs.holder != self._holder else None)
        if ours and left is not None:  # who asks for that has watched it for long enough
            self._release(left)
        self._acquire(wanted, document, found)
        now = self.read()
        if (now.mark or (None,))[0] != data:
            self._release(wanted)
            self._lock = None
            raise Lost("it has changed meanwhile")

    def _is_ours(self, document: Document) -> bool:
        """Whether the lease in `document` is that of this process: the first one that it asks for."""
        if document.lease is not None and self._holder is None:
            self._holder = document.lease.holder
        return document.lease is not None and document.lease.holder == self._holder

    def _acquire(self, wanted: str, document: Document, found: Found) -> None:
        lease = document.lease
        about = {
            "ID": wanted,
            "Operation": one_line(lease.command, 100) if lease else "reconciler",
            "Info": "reconciler",
            "Who": f"{lease.user}@{lease.host}" if lease else "reconciler",
            "Version": "1",
            "Created": lease.since if lease and lease.since else "1970-01-01T00:00:00Z",
            "Path": "reconciler",
        }
        try:
            answer = self._ask(self._lock_method, self._lock_url, json=about)
        except StateUnavailable as error:
            raise Unsure(error.message) from error
        if answer.status_code in _TAKEN:
            held = _held(answer)
            if held.get("ID") == wanted:  # the answer of an earlier try was lost
                self._lock = wanted
                return
            raise Occupied(Found(found.document, ((found.mark or (None,))[0], held.get("ID"))), _who(held))
        if not answer.is_success:
            raise self._refused("locked", answer)
        self._lock = wanted

    def _release(self, lock: str) -> None:
        try:
            self._ask(self._unlock_method, self._unlock_url, params={"ID": lock}, json={"ID": lock})
        except StateUnavailable:
            return  # it is found to be there, or not, by whoever needs it next

    def _fence(self) -> None:
        """After a lost answer: give the lock a new id, so that a write that is still on its way is refused."""
        if self._lock is not None:
            old, self._lock = self._lock, None
            self._next = f"{self._holder}-{secrets.token_hex(4)}"
            self._release(old)

    # -- HTTP --

    def _ask(self, method: str, url: str, **request: Any) -> httpx.Response:
        """Raises `StateUnavailable` when there is no usable answer."""
        if "content" in request:
            request["headers"] = {"content-type": "application/json"}
        try:
            with self._http.stream(method, url, **request) as answer:
                body = bytearray()
                for chunk in answer.iter_bytes():
                    body += chunk
                    if len(body) > _LIMIT:
                        raise StateError(f"what {self} answers is larger than {_LIMIT >> 20} MiB")
            whole = httpx.Response(answer.status_code, content=bytes(body), request=answer.request)
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            why = one_line(str(error) or type(error).__name__)
            raise StateUnavailable(f"the state {self} cannot be reached: {why}", _AGAIN) from error
        if whole.status_code == 429 or whole.status_code >= 500:
            raise StateUnavailable(f"the state {self}: HTTP {whole.status_code}", "run the command again")
        return whole

    def _refused(self, what: str, answer: httpx.Response) -> StateError:
        said = one_line(answer.text.strip(), 200)
        message = f"the state {self} cannot be {what}: HTTP {answer.status_code}" + (f": {said}" if said else "")
        hint = None
        if answer.status_code in (401, 403):
            hint = "set TF_HTTP_USERNAME and TF_HTTP_PASSWORD (in a GitLab job they are known)"
        return StateError(message, hint)


def _waits(seconds: float) -> httpx.Timeout:
    """Between two signs of life; a large state may take longer as a whole."""
    return httpx.Timeout(seconds, connect=min(seconds, _CONNECTED))


def _refuse_open(url: str, environ: Mapping[str, str]) -> None:
    parts = urlsplit(url)
    open_ = environ.get("RECONCILER_ALLOW_HTTP", "") in ("1", "true")
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError(f"{one_line(url)} is no address of a state or a lock")
    if parts.scheme == "http" and not is_loopback(parts.hostname) and not open_:
        hint = "use https, or set RECONCILER_ALLOW_HTTP=1 if the network is yours"
        raise UsageError(f"the state at {parts.hostname} would travel without encryption", hint)


def _credentials(environ: Mapping[str, str], url: str, *, gitlab: bool) -> tuple[str, str] | None:
    """User and password: as Terraform is told them, or those of the GitLab job that this is."""
    for prefix in ("RECONCILER_STATE_", "TF_HTTP_"):
        if environ.get(f"{prefix}PASSWORD"):
            return environ.get(f"{prefix}USERNAME", ""), environ[f"{prefix}PASSWORD"]
    if gitlab and environ.get("CI_JOB_TOKEN") and url.startswith(environ.get("CI_API_V4_URL", " ") + "/"):
        return "gitlab-ci-token", environ["CI_JOB_TOKEN"]
    return None


def _held(answer: httpx.Response) -> Mapping[str, Any]:
    """What the server says of the lock that is there."""
    try:
        held = json.loads(answer.content)
    except (ValueError, RecursionError):
        return {}
    return held if isinstance(held, dict) else {}


def _who(held: Mapping[str, Any]) -> str:
    operation, who, created = (str(held.get(key, "unknown")) for key in ("Operation", "Who", "Created"))
    return one_line(f"'{operation}' of {who}, since {created}")
