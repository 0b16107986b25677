"""The clone that the loop keeps: real repositories, pushes, force-pushes, servers that are gone, calls cut off."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.cli.options import Options
from reconciler.cli.running import _follow
from reconciler.errors import UsageError
from reconciler.loop.following import Clone, FetchFailed, without_users
from reconciler.loop.leading import Standby


@pytest.fixture(autouse=True)
def _plain_git(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GIT_CONFIG_GLOBAL", "GIT_CONFIG_SYSTEM"):
        monkeypatch.setenv(name, "/dev/null")
    for who in ("AUTHOR", "COMMITTER"):
        monkeypatch.setenv(f"GIT_{who}_NAME", "Ann")
        monkeypatch.setenv(f"GIT_{who}_EMAIL", "ann@example.com")


class Origin:
    """A bare repository, and a checkout of somebody who pushes to it."""

    def __init__(self, folder: Path) -> None:
        self.bare, self.work = folder / "origin.git", folder / "work"
        git(folder, "init", "--quiet", "--bare", "--initial-branch=main", str(self.bare))
        git(folder, "clone", "--quiet", str(self.bare), str(self.work))
        git(self.work, "checkout", "--quiet", "-B", "main")
        self.push(**{"specs/a.yaml": "one"})

    def push(self, *options: str, **files: str | None) -> str:
        """Commit and push; None removes a file."""
        for name, text in files.items():
            path = self.work / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.unlink(missing_ok=True) if text is None else path.write_text(text)
        git(self.work, "add", "--all", "--force")
        git(self.work, "commit", "--quiet", "--allow-empty", "--message", "change")
        git(self.work, "push", "--quiet", *options, "origin", "HEAD")
        return git(self.work, "rev-parse", "HEAD")


def git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def origin(tmp_path: Path) -> Origin:
    return Origin(tmp_path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "clone").mkdir()
    return tmp_path / "clone"


@contextlib.contextmanager
def cloned(folder: Path, url: str | Path, branch: str = "main") -> Iterator[Clone]:
    clone = Clone(folder, str(url), branch)
    try:
        yield clone
    finally:
        clone.close()


def newest(clone: Clone) -> str:
    return asyncio.run(clone.newest())


def files(folder: Path) -> set[str]:
    found = (str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())
    return {name for name in found if not name.startswith((".git/", ".reconciler/"))}


def test_it_follows_each_commit_of_the_branch(origin: Origin, folder: Path) -> None:
    with cloned(folder, origin.bare) as clone:
        first = newest(clone)
        assert first == git(origin.work, "rev-parse", "HEAD")
        second = origin.push(**{"specs/b.yaml": "two", "specs/a.yaml": None})
        assert newest(clone) == second
        assert files(folder) == {"specs/b.yaml"}
        assert newest(clone) == second
    assert git(folder, "symbolic-ref", "--short", "HEAD") == "main", "what specs and records call the branch"


def test_a_force_push_is_followed(origin: Origin, folder: Path) -> None:
    with cloned(folder, origin.bare) as clone:
        origin.push(**{"specs/b.yaml": "two"})
        newest(clone)
        git(origin.work, "reset", "--quiet", "--hard", "HEAD~1")
        forced = origin.push("--force", **{"specs/c.yaml": "three"})
        assert newest(clone) == forced
        assert files(folder) == {"specs/a.yaml", "specs/c.yaml"}


def test_another_branch(origin: Origin, folder: Path) -> None:
    git(origin.work, "checkout", "--quiet", "-b", "team/x")
    commit = origin.push(x="x")
    with cloned(folder, origin.bare, "team/x") as clone:
        assert newest(clone) == commit


def test_a_server_that_is_gone_changes_nothing_and_may_come_back(origin: Origin, folder: Path) -> None:
    with cloned(folder, origin.bare) as clone:
        newest(clone)
        second = origin.push(**{"specs/a.yaml": "two"})
        away = origin.bare.rename(origin.bare.with_name("away"))
        with pytest.raises(FetchFailed, match="git fetch"):
            newest(clone)
        assert (folder / "specs/a.yaml").read_text() == "one"
        away.rename(origin.bare)
        assert newest(clone) == second
        assert (folder / "specs/a.yaml").read_text() == "two"


@pytest.mark.parametrize("branch", ["nowhere", "a:b", "*", "a b", "-x", ""])
def test_a_branch_that_is_not_there(origin: Origin, folder: Path, branch: str) -> None:
    with cloned(folder, origin.bare, branch) as clone, pytest.raises(FetchFailed):
        newest(clone)
    assert files(folder) == set()


def test_the_state_survives_every_commit(origin: Origin, folder: Path) -> None:
    with cloned(folder, origin.bare) as clone:
        newest(clone)
        (folder / ".reconciler/state.json").write_text("the record")
        origin.push(**{".gitignore": ".reconciler\nother\n"})
        (folder / "other").write_text("left by hand")
        newest(clone)
        assert (folder / ".reconciler/state.json").read_text() == "the record"
        assert not (folder / "other").exists(), "what is no part of the commit could be taken for a spec"


@pytest.mark.parametrize("name", [".reconciler/state.json", ".reconciler/x/y", ".reconciler"])
def test_a_commit_that_would_touch_the_state_is_refused(origin: Origin, folder: Path, name: str) -> None:
    with cloned(folder, origin.bare) as clone:
        newest(clone)
        (folder / ".reconciler/state.json").write_text("the record")
        origin.push(**{name: "another"})
        with pytest.raises(FetchFailed, match=r"has \.reconciler") as refused:
            newest(clone)
        assert "git rm" in (refused.value.hint or "")
        assert (folder / ".reconciler/state.json").read_text() == "the record"
        origin.push(**{name: None})
        newest(clone)


def test_a_name_that_is_the_folder_of_the_state_where_case_does_not_matter_is_refused(
    origin: Origin, folder: Path
) -> None:
    with cloned(folder, origin.bare) as clone:
        newest(clone)
        origin.push(**{".Reconciler/state.json": "not the record"})
        with pytest.raises(FetchFailed, match=r"the commit .* has \.Reconciler"):
            newest(clone)
        assert files(folder) == {"specs/a.yaml"}


def test_rules_about_what_git_ignores_do_not_reach_the_state(origin: Origin, folder: Path) -> None:
    with cloned(folder, origin.bare) as clone:
        newest(clone)
        for name in ("state.json", "state.journal", "local/jobs.db"):
            (folder / ".reconciler" / name).parent.mkdir(exist_ok=True)
            (folder / ".reconciler" / name).write_text("ours")
        for rules in ("", "!*\n", "*\n", None):
            commit = origin.push(**{".reconciler/.gitignore": rules, "specs/n.yaml": f"{rules}"})
            assert newest(clone) == commit
            for name in ("state.json", "state.journal", "local/jobs.db"):
                assert (folder / ".reconciler" / name).read_text() == "ours"
        (origin.work / ".reconciler").mkdir(exist_ok=True)
        (origin.work / ".reconciler/.gitignore").symlink_to("state.json")
        assert newest(clone) != (commit := origin.push(x="x"))
        assert newest(clone) == commit
        assert (folder / ".reconciler/.gitignore").is_symlink()
        assert (folder / ".reconciler/state.json").read_text() == "ours"


def test_what_was_changed_by_hand_in_the_clone_is_put_right(origin: Origin, folder: Path) -> None:
    with cloned(folder, origin.bare) as clone:
        newest(clone)
        (folder / "specs/a.yaml").write_text("by hand")
        (folder / "specs/new.yaml").write_text("by hand")
        (folder / "nested").mkdir()
        git(folder / "nested", "init", "--quiet")
        newest(clone)
        assert (folder / "specs/a.yaml").read_text() == "one"
        assert files(folder) == {"specs/a.yaml"}


def test_no_hook_runs_and_no_submodule_is_followed(origin: Origin, folder: Path, tmp_path: Path) -> None:
    with cloned(folder, origin.bare) as clone:
        newest(clone)
        hook = folder / ".git/hooks/post-checkout"
        hook.parent.mkdir(exist_ok=True)
        hook.write_text(f"#!/bin/sh\ntouch {tmp_path}/ran\n")
        hook.chmod(0o755)
        git(origin.work, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", str(origin.bare), "sub")
        origin.push()
        newest(clone)
        assert not (tmp_path / "ran").exists()
        assert list((folder / "sub").iterdir()) == []


def test_a_clone_that_was_cut_off_is_made_anew(origin: Origin, folder: Path) -> None:
    with cloned(folder, origin.bare) as clone:
        newest(clone)
        for lock in (".git/index.lock", ".git/refs/heads/main.lock"):
            (folder / lock).touch()
            second = origin.push(**{"specs/a.yaml": lock})
            assert newest(clone) == second


@pytest.mark.parametrize("broken", ["objects", "index", "HEAD", "."])
def test_a_clone_that_is_broken_is_made_anew(origin: Origin, folder: Path, broken: str) -> None:
    with cloned(folder, origin.bare) as clone:
        newest(clone)
        (folder / ".reconciler/state.json").write_text("the record")
        place = folder / ".git" / broken
        for file in place.rglob("*") if place.is_dir() else [place]:
            if file.is_file():
                file.chmod(0o644)
                file.write_bytes(b"\0" * 20)
        with contextlib.suppress(FetchFailed):
            newest(clone)
        second = origin.push(**{"specs/a.yaml": None, "specs/b.yaml": "two"})
        assert newest(clone) == second
        assert files(folder) == {"specs/b.yaml"}
        assert (folder / ".reconciler/state.json").read_text() == "the record"


def test_a_folder_of_somebody_else_is_left_alone(origin: Origin, folder: Path) -> None:
    (folder / "thesis.tex").write_text("years of work")
    with cloned(folder, origin.bare) as clone, pytest.raises(UsageError, match="not empty"):
        newest(clone)
    with cloned(origin.work, origin.bare) as clone, pytest.raises(UsageError, match="not empty"):
        newest(clone)
    assert (folder / "thesis.tex").read_text() == "years of work"


def test_two_loops_do_not_share_a_clone(origin: Origin, folder: Path) -> None:
    with cloned(folder, origin.bare) as first, cloned(folder, origin.bare) as second:
        newest(first)
        with pytest.raises(Standby):
            newest(second)
        first.close()
        newest(second)


def test_what_a_killed_loop_left_running_keeps_the_clone_until_it_ends(
    origin: Origin, folder: Path, tmp_path: Path
) -> None:
    """A git that hangs belongs to a loop that is killed: the next loop does not write under its hands."""
    slow = tmp_path / "bin" / "git"
    slow.parent.mkdir()
    slow.write_text(
        f"#!/bin/sh\n[ -e {tmp_path}/go ] || {{ touch {tmp_path}/hangs; sleep 60 & echo $! > {tmp_path}/pid; wait; }}\n"
    )
    slow.chmod(0o755)
    code = (
        "import asyncio, sys; from pathlib import Path; from reconciler.loop.following import Clone\n"
        f"asyncio.run(Clone(Path({str(folder)!r}), {str(origin.bare)!r}, 'main').newest())"
    )
    env = {**os.environ, "PATH": f"{slow.parent}:{os.environ['PATH']}"}
    loop = subprocess.Popen([sys.executable, "-c", code], env=env)
    until = time.monotonic() + 30
    while not (tmp_path / "pid").exists() or not (tmp_path / "pid").read_text().strip():
        assert time.monotonic() < until
        time.sleep(0.02)
    loop.kill()
    loop.wait()
    with cloned(folder, origin.bare) as clone:
        with pytest.raises(Standby):
            newest(clone)
        os.kill(int((tmp_path / "pid").read_text()), 9)
        while True:
            with contextlib.suppress(Standby):
                assert newest(clone)
                break
            assert time.monotonic() < until
            time.sleep(0.02)


@pytest.mark.parametrize("url", ["https://ann:secret@host/x.git", "https://token@host/x.git", "-u", " "])
def test_an_address_with_a_password_or_none_at_all_is_refused(folder: Path, url: str) -> None:
    with pytest.raises(UsageError) as refused:
        Clone(folder, url, "main")
    assert "secret" not in f"{refused.value.message}{refused.value.hint}"
    assert "token" not in refused.value.message


def test_messages_hold_neither_passwords_nor_lines() -> None:
    said = "fatal: unable to access 'https://ann:s3cret@host/x/': no\n\x1b[2J"
    assert without_users(said) == "fatal: unable to access 'https://host/x/': no \\u001b[2J"


def test_git_gets_neither_the_key_nor_the_secret(origin: Origin, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATAI_API_KEY", "sk_1")
    monkeypatch.setenv("RECONCILER_HOOK_SECRET", "s" * 20)
    monkeypatch.setenv("GIT_DIR", str(origin.work / ".git"))
    helper = folder.parent / "ext.sh"
    helper.write_text(f"#!/bin/sh\nenv > {folder.parent}/env\nexit 1\n")
    helper.chmod(0o755)
    monkeypatch.setenv("GIT_SSH_COMMAND", str(helper))
    with cloned(folder, "ssh://host/x.git") as clone, pytest.raises(FetchFailed):
        newest(clone)
    told = (folder.parent / "env").read_text()
    assert "sk_1" not in told
    assert "ssssss" not in told


def test_a_state_in_the_clone_must_lie_where_no_commit_reaches_it(origin: Origin, folder: Path) -> None:
    with cloned(folder, origin.bare) as clone:
        clone.refuse(folder / ".reconciler/state.json")
        clone.refuse(folder.parent / "state.json")
        for inside in (folder / "state.json", folder / ".reconciler/../state.json", folder / ".git/state.json"):
            with pytest.raises(UsageError, match="lies in the clone"):
                clone.refuse(inside)


@pytest.mark.parametrize(("asked", "where"), [("cache", "cache"), ("off", None)])
def test_what_is_remembered_of_specs_does_not_come_from_the_clone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: str, where: str | None
) -> None:
    """A relative place is seen from where the loop was started: a commit can bring along a folder of that name."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RECONCILER_CACHE", asked)
    options = Options(state="state.json")
    _follow(options, {"repository": "https://host/x.git", "branch": None, "checkout": "clone"})
    settings = options.settings("run")
    assert settings.root == tmp_path / "clone"
    assert settings.cache == (tmp_path / where if where else None)
    assert settings.state == tmp_path / "state.json"
