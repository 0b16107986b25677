"""Where specs come from, as git and the CI system say."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from nouns import recorded, state

from reconciler.job import Source, State
from reconciler.source import read_source, repository_names
from reconciler.state import dumps

GITHUB = {
    "GITHUB_ACTIONS": "true",
    "GITHUB_SERVER_URL": "https://github.example",
    "GITHUB_REPOSITORY": "team/jobs",
    "GITHUB_RUN_ID": "42",
    "GITHUB_HEAD_REF": "faster",
    "GITHUB_REF_NAME": "7/merge",
}
GITHUB_RUN = "https://github.example/team/jobs/actions/runs/42"
GITLAB = {
    "GITLAB_CI": "true",
    "CI_JOB_URL": "https://gitlab.example/team/jobs/-/jobs/9",
    "CI_PROJECT_URL": "https://gitlab.example/team/jobs",
    "CI_COMMIT_REF_NAME": "main",
}


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=A. Person", "-c", "user.email=a@example.com", "-c", "commit.gpgsign=false"]
    done = subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A folder `ml` of a repository, with one spec that is committed."""
    git(tmp_path, "init", "--quiet", "--initial-branch", "main")
    specs = tmp_path / "ml" / "specs"
    specs.mkdir(parents=True)
    (specs / "a b.yaml").write_text("name: a")
    (tmp_path / "ml" / "other.txt").write_text("1")
    git(tmp_path, "add", "--all")
    git(tmp_path, "commit", "--quiet", "--message", "one")
    return tmp_path / "ml"


def test_a_clean_checkout(work: Path) -> None:
    git(work, "remote", "add", "origin", "https://token:secret@git.example:8443/team/jobs.git")
    commit = git(work, "rev-parse", "HEAD")
    assert read_source(work, ["specs/a b.yaml"], {}) == Source(
        commit=commit,
        branch="main",
        author="A. Person",
        dirty=False,
        folder="ml",
        repository="https://git.example:8443/team/jobs",
    )


def test_only_what_was_read_makes_it_dirty(work: Path) -> None:
    (work / "other.txt").write_text("2")
    (work / "state.json").write_text("new")
    assert read_source(work, ["specs/a b.yaml"], {}).dirty is False
    assert read_source(work, ["specs/a b.yaml", "specs/new.yaml"], {}).dirty is True
    (work / "specs" / "a b.yaml").write_text("name: b")
    assert read_source(work, ["specs/a b.yaml"], {}).dirty is True
    git(work, "add", "--all")
    assert read_source(work, ["specs/a b.yaml"], {}).dirty is True


def test_it_writes_nothing(work: Path) -> None:
    index = work.parent / ".git" / "index"
    (work / "specs" / "a b.yaml").touch()
    before = index.read_bytes()
    assert read_source(work, ["specs/a b.yaml"], {}).dirty is False
    assert index.read_bytes() == before


@pytest.mark.parametrize(
    ("remote", "address"),
    [
        ("git@git.example:team/jobs.git", "https://git.example/team/jobs"),
        ("ssh://git@git.example:2222/team/jobs.git", "https://git.example/team/jobs"),
        ("https://git.example/team/jobs", "https://git.example/team/jobs"),
        ("/srv/git/jobs.git", None),
        ("file:///srv/git/jobs.git", None),
        ("https://[half", None),
        ("https://ghp_s3cret@git.example/team/jobs.git", "https://git.example/team/jobs"),
        ("ssh://robot:s3cret@git.example:22/team/jobs", "https://git.example/team/jobs"),
        ("robot:s3cret@git.example:team/jobs.git", None),
        ("https://robot:1/s3cret@git.example/team/jobs", None),
        ("https://s3cret#@git.example/team/jobs", None),
        ("https://s3cret?@git.example/team/jobs", None),
        ("https://git.example/team/jobs?access_token=s3cret#s3cret", "https://git.example/team/jobs"),
    ],
)
def test_remotes_become_web_addresses(work: Path, remote: str, address: str | None) -> None:
    git(work, "remote", "add", "origin", remote)
    assert read_source(work, [], {}).repository == address


def test_ci_systems_say_what_git_cannot(work: Path) -> None:
    git(work, "checkout", "--quiet", "--detach")
    assert read_source(work, [], {}).branch is None
    source = read_source(work, [], GITHUB)
    assert (source.branch, source.repository) == ("faster", "https://github.example/team/jobs")
    assert source.run_url == "https://github.example/team/jobs/actions/runs/42"
    source = read_source(work, [], GITLAB)
    assert (source.branch, source.repository) == ("main", "https://gitlab.example/team/jobs")
    assert source.run_url == "https://gitlab.example/team/jobs/-/jobs/9"
    assert read_source(work, [], {"BUILD_URL": "https://ci.example/1"}).run_url == "https://ci.example/1"


@pytest.mark.parametrize(
    ("environment", "run_url"),
    [
        ({"BUILD_URL": "https://robot:s3cret@ci.example:8443/job/1/?a=b#c"}, "https://ci.example:8443/job/1/?a=b#c"),
        ({**GITLAB, "CI_JOB_URL": "https://s3cret@gitlab.example/-/jobs/9"}, "https://gitlab.example/-/jobs/9"),
        ({**GITHUB, "GITHUB_SERVER_URL": "https://s3cret@github.example"}, GITHUB_RUN),
        ({"BUILDKITE_BUILD_URL": "javascript:alert('s3cret')"}, None),
        ({"BUILD_URL": "https://[half"}, None),
        ({"BUILD_URL": ""}, None),
    ],
)
def test_the_page_of_a_run_is_a_web_address_without_keys(
    tmp_path: Path, environment: dict[str, str], run_url: str | None
) -> None:
    source = read_source(tmp_path, [], environment)
    assert source.run_url == run_url
    assert "s3cret" not in source.model_dump_json()


def test_what_ci_says_need_not_be_text(tmp_path: Path) -> None:
    """A state with half a character in it could never be saved."""
    odd = b"\x1b[31m\xff\n".decode(errors="surrogateescape")
    source = read_source(tmp_path, [], {**GITLAB, "CI_COMMIT_REF_NAME": odd})
    assert source.branch == "\x1b[31m\ufffd\n"
    record = recorded(source=source)
    assert State.model_validate_json(dumps(state(a=record))).jobs["a"].source == source


def test_without_a_repository_or_a_commit_nothing_is_known(tmp_path: Path) -> None:
    assert read_source(tmp_path, ["a.yaml"], {}) == Source()
    git(tmp_path, "init", "--quiet")
    assert read_source(tmp_path, ["a.yaml"], {}) == Source()


@pytest.mark.parametrize(
    ("path", "named"),
    [
        ("specs/a b.yaml", "ml/specs/a b.yaml"),
        ("specs/gone.yaml", "ml/specs/gone.yaml"),
        ("../shared/./c.yaml", "shared/c.yaml"),
        ("link/a b.yaml", "ml/specs/a b.yaml"),
        (".", "ml"),
        ("a\0b", "ml/a\0b"),
        ("a\0b/c", "a\0b/c"),
        ("x" * 5000, "ml/" + "x" * 5000),
    ],
)
def test_a_file_is_named_from_the_top_of_the_repository(work: Path, path: str, named: str) -> None:
    (work / "link").symlink_to("specs")
    assert repository_names(work, {})(path) == named
    assert repository_names(work, {"GITHUB_WORKSPACE": str(work.parent.parent)})(path) == named, "git knows better"


def test_an_absolute_path_is_named_from_the_top_when_it_is_below_it(work: Path) -> None:
    assert repository_names(work, {})(f"{work}/specs/a.yaml") == "ml/specs/a.yaml"
    assert repository_names(work, {})("/etc/a.yaml") == "/etc/a.yaml"
    assert repository_names(work, {})("../../a.yaml") == str(work.parent.parent.resolve() / "a.yaml")


def test_without_git_the_top_is_the_workspace_of_the_runner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    here = tmp_path / "repo" / "ml"
    here.mkdir(parents=True)
    assert repository_names(here, {})("specs/a.yaml") == "specs/a.yaml"
    assert repository_names(here, {"GITHUB_WORKSPACE": str(here.parent)})("specs/a.yaml") == "ml/specs/a.yaml"
    assert repository_names(here, {"GITHUB_WORKSPACE": "/elsewhere"})("specs/a.yaml") == "specs/a.yaml"


def test_what_is_gone_from_the_specs_or_changed_beside_them_makes_it_dirty(work: Path) -> None:
    (work / "reconciler.yaml").write_text("vars: {k: 3}\n")
    (work / "specs" / "gone.yaml").write_text("name: gone\n")
    git(work, "add", ".")
    git(work, "commit", "--quiet", "-m", "more")
    around = ("specs", "reconciler.yaml")
    assert read_source(work, ["specs/a b.yaml"], {}, around=around).dirty is False
    (work / "reconciler.yaml").write_text("vars: {k: 4}\n")
    assert read_source(work, ["specs/a b.yaml"], {}, around=around).dirty is True
    git(work, "checkout", "--quiet", "reconciler.yaml")
    (work / "specs" / "gone.yaml").unlink()
    assert read_source(work, ["specs/a b.yaml"], {}, around=around).dirty is True
