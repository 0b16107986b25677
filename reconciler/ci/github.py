"""GitHub's API, as far as one comment on a pull request needs it. The token goes to one host only."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx

from reconciler.client.address import is_loopback
from reconciler.errors import ReconcilerError, UsageError
from reconciler.text import one_line

_TRIES = 5
_LONGEST = 60.0  # seconds that one answer may make us wait
_PAGES = 100  # of a hundred comments each


class ApiError(ReconcilerError):
    """GitHub refused a request. `status` is its HTTP status, 0 if there was no answer."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


class Unclear(ApiError):
    """Whether the request was carried out is not known."""


@dataclass(frozen=True, slots=True)
class Comment:
    id: int
    author: str
    body: str
    url: str


class GitHub:
    """A client for one token. Every method raises `ApiError`."""

    def __init__(
        self,
        api_url: str,
        token: str,
        repository: str,
        sleep: Callable[[float], None] = time.sleep,
        timeout: float = 30,
    ) -> None:
        parts = urlsplit(api_url)
        if parts.scheme != "https" and not is_loopback(parts.hostname or ""):
            raise UsageError(f"GITHUB_API_URL is {api_url!r}: the token would travel without encryption", "use https")
        self._api, self._repository, self._sleep = api_url.rstrip("/"), repository, sleep
        self._client = httpx.Client(
            headers={
                "Authorization": f"Bearer {token}",
                "Accept": "application/vnd.github+json",
                "X-GitHub-Api-Version": "2022-11-28",
                "User-Agent": "reconciler",
            },
            timeout=timeout,
            follow_redirects=False,
        )

    def __enter__(self) -> GitHub:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def viewer(self, graphql_url: str) -> str | None:
        """Who the token's user is; None when GitHub does not say. `GET /user` is closed to the token of a workflow."""
        if urlsplit(graphql_url)[:2] != urlsplit(self._api)[:2]:
            return None
        try:
            answer = self._send("POST", graphql_url, {"query": "query { viewer { login } }"}, repeat=True).json()
            login = answer["data"]["viewer"]["login"]
        except (ApiError, ValueError, KeyError, TypeError):
            return None
        return login if isinstance(login, str) else None

    def comments(self, number: int) -> Iterator[Comment]:
        """The comments of a pull request, oldest first."""
        url: str | None = f"{self._api}/repos/{self._repository}/issues/{number}/comments?per_page=100"
        for _ in range(_PAGES):
            if url is None:
                return
            answer = self._send("GET", url, None, repeat=True)
            for value in answer.json():
                yield _comment(value)
            url = answer.links.get("next", {}).get("url")
            if url is not None and urlsplit(url)[:2] != urlsplit(self._api)[:2]:
                raise ApiError(f"the next page is on another host: {one_line(url)}", answer.status_code)

    def create(self, number: int, body: str) -> Comment:
        """Raises `Unclear` when the answer was lost: the comment may be there."""
        url = f"{self._api}/repos/{self._repository}/issues/{number}/comments"
        return _comment(self._send("POST", url, {"body": body}, repeat=False).json())

    def update(self, comment: int, body: str) -> Comment:
        url = f"{self._api}/repos/{self._repository}/issues/comments/{comment}"
        return _comment(self._send("PATCH", url, {"body": body}, repeat=True).json())

    def _send(self, method: str, url: str, body: Any, *, repeat: bool) -> httpx.Response:
        """`repeat`: sending it twice does no harm."""
        for attempt in range(_TRIES):
            last = attempt == _TRIES - 1
            wait = min(_LONGEST, 2.0**attempt)
            try:
                answer = self._client.request(method, url, json=body)
            except httpx.TransportError as error:
                never_sent = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)
                if last or not (repeat or never_sent):
                    kind = ApiError if never_sent or repeat else Unclear
                    raise kind(f"GitHub did not answer: {one_line(str(error)) or type(error).__name__}", 0) from error
            else:
                if answer.is_success:
                    return answer
                limited = _limited(answer)
                if answer.status_code >= 500 and not repeat:
                    raise Unclear(_said(answer), answer.status_code)
                if last or not (limited or answer.status_code >= 500):
                    raise ApiError(_said(answer), answer.status_code)
                wait = _asked_wait(answer, wait) if limited else wait
            self._sleep(wait)
        raise AssertionError("the last attempt returns or raises")


def _limited(answer: httpx.Response) -> bool:
    """A limit was reached, also when it is told as 403."""
    headers = answer.headers
    return answer.status_code == 429 or (
        answer.status_code == 403 and ("retry-after" in headers or headers.get("x-ratelimit-remaining") == "0")
    )


def _asked_wait(answer: httpx.Response, default: float) -> float:
    """Seconds to wait: those that GitHub asks for, as far as a job can wait so long."""
    asked = answer.headers.get("retry-after", "")
    return min(_LONGEST, max(default, float(asked) if asked.isdigit() else 0.0))


def _said(answer: httpx.Response) -> str:
    try:
        message = answer.json()["message"]
    except (ValueError, KeyError, TypeError):
        message = answer.reason_phrase
    return f"GitHub answered {answer.status_code}: {one_line(str(message), 300)}"


def _comment(value: Any) -> Comment:
    user = value.get("user") or {}  # the account may be gone
    return Comment(value["id"], user.get("login") or "", value.get("body") or "", value.get("html_url") or "")
