"""Git as the state needs it: commits that hold given files on top of a branch, made beside the checkout."""

from __future__ import annotations

import base64
import os
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from reconciler.client.address import is_loopback
from reconciler.errors import ReconcilerError
from reconciler.text import one_line

_PATIENCE = 300  # seconds for one call of git
_MOVED = ("non-fast-forward", "fetch first", "cannot lock ref", "stale info")
ABSENT = ""
"""The blob of a file that is not there."""


class GitFailed(ReconcilerError):
    """A call of git failed."""


class Moved(GitFailed):
    """The branch has moved: a push was not a fast-forward."""


@dataclass(frozen=True, slots=True)
class Repository:
    """The checkout at `top`, and where its branches are. The token goes to `server` only, and on no command line."""

    top: Path
    remote: str = "origin"
    token: str | None = field(default=None, repr=False)
    server: str | None = None
    user: str = "x-access-token"
    author: tuple[str, str] = ("reconciler", "reconciler@noreply.invalid")

    def git(self, *arguments: str, data: bytes | None = None, index: Path | None = None) -> str:
        """What git prints. Raises `GitFailed`."""
        return self.git_bytes(*arguments, data=data, index=index).decode(errors="surrogateescape").strip("\n")

    def git_bytes(self, *arguments: str, data: bytes | None = None, index: Path | None = None) -> bytes:
        settings = {"GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C"}
        env = {**os.environ, **self.credentials(os.environ), **self._identity(), **settings}
        if index is not None:
            env["GIT_INDEX_FILE"] = str(index)
        try:
            # Hooks of the checkout are not run: they come with the specs.
            done = subprocess.run(  # noqa: S603
                ["git", "-c", "core.hooksPath=/dev/null", "-c", "core.fsmonitor=false", *arguments],  # noqa: S607
                cwd=self.top,
                env=env,
                input=data if data is not None else b"",
                capture_output=True,
                timeout=_PATIENCE,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise GitFailed(f"git {arguments[0]}: {error}") from error
        if done.returncode:
            said = one_line(done.stderr.decode(errors="replace").strip(), 1000)
            kind = Moved if any(sign in said for sign in _MOVED) else GitFailed
            raise kind(f"git {arguments[0]}: {said}")
        return done.stdout

    def _identity(self) -> Mapping[str, str]:
        name, mail = self.author
        return {f"GIT_{who}_{what}": value
                for who in ("AUTHOR", "COMMITTER") for what, value in (("NAME", name), ("EMAIL", mail))}  # fmt: skip

    def credentials(self, environment: Mapping[str, str]) -> Mapping[str, str]:
        """The token as git's own setting for one server; what a checkout has left for it there is put aside. To be
        added to `environment`, which may have settings of its own.
        """
        address = urlsplit(self.server or "")
        if not self.token or not self.server or not (address.scheme == "https" or is_loopback(address.hostname or "")):
            return {}
        key = f"http.{self.server.rstrip('/')}/.extraheader"
        basic = base64.b64encode(f"{self.user}:{self.token}".encode()).decode()
        count = environment.get("GIT_CONFIG_COUNT", "")
        first = int(count) if count.isdecimal() else 0
        return {
            "GIT_CONFIG_COUNT": str(first + 2),
            f"GIT_CONFIG_KEY_{first}": key,
            f"GIT_CONFIG_VALUE_{first}": "",
            f"GIT_CONFIG_KEY_{first + 1}": key,
            f"GIT_CONFIG_VALUE_{first + 1}": f"AUTHORIZATION: basic {basic}",
        }

    # -- reading --

    def tip(self, branch: str) -> str:
        """The commit that `branch` has at the remote now, fetched."""
        self.git("fetch", "--no-tags", "--quiet", self.remote, f"+refs/heads/{branch}:refs/reconciler/tip")
        return self.git("rev-parse", "--verify", "refs/reconciler/tip^{commit}")

    def blob(self, commit: str, path: str) -> str:
        """The blob of a file in a commit, `ABSENT` if it has none."""
        line = self.git("ls-tree", "-z", commit, "--", f":(top,literal){path}").rstrip("\0")
        return line.split()[2] if line else ABSENT

    def content(self, blob: str) -> bytes:
        return self.git_bytes("cat-file", "blob", blob)

    def is_ancestor(self, commit: str, of: str) -> bool:
        try:
            self.git("merge-base", "--is-ancestor", commit, of)
        except GitFailed:
            return False
        return True

    def changed(self, before: str, after: str, folder: str) -> set[str]:
        """The files of `folder` that differ between two commits; `.` is everything."""
        place = [] if folder in ("", ".") else ["--", f":(top,literal){folder}"]
        return set(self.git("diff", "-z", "--no-renames", "--name-only", before, after, *place).split("\0")) - {""}

    def note(self, name: str) -> Path:
        """A file of the repository's own folder, which no checkout has."""
        return self.top / self.git("rev-parse", "--git-path", name)

    # -- writing --

    def store(self, data: bytes) -> str:
        return self.git("hash-object", "-w", "--stdin", data=data)

    def commit(self, parent: str, files: Mapping[str, str], message: str) -> str:
        """A commit on `parent` in which only `files` (path → blob) are other. Neither checkout nor index is touched."""
        with tempfile.TemporaryDirectory(prefix="reconciler-index-") as folder:
            index = Path(folder, "index")
            self.git("read-tree", parent, index=index)
            for path, blob in files.items():
                if blob == ABSENT:
                    self.git("rm", "--cached", "--quiet", "--ignore-unmatch", "--", path, index=index)
                else:
                    self.git("update-index", "--add", "--cacheinfo", f"100644,{blob},{path}", index=index)
            tree = self.git("write-tree", index=index)
        return self.git("commit-tree", tree, "-p", parent, "-m", message)

    def push(self, commit: str, branch: str) -> None:
        """Raises `Moved` when the branch has other commits meanwhile, else `GitFailed`."""
        self.git("push", "--quiet", "--no-verify", self.remote, f"{commit}:refs/heads/{branch}")


def pushed_by_token(environment: Mapping[str, str], top: Path) -> Repository | None:
    """The project of a GitLab job, as the token sees it that may push; None where there is no such token."""
    token = environment.get("RECONCILER_PUSH_TOKEN")
    if not token or "CI_PROJECT_URL" not in environment:
        return None
    remote, server = f"{environment['CI_PROJECT_URL']}.git", environment.get("CI_SERVER_URL")
    return Repository(top, remote, token=token, server=server, user="oauth2")
