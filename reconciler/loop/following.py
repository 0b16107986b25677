"""Where the specs of a round come from: the folder that the loop runs in, or a clone of a branch that it keeps there.

The clone is the loop's own. Everything in it is git's and is put right before each round, but for `.reconciler/`,
which no commit may touch: there the state lies.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import re
import shutil
import signal
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from reconciler.errors import ReconcilerError, UsageError
from reconciler.loop.leading import Standby
from reconciler.text import one_line

KEPT = ".reconciler"
"""The folder of the clone that is not git's."""
_TIP = "refs/reconciler/tip"
_PATIENCE = 300.0
"""Seconds for one call of git."""
_QUIETLY = (
    *("-c", "core.hooksPath=/dev/null"),  # hooks of a clone are not run: they would be somebody else's code
    *("-c", "core.fsmonitor=false"),
    *("-c", "gc.autoDetach=false", "-c", "maintenance.autoDetach=false"),  # nothing goes on behind our back
    *("-c", "http.lowSpeedLimit=1000", "-c", "http.lowSpeedTime=60"),
    *("-c", "protocol.ext.allow=never"),
    *("-c", "advice.detachedHead=false"),
)
_NOT_PASSED_ON = re.compile(
    r"GIT_(DIR|WORK_TREE|INDEX_FILE|OBJECT_DIRECTORY|COMMON_DIR|NAMESPACE|PREFIX)|ATAI_API_KEY|.*_HOOK_SECRET"
)
_USER = re.compile(r"(?<=://)[^/@\s]+@")


class FetchFailed(ReconcilerError):
    """The commit of this round could not be had. What is checked out is what it was."""


class Folder:
    """The folder that the loop runs in, as somebody else keeps it."""

    async def newest(self) -> str | None:
        """There is nothing to fetch; which commit is checked out is recorded with each submission."""
        return None

    def refuse(self, state: Path) -> None:
        """A state may lie anywhere."""

    def close(self) -> None:
        """Nothing is held."""


@dataclass(slots=True)
class Clone:
    """A clone of `branch` of the repository at `url`, in `folder`."""

    folder: Path
    """An absolute path."""
    url: str
    branch: str
    _lock: int | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        if urlsplit(self.url).scheme in ("http", "https") and "@" in urlsplit(self.url).netloc:
            hint = "git gets it from a credential helper or from ~/.netrc; see docs/run.md"
            raise UsageError("--repository holds a name or a password, which would be seen by everybody", hint)
        if self.url.startswith("-") or not self.url.strip():
            raise UsageError("--repository is not the address of a repository")

    async def newest(self) -> str:
        """Fetch the branch, check its tip out, and remove what is not of it; the commit.

        Raises `FetchFailed`, `Standby` when another loop has the clone, and `UsageError` when the folder is not a
        clone of ours. Until the checkout nothing is touched.
        """
        self._hold()
        await self._begin()
        quiet = ("--quiet", "--no-tags", "--no-write-fetch-head", "--no-recurse-submodules", "--depth=1", "--force")
        try:
            await self._git("fetch", *quiet, "--", self.url, f"+refs/heads/{self.branch}:{_TIP}")
        except FetchFailed:
            with self._anew_if_it_fails():  # it may be the clone that is broken, and not the server
                await self._git("fsck", "--connectivity-only", "--no-dangling")
            raise
        with self._anew_if_it_fails():
            commit = await self._git("rev-parse", "--verify", f"{_TIP}^{{commit}}")
            kept = (await self._git("ls-tree", "-r", "--name-only", commit, "--", KEPT)).splitlines()
            top = (await self._git("ls-tree", "--name-only", "-z", commit)).split("\0")
        same = [name for name in top if name != KEPT and name.casefold() == KEPT]  # where case does not matter
        if touched := [path for path in kept if path != f"{KEPT}/.gitignore"] + same:
            hint = f"the loop keeps its state in {KEPT}/ itself: 'git rm -r --cached {KEPT}' in the branch"
            raise FetchFailed(f"the commit {commit[:12]} has {one_line(touched[0], 100)}", hint)
        with self._anew_if_it_fails():
            await self._git("checkout", "--quiet", "--force", "--no-recurse-submodules", "-B", self.branch, commit)
            await self._git("clean", "-ffdxq", f"--exclude=/{KEPT}/")
        return commit

    @contextlib.contextmanager
    def _anew_if_it_fails(self) -> Iterator[None]:
        """What git cannot do without a server it cannot do with this clone: the next round makes another one."""
        try:
            yield
        except FetchFailed:
            shutil.rmtree(self.folder / ".git", ignore_errors=True)
            raise

    def refuse(self, state: Path) -> None:
        """Raises `UsageError` when the state lies where a checkout would remove it."""
        real = Path(os.path.realpath(state))
        top = Path(os.path.realpath(self.folder))
        if real.is_relative_to(top) and not real.is_relative_to(top / KEPT):
            hint = f"leave it at its default, or name a file in {KEPT}/ or outside of {top}"
            raise UsageError(f"the state {state} lies in the clone, which is laid anew for each commit", hint)

    def close(self) -> None:
        """Let another loop have the clone."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _hold(self) -> None:
        """Keep other loops out of the clone. The calls of git hold the lock as well: what a killed loop has left
        running ends before another one begins.
        """
        if self._lock is not None:
            return
        path = self.folder / KEPT / "checkout.lock"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise FetchFailed(f"{path} cannot be opened: {error.strerror}") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(descriptor)
            raise Standby(f"another loop has the clone in {self.folder}") from error
        self._lock = descriptor

    async def _begin(self) -> None:
        """A repository of ours, without what a call of git that was cut off has left.

        Raises `UsageError` when the folder is somebody else's.
        """
        ours, repository = self.folder / KEPT / "checkout.ours", self.folder / ".git"
        try:
            if not ours.exists():
                if strangers := sorted(p.name for p in self.folder.iterdir() if p.name != KEPT):
                    hint = "give --checkout a folder of its own: what is not of the commit is removed there"
                    raise UsageError(f"{self.folder} is not empty: it has {one_line(strangers[0], 80)}", hint)
                ours.touch()
            if any(repository.glob("*.lock")) or any((repository / "refs").rglob("*.lock")):
                await asyncio.to_thread(shutil.rmtree, repository)  # it is a copy: a new one is soon there
        except OSError as error:
            raise FetchFailed(f"the clone in {self.folder} cannot be used: {error.strerror}") from error
        if not (repository / "HEAD").exists():
            await self._git("init", "--quiet", f"--initial-branch={self.branch}", "--template=")
        with self._anew_if_it_fails():
            # What is recorded of a job links to it, and a state at a ref (git:) lies there.
            await self._git("config", "remote.origin.url", self.url)

    async def _git(self, *arguments: str) -> str:
        """What git prints. Raises `FetchFailed`."""
        env = {name: value for name, value in os.environ.items() if not _NOT_PASSED_ON.fullmatch(name)}
        env |= {"GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C", "GIT_DIR": str(self.folder / ".git")}
        try:
            process = await asyncio.create_subprocess_exec(
                "git",
                *_QUIETLY,
                *arguments,
                cwd=self.folder,
                env=env,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                start_new_session=True,  # nothing can ask on the terminal, and all of it can be ended
                pass_fds=(self._lock,) if self._lock is not None else (),
            )
        except OSError as error:
            raise FetchFailed(
                f"git cannot be run: {error.strerror}", "install git, or leave --repository out"
            ) from error
        try:
            async with asyncio.timeout(_PATIENCE):
                out, said = await process.communicate()
        except TimeoutError as error:
            raise FetchFailed(f"git {arguments[0]}: no end after {_PATIENCE:g} s") from error
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                await process.wait()
        if process.returncode:
            raise FetchFailed(f"git {arguments[0]}: {without_users(said.decode(errors='replace').strip())}")
        return out.decode(errors="surrogateescape").strip("\n")


def without_users(text: str, longest: int = 1000) -> str:
    """`text` as one line, without what stands before the host in an address: it may be a password."""
    return one_line(_USER.sub("", text.replace("\n", " ")), longest)
