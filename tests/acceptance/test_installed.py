"""The action and the pre-commit hook from a clean clone, with what pip installs: as they are on other machines."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from action_runner import TOP, run_action, runner_environment

pytestmark = [pytest.mark.network, pytest.mark.slow]

GOOD = "name: alpha\npipeline_type: batch\npipeline_key: image-classifier\ninputs: {images: [{file_id: a.png}]}\n"


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("clean") / "reconciler"
    subprocess.run(["git", "clone", "-q", "--no-hardlinks", str(TOP), str(folder)], check=True)
    return folder


def outer() -> dict[str, str]:
    """What pip needs to find its packages here."""
    return {k: v for k, v in os.environ.items() if k.startswith("PIP_") or k in ("HOME", "SSL_CERT_FILE")}


def test_the_action_plans_from_a_clean_clone(clone: Path, tmp_path: Path) -> None:
    work = tmp_path / "work"
    (work / "specs").mkdir(parents=True)
    (work / "specs/a.yaml").write_text(GOOD)
    (tmp_path / "event.json").write_text(json.dumps({"repository": {"default_branch": "main"}}))
    ran = run_action(
        work,
        tmp_path / "temp",
        {
            **outer(),
            **runner_environment(),
            "GITHUB_EVENT_NAME": "workflow_dispatch",
            "GITHUB_EVENT_PATH": str(tmp_path / "event.json"),
            "GITHUB_ACTION_PATH": str(clone),
        },
        {"endpoint": "local"},
        install=True,
        action=clone / "action.yml",
    )
    assert ran.ok, ran.log
    assert json.loads(ran.outputs["summary"]) == {"create": 1}
    assert [use.split("@")[0] for use in ran.used] == ["actions/setup-python"]
    assert all(len(use.split("@")[1]) == 40 for use in ran.used)


def test_the_hook_refuses_a_commit_with_a_fault(clone: Path, tmp_path: Path) -> None:
    work = tmp_path / "work"
    (work / "specs").mkdir(parents=True)
    who = {f"GIT_{a}_{b}": "ann@example" for a in ("AUTHOR", "COMMITTER") for b in ("NAME", "EMAIL")}
    env = {**outer(), **who, "PATH": runner_environment()["PATH"], "PRE_COMMIT_HOME": str(tmp_path / "cache")}

    def run(*command: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, cwd=work, env=env, capture_output=True, text=True, check=False)

    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=clone, capture_output=True, text=True, check=True)
    hook = {"repo": str(clone), "rev": commit.stdout.strip(), "hooks": [{"id": "reconciler-validate"}]}
    (work / ".pre-commit-config.yaml").write_text(json.dumps({"repos": [hook]}))
    assert run("git", "init", "-q").returncode == 0
    assert run("pre-commit", "install").returncode == 0

    (work / "specs/a.yaml").write_text(GOOD)
    run("git", "add", "-A")
    good = run("git", "commit", "-m", "good")
    assert good.returncode == 0, good.stdout + good.stderr
    assert "reconciler validate" in good.stderr + good.stdout

    (work / "specs/b.yaml").write_text(GOOD)  # the same name once more: only one file is in this commit
    run("git", "add", "-A")
    bad = run("git", "commit", "-m", "bad")
    assert bad.returncode == 1
    assert "specs/b.yaml:1" in bad.stdout + bad.stderr
    (work / "specs/b.yaml").unlink()
    (work / "notes.txt").write_text("nothing to do with specs\n")
    run("git", "add", "-A")
    other = run("git", "commit", "-m", "other")
    assert other.returncode == 0
    assert "Skipped" in other.stderr + other.stdout
