"""Web addresses of commits and of lines of specs, put together here; an address that is not https is none."""

from __future__ import annotations

import posixpath
import re
from urllib.parse import quote, urlsplit

from reconciler.job import Source

_COMMIT = re.compile(r"[0-9a-f]{7,64}")
_HOST = re.compile(r"(?=.{1,253}$)[a-z0-9-]+(\.[a-z0-9-]+)*", re.IGNORECASE)


def https(address: str | None) -> str | None:
    """`address` without a name or key in it, if it is a plain https address; else None."""
    try:
        parts = urlsplit(address or "")
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return None
    if parts.scheme != "https" or not _HOST.fullmatch(parts.hostname or "") or "\\" in (address or ""):
        return None
    query = f"?{quote(parts.query, safe='=&%+/:,;')}" if parts.query else ""
    return f"https://{parts.hostname}{port}{quote(parts.path, safe='/%+:@,;=~')}{query}"


def commit_link(source: Source) -> str | None:
    """The page of the commit; None when its repository has none that is known."""
    repository = https(source.repository)
    if repository is None or not _COMMIT.fullmatch(source.commit or ""):
        return None
    return f"{repository}/{_prefix(source)}{'commits' if _is_bitbucket(source) else 'commit'}/{source.commit}"


def spec_link(source: Source | None, path: str | None, line: int | None = None) -> str | None:
    """The line of a spec in the commit that it was read from; None unless the spec certainly is what the commit has."""
    if source is None or source.dirty is not False or not path:
        return None
    repository = https(source.repository)
    place = posixpath.normpath(posixpath.join(source.folder, path))
    outside = place.startswith(("/", "../")) or place in (".", "..")
    if repository is None or not _COMMIT.fullmatch(source.commit or "") or outside:
        return None
    kind = "src" if _is_bitbucket(source) else "blob"
    anchor = f"#{'lines-' if _is_bitbucket(source) else 'L'}{line}" if line else ""
    return f"{repository}/{_prefix(source)}{kind}/{source.commit}/{quote(place.encode(errors='replace'))}{anchor}"


def _prefix(source: Source) -> str:
    """GitLab has its own pages under `/-/`. Its hosts go by many names, but the pages of its CI jobs tell."""
    host = urlsplit(source.repository or "").hostname or ""
    return "-/" if "gitlab" in host or "/-/jobs/" in (source.run_url or "") else ""


def _is_bitbucket(source: Source) -> bool:
    return urlsplit(source.repository or "").hostname == "bitbucket.org"
