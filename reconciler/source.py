"""Where the specs come from: the commit that is checked out, and the CI run, if there is one."""

from __future__ import annotations

import os
import posixpath
import subprocess
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from pathlib import Path
from urllib.parse import urlsplit

from reconciler.job import Source

_PATIENCE = 10  # seconds for one call of git
_RUNS = ("BUILD_URL", "CIRCLE_BUILD_URL", "BUILDKITE_BUILD_URL")  # Jenkins, CircleCI, Buildkite


def read_source(
    root: Path, paths: Iterable[str], environment: Mapping[str, str] = os.environ, *, around: Iterable[str] = ()
) -> Source:
    """The source of the files `paths` of the working directory `root`. Without git most of it stays None.

    `around`: files and folders in which a change, or something that is gone, counts as well.
    """
    run_url, repository, branch = _ci(environment)
    commit, prefix = _git(root, "rev-parse", "--verify", "HEAD"), _git(root, "rev-parse", "--show-prefix")
    if commit is None or prefix is None:
        return Source(run_url=run_url, repository=repository, branch=branch)
    folder = prefix.rstrip("/")
    return Source(
        commit=commit,
        branch=branch or _git(root, "symbolic-ref", "--short", "--quiet", "HEAD"),
        author=_git(root, "show", "--no-patch", "--no-show-signature", "--format=%an", "HEAD"),
        dirty=_dirty(root, folder, paths, around),
        folder=folder,
        repository=repository or _web_address(_git(root, "config", "--get", "remote.origin.url") or ""),
        run_url=run_url,
    )


def git_names(root: Path, environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """What specs can name as `git.commit` and `git.branch`; without git, or a commit, there is none."""
    commit = _git(root, "rev-parse", "--verify", "HEAD")
    branch = _ci(environment)[2] or _git(root, "symbolic-ref", "--short", "--quiet", "HEAD")
    return {name: value for name, value in (("commit", commit), ("branch", branch)) if commit and value}


def repository_names(root: Path, environment: Mapping[str, str] = os.environ) -> Callable[[str], str]:
    """From how the working directory `root` names a file to how the repository does: from its top, which may be above.

    Without git the top is `GITHUB_WORKSPACE`, else `root`. A file outside keeps its whole path.
    """
    here = os.path.realpath(root)
    workspace = os.path.realpath(environment.get("GITHUB_WORKSPACE") or here)
    top = _git(root, "rev-parse", "--show-toplevel") or (workspace if Path(here).is_relative_to(workspace) else here)
    top = os.path.realpath(top)

    @cache
    def name(path: str) -> str:
        # A folder on the way may be a link; the repository has its files where they really are.
        folder, file = os.path.split(os.path.normpath(os.path.join(here, path)))  # noqa: PTH118 - not a path of ours
        try:
            real = Path(os.path.realpath(folder), file)
        except ValueError:  # a NUL
            return path
        return real.relative_to(top).as_posix() if real.is_relative_to(top) else real.as_posix()

    return name


def _dirty(root: Path, folder: str, paths: Iterable[str], around: Iterable[str]) -> bool | None:
    """Whether any of the files, or anything committed `around` them, is not what the commit has; None when git does not
    say.
    """
    files = {posixpath.normpath(posixpath.join(folder, path)) for path in paths}
    committed = _git(root, "ls-tree", "-r", "-z", "--full-tree", "--name-only", "HEAD")
    changed = _git(root, "diff", "-z", "--name-only", "--no-ext-diff", "--no-renames", "HEAD")
    if committed is None or changed is None:
        return None
    other = set(changed.split("\0")) - {""}
    places = {posixpath.normpath(posixpath.join(folder, path)) for path in around}
    gone = any(name == place or name.startswith(f"{place}/") for name in other for place in places)
    return gone or not files <= set(committed.split("\0")) - other


def _ci(environment: Mapping[str, str]) -> tuple[str | None, str | None, str | None]:
    """The page of this CI run, the web address of the repository, and the branch."""
    env = {name: _text(value) for name, value in environment.items()}
    if env.get("GITHUB_ACTIONS") == "true" and "GITHUB_REPOSITORY" in env:
        repository = f"{env.get('GITHUB_SERVER_URL', 'https://github.com')}/{env['GITHUB_REPOSITORY']}"
        run = env.get("GITHUB_RUN_ID")
        branch = env.get("GITHUB_HEAD_REF") or env.get("GITHUB_REF_NAME")
        return _page(f"{repository}/actions/runs/{run}") if run else None, _page(repository), branch
    if env.get("GITLAB_CI") == "true":
        branch = env.get("CI_MERGE_REQUEST_SOURCE_BRANCH_NAME") or env.get("CI_COMMIT_REF_NAME")
        return _page(env.get("CI_JOB_URL")), _page(env.get("CI_PROJECT_URL")), branch
    return next((_page(env[name]) for name in _RUNS if name in env), None), None, None


def _text(value: str) -> str:
    """An environment variable need not be UTF-8; the state is."""
    return value.encode(errors="surrogateescape").decode(errors="replace")


def _page(address: str | None) -> str | None:
    """A web address without a name or key that it may hold; None for anything else."""
    try:
        parts = urlsplit(address or "")
    except ValueError:
        return None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return None
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


def _web_address(remote: str) -> str | None:
    """The https address of a remote, without a name or key that it may hold; None for one without a page."""
    if "://" not in remote and ":" in remote:  # git@host:group/project.git
        host, _, path = remote.partition(":")
        remote = f"ssh://{host}/{path}"
    try:
        parts = urlsplit(remote)
        port = f":{parts.port}" if parts.port and parts.scheme.startswith("http") else ""
    except ValueError:
        return None
    path = parts.path.strip("/").removesuffix(".git")
    if parts.scheme not in ("http", "https", "ssh", "git") or not parts.hostname:
        return None
    # Where a key with a slash, a # or a ? in it ends is not to be told: then nothing is kept.
    return f"https://{parts.hostname}{port}/{path}" if path and "@" not in path else None


def _git(root: Path, *arguments: str) -> str | None:
    """What git prints; None when it fails. It writes nothing."""
    try:
        done = subprocess.run(  # noqa: S603
            ["git", "--no-optional-locks", "-c", "core.fsmonitor=false", *arguments],  # noqa: S607
            cwd=root,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_PATIENCE,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip("\n") if done.returncode == 0 else None
