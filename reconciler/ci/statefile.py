"""The state between runs, in the repository itself: taken from the branch before an apply, pushed back after it.

A checkout may be older than the state: runs wait for one another, and the one before has pushed a newer one. To apply
with an old state would submit again what that one has submitted. So the state is always that of the branch, and a
state that somebody else has pushed meanwhile is never replaced: ours goes to a branch of its own then.

The journal goes with it. An apply that was killed leaves submissions in it whose outcome is not known; the next run,
on another machine, settles them only if it has the journal.
"""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Mapping
from pathlib import Path

from reconciler.ci.repository import ABSENT, GitFailed, Moved, Repository, pushed_by_token
from reconciler.ci.runner import Runner
from reconciler.durable import make_folder, read_file, replace_file
from reconciler.errors import ExitCode, ReconcilerError, UsageError

_TRIES = 8
_BASE = "reconciler-state.json"


def take(runner: Runner) -> int:
    """Put the branch's state in place. If the branch has newer specs, this run is superseded, and does nothing."""
    repository, branch = _repository(runner), _branch(runner)
    paths = _paths(runner, repository)
    repository.note(_BASE).unlink(missing_ok=True)  # of an earlier run in the same checkout
    head, tip = repository.git("rev-parse", "HEAD"), repository.tip(branch)
    if _superseded(runner, repository, head, tip, paths):
        runner.note(superseded=True, code=0, verdict="Superseded: the branch has newer specs; nothing was done.")
        runner.annotate("notice", f"{branch} has newer commits, whose own run applies them; nothing was done")
        return ExitCode.OK
    base = {path: repository.blob(tip, path) for path in paths}
    for path, blob in base.items():
        file = repository.top / path
        if blob != ABSENT:
            make_folder(file.parent)
            replace_file(file, repository.content(blob))
        else:
            file.unlink(missing_ok=True)
    repository.note(_BASE).write_text(json.dumps(base), encoding="utf-8")
    return ExitCode.OK


def keep(runner: Runner) -> int:
    """Commit the state, and the journal if there is one, and push them; also after a failed or cancelled apply."""
    repository, branch = _repository(runner), _branch(runner)
    taken = repository.note(_BASE)
    if not taken.exists():
        return ExitCode.OK  # nothing was applied: the state was never taken
    base: dict[str, str] = json.loads(taken.read_bytes())
    ours = {path: _stored(repository, path) for path in base}
    if ours == base:
        runner.say("the state has not changed")
        return ExitCode.OK
    message = f"reconciler: state serial {_serial(repository, next(iter(ours)))} [skip ci]"
    try:
        commit = _push(repository, branch, base, ours, message)
    except ReconcilerError as error:
        return _rescue(runner, repository, branch, ours, message, error)
    runner.say(f"pushed to {branch}: {message} ({commit[:12]})")
    taken.write_text(json.dumps(ours), encoding="utf-8")
    return ExitCode.OK


def _push(repository: Repository, branch: str, base: Mapping[str, str], ours: Mapping[str, str], message: str) -> str:
    """The commit that was pushed. Raises `GitFailed`, and `UsageError` when the branch has a state of somebody else."""
    for attempt in range(_TRIES):
        tip = repository.tip(branch)
        theirs = {path: repository.blob(tip, path) for path in ours}
        if theirs == ours:
            return tip
        if theirs != base:
            raise UsageError("another run has pushed a state meanwhile", "let only one apply run at a time")
        commit = repository.commit(tip, ours, message)
        try:
            repository.push(commit, branch)
        except Moved:
            time.sleep(random.uniform(0, min(10.0, 0.5 * 2**attempt)))  # noqa: S311
        else:
            return commit
    raise GitFailed(f"{branch} has moved {_TRIES} times while the state was pushed")


def _rescue(
    runner: Runner,
    repository: Repository,
    branch: str,
    ours: Mapping[str, str],
    message: str,
    error: ReconcilerError,
) -> int:
    """The state is the only record of what was submitted: it goes to a branch of its own, and the job fails."""
    run = runner.environment.get("GITHUB_RUN_ID") or runner.environment.get("CI_JOB_ID") or "0"
    attempt = runner.environment.get("GITHUB_RUN_ATTEMPT", "1")
    aside = f"reconciler-state/{run}-{attempt}"
    why = f"the state could not be pushed to {branch}: {error.message}"
    try:
        repository.push(repository.commit(repository.git("rev-parse", "HEAD"), ours, message), aside)
    except GitFailed as failed:
        runner.annotate("error", f"{why}. Nor could it be pushed to {aside}: {failed.message}. The log has it")
        _dump(runner, repository, ours)
    else:
        runner.annotate("error", f"{why}. It is in the branch {aside}: bring it to {branch} before anything is applied")
    if "RECONCILER_CI_FOLDER" in runner.environment:
        runner.note(code=1, verdict="The state could not be pushed.")
        return ExitCode.OK  # the verdict fails the job, when all is reported
    return ExitCode.FAILED


def _dump(runner: Runner, repository: Repository, ours: Mapping[str, str]) -> None:
    """The last resort: the log keeps the state and the journal. They hold no key."""
    with runner.verbatim():
        for path, blob in ours.items():
            if blob != ABSENT:
                runner.say(f"--- {path}\n{repository.content(blob).decode(errors='backslashreplace')}")


def _superseded(runner: Runner, repository: Repository, head: str, tip: str, paths: tuple[str, ...]) -> bool:
    if head == tip:
        return False
    if not repository.is_ancestor(head, tip):
        return True
    folder = os.path.relpath(runner.folder.resolve(), repository.top)
    return bool(repository.changed(head, tip, folder) - set(paths))


def _repository(runner: Runner) -> Repository:
    env = runner.environment
    folder = runner.folder
    top = Path(Repository(folder).git("rev-parse", "--show-toplevel"))
    if runner.on_github:
        author = ("github-actions[bot]", "41898282+github-actions[bot]@users.noreply.github.com")
        server = env.get("GITHUB_SERVER_URL", "https://github.com")
        return Repository(top, token=env.get("INPUT_TOKEN") or None, server=server, author=author)
    return pushed_by_token(env, top) or Repository(top)


def _branch(runner: Runner) -> str:
    """The branch that is applied: that of the run."""
    env = runner.environment
    ref = env.get("GITHUB_REF", "") if runner.on_github else f"refs/heads/{env.get('CI_COMMIT_BRANCH', '')}"
    branch = ref.removeprefix("refs/heads/")
    if not ref.startswith("refs/heads/") or not branch:
        raise UsageError(f"there is no branch to commit the state to: this run is for {ref or 'nothing'}")
    return branch


def _paths(runner: Runner, repository: Repository) -> tuple[str, ...]:
    """The state and its journal, relative to the top of the repository; nothing when the state lies at a place that
    is shared, where apply reads and writes it by itself.
    """
    from reconciler.address import is_address
    from reconciler.config import read_config
    from reconciler.reconcile.settings import Settings

    chosen: str | None = runner.input("state") or runner.environment.get("RECONCILER_STATE")
    chosen = chosen or read_config(runner.folder, runner.environment_name).get("state") or ".reconciler/state.json"
    if is_address(chosen):
        return ()
    state = runner.folder.resolve() / chosen
    try:
        path = state.parent.resolve().relative_to(repository.top.resolve()) / state.name
    except ValueError as error:
        hint = "only without commit-state it may be elsewhere"
        raise UsageError(f"the state {state} is not in the repository", hint) from error
    journal = Settings(root=runner.folder, state=path, endpoint="").journal
    return path.as_posix(), journal.as_posix()


def _stored(repository: Repository, path: str) -> str:
    data = read_file(repository.top / path)
    return ABSENT if data is None else repository.store(data)


def _serial(repository: Repository, state: str) -> int | str:
    try:
        serial = json.loads(read_file(repository.top / state) or b"{}").get("serial", 0)
    except (ValueError, AttributeError):
        return "unknown"
    return serial if type(serial) is int else "unknown"
