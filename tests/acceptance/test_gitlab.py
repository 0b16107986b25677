"""The GitLab template: its jobs' scripts, run as a runner does, with a real platform and a real repository."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
import yaml
from action_runner import TOP
from git_server import GitServer, git_over_http
from running import environment
from test_action import SPEC, World, git
from test_action import world as world

pytestmark = [pytest.mark.network, pytest.mark.slow]

INPUTS = {"package": "unused", "commit-state": "true"}


def template() -> dict[str, Any]:
    """The template with its inputs in place, as GitLab does: within the values of the parsed YAML."""
    spec, jobs = yaml.safe_load_all((TOP / "templates/reconciler.yml").read_text())
    values = {k: INPUTS.get(k, v.get("default")) for k, v in spec["spec"]["inputs"].items()}

    def filled(value: Any) -> Any:
        if isinstance(value, dict):
            return {k: filled(v) for k, v in value.items()}
        if isinstance(value, list):
            return [filled(v) for v in value]
        return (
            re.sub(r"\$\[\[ inputs\.([\w-]+) \]\]", lambda m: str(values[m[1]]), value)
            if isinstance(value, str)
            else value
        )

    result = filled(jobs)
    assert isinstance(result, dict)
    return result


def run_job(world: World, work: Path, name: str, **ci: str) -> tuple[int, str]:
    """Run the script of a job, and its after_script, whatever came of it: exit code and log."""
    jobs = template()
    job = {**jobs[jobs[name]["extends"]], **jobs[name]}
    variables = {k: v["value"] if isinstance(v, dict) else v for k, v in job["variables"].items()}
    folder = variables["RECONCILER_CI_FOLDER"].replace("$CI_PROJECT_DIR", str(work))
    env = {
        **environment(world.platform),
        **variables,
        "HOME": str(world.folder),
        "RECONCILER_CI_FOLDER": folder,
        "GITLAB_CI": "true",
        "CI_PROJECT_DIR": str(work),
        "CI_PROJECT_ID": "1",
        "CI_DEFAULT_BRANCH": "main",
        "CI_JOB_ID": "99",
        **ci,
    }
    codes, log = [], ""
    for part in ("script", "after_script"):
        script = "\n".join(job.get(part, [])).replace("/tmp/reconciler/bin/python", shlex.quote(sys.executable))
        done = subprocess.run(
            ["bash", "-eo", "pipefail", "-c", script], cwd=work, env=env, capture_output=True, text=True, check=False
        )
        codes.append(done.returncode)
        log += done.stdout + done.stderr
    return codes[0], log


MERGE_REQUEST = {
    "CI_PIPELINE_SOURCE": "merge_request_event",
    "CI_MERGE_REQUEST_IID": "7",
    "CI_MERGE_REQUEST_SOURCE_PROJECT_ID": "1",
}
PUSH = {"CI_PIPELINE_SOURCE": "push", "CI_COMMIT_BRANCH": "main"}


def test_a_merge_request_gets_its_reports(world: World) -> None:
    work = world.checkout()
    code, log = run_job(world, work, "reconciler-plan", **MERGE_REQUEST)
    assert code == 0, log
    reports = work / ".reconciler-ci"
    [finding] = json.loads((reports / "codequality.json").read_text())
    assert finding["location"] == {"path": "specs/a.yaml", "lines": {"begin": 1}}
    assert finding["description"] == "create alpha: new; latest is 1.0.0 today"
    [case] = ET.parse(reports / "junit.xml").getroot().iter("testcase")
    assert case.get("name") == "alpha"
    assert "create `alpha`" in (reports / "summary.md").read_text()
    paths = template()["reconciler-plan"]["artifacts"]
    for path in [*paths["paths"], *paths["reports"].values()]:
        assert (work / path).is_file(), f"the template names {path}"


def test_invalid_specs_are_findings_and_fail_the_job(world: World) -> None:
    world.commit({"specs/a.yaml": "name: alpha\npipeline_typ: batch\n"})
    work = world.checkout()
    code, log = run_job(world, work, "reconciler-plan", **MERGE_REQUEST)
    assert code == 3
    findings = json.loads((work / ".reconciler-ci/codequality.json").read_text())
    assert {"path": "specs/a.yaml", "lines": {"begin": 2}} in [f["location"] for f in findings]
    assert "specs/a.yaml:2" in log


def test_the_default_branch_applies_and_pushes_the_state(world: World) -> None:
    code, log = run_job(world, world.checkout("one"), "reconciler-apply", **PUSH)
    assert code == 0, log
    assert list(world.on_main(".reconciler/state.json")["jobs"]) == ["alpha"]
    code, log = run_job(world, world.checkout("two"), "reconciler-apply", **PUSH)
    assert code == 0, log
    assert world.requests("POST /v0.5/batch/jobs") == 1


JOB_TOKEN, PUSH_TOKEN = "job-token-that-may-read", "project-token-that-may-push"


def gitlab_checkout(world: World, url: str, name: str) -> Path:
    """A clone as GitLab's runner makes it: the token of the job is in the address of `origin`."""
    work = world.folder / name
    origin = url.replace("://", f"://gitlab-ci-token:{JOB_TOKEN}@")
    git(world.folder, "clone", "-q", "--depth", "1", "--branch", "main", f"{origin}/{world.remote.name}", name)
    return work


@pytest.fixture
def gitlab(world: World) -> Iterator[GitServer]:
    """A server on which the token of a job may read, and a project's token may push."""
    git(world.remote, "config", "http.receivepack", "true")
    with git_over_http(world.folder, "oauth2", PUSH_TOKEN, f"gitlab-ci-token:{JOB_TOKEN}") as server:
        yield server


def test_a_state_at_a_ref_is_pushed_with_the_token_that_may(world: World, gitlab: GitServer) -> None:
    place = {"CI_PROJECT_URL": f"{gitlab.url}/{world.remote.stem}", "CI_SERVER_URL": gitlab.url}
    for name in ("one", "two"):
        work = gitlab_checkout(world, gitlab.url, name)
        state = {"RECONCILER_STATE": "git:", "RECONCILER_PUSH_TOKEN": PUSH_TOKEN, "INPUT_COMMIT_STATE": "false"}
        code, log = run_job(world, work, "reconciler-apply", **PUSH, **place, **state)
        assert code == 0, log
        assert PUSH_TOKEN not in log
    assert git(world.remote, "log", "--format=%s", "refs/reconciler/default") == "apply: 1 new, serial 2"
    assert world.requests("POST /v0.5/batch/jobs") == 1
    assert git(world.remote, "rev-list", "--count", "main") == "1"
    # A merge request has no token that may push, and needs none.
    work = gitlab_checkout(world, gitlab.url, "three")
    code, log = run_job(world, work, "reconciler-plan", **MERGE_REQUEST, **place, RECONCILER_STATE="git:")
    assert code == 0, log
    assert "No changes" in (work / ".reconciler-ci" / "summary.md").read_text()
    assert gitlab.pushes_refused == 0


def test_a_token_that_may_not_push_fails_the_job_before_anything_is_submitted(world: World, gitlab: GitServer) -> None:
    work = gitlab_checkout(world, gitlab.url, "one")
    code, log = run_job(world, work, "reconciler-apply", **PUSH, RECONCILER_STATE="git:", INPUT_COMMIT_STATE="false")
    assert code == 1
    assert gitlab.pushes_refused
    assert "You are not allowed to upload code" in log
    assert "RECONCILER_PUSH_TOKEN" in log
    assert JOB_TOKEN not in log
    assert world.requests("POST /v0.5/batch/jobs") == 0


def test_a_failed_apply_fails_the_job_and_keeps_the_state(world: World) -> None:
    world.commit({"specs/b.yaml": SPEC.format(name="beta", text="two")})
    (world.platform / "faults").write_text("POST /batch/jobs 1 9 status:422\n")
    code, _ = run_job(world, world.checkout(), "reconciler-apply", RECONCILER_PARALLELISM="1", **PUSH)
    assert code == 1
    assert list(world.on_main(".reconciler/state.json")["jobs"]) == ["alpha"]


def test_the_template_is_what_gitlab_reads(tmp_path: Path) -> None:
    (tmp_path / "filled.yml").write_text(yaml.safe_dump(template()))
    schema = ["check-jsonschema", "--builtin-schema", "vendor.gitlab-ci"]
    command = [sys.executable, "-m", "check_jsonschema", *schema[1:], str(tmp_path / "filled.yml")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert git(TOP, "ls-files", "templates/reconciler.yml")
