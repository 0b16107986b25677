"""`init`: what it writes is what the tools of others take. Its messages are in the acceptance transcripts."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from reconciler.errors import UsageError
from reconciler.reconcile.starting import Origin, guess_ci, parse_origin, start

ORIGIN = Origin("https://github.com/octo/reconciler", "0123456789" * 4)


def run(*command: str, folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_linters_have_nothing_to_say_about_the_workflow(tmp_path: Path) -> None:
    start(tmp_path, "github", ORIGIN)
    workflow = ".github/workflows/reconciler.yml"
    tools = Path(sys.executable).parent
    run(str(tools / "zizmor"), "--offline", "--no-progress", "--persona", "pedantic", workflow, folder=tmp_path)
    schema = ("--builtin-schema", "vendor.github-workflows")
    run(sys.executable, "-m", "check_jsonschema", *schema, workflow, folder=tmp_path)
    assert f"uses: octo/reconciler@{ORIGIN.commit}" in (tmp_path / workflow).read_text()


def test_the_workflow_gives_the_action_only_inputs_that_it_has(tmp_path: Path) -> None:
    start(tmp_path, "github", ORIGIN)
    action = yaml.safe_load((Path(__file__).parents[2] / "action.yml").read_text())
    jobs = yaml.safe_load((tmp_path / ".github/workflows/reconciler.yml").read_text())["jobs"]
    given = {key for job in jobs.values() for step in job["steps"][1:] for key in step["with"]}
    assert given <= action["inputs"].keys()


def test_gitlab_takes_the_file_and_the_template_has_its_inputs(tmp_path: Path) -> None:
    start(tmp_path, "gitlab", Origin("https://gitlab.example/tools/reconciler", ORIGIN.commit))
    file = ".gitlab/reconciler.yml"
    run(sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.gitlab-ci", file, folder=tmp_path)
    [include] = yaml.safe_load((tmp_path / file).read_text())["include"]
    assert include["remote"].startswith(f"https://gitlab.example/tools/reconciler/-/raw/{ORIGIN.commit}/templates/")
    spec = next(yaml.safe_load_all((Path(__file__).parents[2] / "templates/reconciler.yml").read_text()))
    needed = {name for name, about in spec["spec"]["inputs"].items() if "default" not in about}
    assert needed <= include["inputs"].keys() <= spec["spec"]["inputs"].keys()


def test_nothing_that_is_there_is_changed(tmp_path: Path) -> None:
    (tmp_path / "reconciler.yaml").write_text("mine\n")
    (tmp_path / "specs").mkdir()
    (tmp_path / "specs/example.yaml").symlink_to(tmp_path / "elsewhere")
    started = start(tmp_path, "none")
    assert set(started.left) == {"reconciler.yaml", "specs/example.yaml"}
    assert (tmp_path / "reconciler.yaml").read_text() == "mine\n"
    assert not (tmp_path / "elsewhere").exists()
    again = start(tmp_path, "none")
    assert not again.written


def test_the_ci_is_that_of_the_repository(tmp_path: Path) -> None:
    assert guess_ci(tmp_path) == "none"
    run("git", "init", "-q", folder=tmp_path)
    run("git", "-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "x", "--allow-empty", folder=tmp_path)
    run("git", "remote", "add", "origin", "git@gitlab.example:group/jobs.git", folder=tmp_path)
    assert guess_ci(tmp_path) == "gitlab"
    (tmp_path / ".github").mkdir()
    assert guess_ci(tmp_path) == "github"


COMMIT = "a" * 40


@pytest.mark.parametrize(
    "text",
    [
        "",
        "https://github.com/o/r",
        "https://github.com/o/r@v1",
        f"http://github.com/o/r@{COMMIT}",
        f"https://u:p@github.com/o/r@{COMMIT}",
        f"https://github.com/o/r\n@{COMMIT}",
    ],
)
def test_a_source_is_an_https_address_and_a_whole_commit(text: str) -> None:
    with pytest.raises(UsageError):
        parse_origin(text)
    assert parse_origin(f"https://github.com/o/r.git@{COMMIT}") == Origin("https://github.com/o/r", COMMIT)
