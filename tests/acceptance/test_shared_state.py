"""A state at a ref of a server that asks for a password: git's own credentials are used, and shown nowhere."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from git_server import git_over_http
from running import environment, running_platform
from shared_places import git

pytestmark = pytest.mark.network
SECRET = "not-to-be-seen"
SPEC = "name: alpha\npipeline_type: batch\npipeline_key: echo\nparameters: {worker: {config: {text: one}}}\n"


def test_git_asks_its_own_helper_for_the_password_of_the_server(tmp_path: Path) -> None:
    git("init", "--quiet", "--bare", tmp_path / "jobs.git")
    git("config", "http.receivepack", "true", folder=tmp_path / "jobs.git")
    work = tmp_path / "work"
    (work / "specs").mkdir(parents=True)
    (work / "specs" / "a.yaml").write_text(SPEC)
    git("init", "--quiet", folder=work)
    with (
        git_over_http(tmp_path, "ann", SECRET) as server,
        running_platform(tmp_path / "p", queue_only=True) as platform,
    ):
        git("remote", "add", "origin", f"{server.url}/jobs.git", folder=work)
        helper = f"!f() {{ echo username=ann; echo password={SECRET}; }}; f"
        said = [_run(work, platform, "apply", "--yes")]  # before git knows the password
        git("config", "credential.helper", helper, folder=work)
        said += [_run(work, platform, "apply", "--yes"), _run(work, platform, "state", "pull")]
    assert [done.returncode for done in said] == [1, 0, 0], [done.stderr for done in said]
    assert "git needs a remote 'origin' that it may read and push to" in said[0].stderr
    assert '"alpha"' in said[2].stdout
    assert SECRET not in "".join(done.stdout + done.stderr for done in said)
    assert SECRET not in git("log", "-p", "refs/reconciler/default", folder=tmp_path / "jobs.git")


def _run(work: Path, platform: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["reconciler", "--state", "git:", *arguments]
    return subprocess.run(
        command,
        cwd=work,
        env={**environment(platform), "RECONCILER_TIMEOUT": "60s"},
        capture_output=True,
        text=True,
        check=False,
    )
