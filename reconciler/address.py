"""What `--state` may say besides the path of a file: where a state lies that many machines share."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import SplitResult, urlsplit

from reconciler.errors import UsageError

_SCHEME = re.compile(r"(git):|(s3|gs|az|http|https)://")
_REF = re.compile(r"refs/(?!.*(?:\.\.|//|@\{|\.lock(?:/|$)|/\.))[^\x00-\x20\x7f~^:?*\[\\]+(?<![/.])")
_ALIKE = re.compile(
    r"(?i)(?:git|s3|gs|az|https?|gcs|azure|adl|abfss?|file|ssh|ftp|gitlab)\s*[:;]|[a-z][a-z0-9+.-]*://|git$"
)
"""What nobody means as the path of a file. One that is meant begins with './'."""
DEFAULT = "default"
"""The name of the ref when there is no environment."""


@dataclass(frozen=True, slots=True)
class Address:
    """`scheme`: git, s3, gs, az, http or https. For git: `place` is the remote, `key` the ref; for a bucket: its name
    and the object in it; for http: the whole URL, and nothing.
    """

    scheme: str
    place: str
    key: str = ""

    def __str__(self) -> str:
        """As people write it, without credentials: for messages."""
        if self.scheme == "git":
            remote = "" if self.place == "origin" else f"{_bare(self.place)}#"
            return f"git:{remote}{self.key}"
        return _bare(self.place) if self.scheme in ("http", "https") else f"{self.scheme}://{self.place}/{self.key}"


def is_address(text: str) -> bool:
    """Whether `text` is more than the path of a file."""
    return _SCHEME.match(text) is not None


def parse_address(text: str, environment: str | None) -> Address | None:
    """The address that `text` is; None for a file. Raises `UsageError`.

    `git:` alone means the ref of the environment at `origin`.
    """
    if text != text.strip():
        raise UsageError(f"the state {text!r} begins or ends with a space", "leave it out")
    found = _SCHEME.match(text)
    if not found:
        if _ALIKE.match(text):
            hint = "a state lies in a file, or at git:, s3://, gs://, az://, http:// or https://, in small letters"
            raise UsageError(f"the state {text!r} is at no place that is known", hint)
        return None
    if found[1]:
        return _git(text.removeprefix("git:"), environment)
    try:
        url = urlsplit(text)
        _ = url.port
    except ValueError as error:
        raise UsageError(f"the state {text!r} is not a URL: {error}") from error
    if not url.hostname and not url.netloc:
        raise UsageError(f"the state {text!r} names no host or bucket")
    if url.scheme in ("http", "https"):
        return _web(text, url)
    return _bucket(text, url)


def of_environment(text: str, name: str) -> str:
    """Where the state of environment `name` lies when the setting for all of them is `text`."""
    if text.startswith("git:"):
        remote, _, ref = text.removeprefix("git:").rpartition("#")
        if ref.startswith("refs/"):
            return f"{text}-{name}"
        return f"git:{remote or ref or 'origin'}#refs/reconciler/{name}"
    scheme, _, rest = text.partition("://")
    path = PurePosixPath(rest)
    return f"{scheme}://{path.with_name(f'{path.stem}.{name}{path.suffix}')}"


def _git(rest: str, environment: str | None) -> Address:
    remote, _, ref = rest.rpartition("#")
    if not remote and not rest.startswith(("refs/", "#")):
        remote, ref = rest, ""
    ref = ref or f"refs/reconciler/{environment or DEFAULT}"
    remote = remote or "origin"
    if not _REF.fullmatch(ref) or ref.startswith(("refs/heads/", "refs/tags/", "refs/remotes/", "refs/pull/")):
        hint = "write for example git:refs/reconciler/production; branches and tags are for people"
        raise UsageError(f"{ref!r} is no ref for a state", hint)
    if remote.startswith("-") or re.search(r"[\x00-\x1f\x7f]", remote) or re.match(r"\w+::", remote):
        raise UsageError(f"{remote!r} is no remote of git")
    return Address("git", remote, ref)


def _web(text: str, url: SplitResult) -> Address:
    if url.username or url.password:
        hint = "set RECONCILER_STATE_USERNAME and RECONCILER_STATE_PASSWORD, and take them out of the address"
        raise UsageError("the state's address holds a user or a password, which would show in outputs", hint)
    return Address(url.scheme, text)


def _bucket(text: str, url: SplitResult) -> Address:
    bare = f"{url.scheme}://{url.netloc.rpartition('@')[2]}{url.path}"
    settings = "credentials, region and endpoint come from the environment"
    if "@" in url.netloc:
        hint = f"{settings}: take them out"
        raise UsageError("the state's address holds credentials, which would show in outputs", hint)
    if "?" in text or "#" in text:
        raise UsageError(f"the state {bare!r} has a '?' or '#' behind it", f"write {bare}: {settings}")
    if not url.path.strip("/") or url.path.endswith("/"):
        hint = f"write for example {url.scheme}://{url.netloc}/state.json"
        raise UsageError(f"the state {text!r} names a bucket, and no object in it", hint)
    return Address(url.scheme, url.netloc, url.path.lstrip("/"))


def _bare(place: str) -> str:
    """Without user and password; the query of a URL may be a secret as well."""
    if "://" not in place:
        return place
    url = urlsplit(place)
    return url._replace(netloc=url.netloc.rpartition("@")[2], query="", fragment="").geturl()


def beside(path: Path, suffix: str) -> Path:
    """`state.json` has `state.journal`; a state with any other name keeps its whole name: no two share a lock."""
    return path.with_suffix(suffix) if path.suffix == ".json" else path.with_name(path.name + suffix)
