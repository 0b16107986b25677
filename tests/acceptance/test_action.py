"""The GitHub Action, step by step as the runner does it, with a real platform, a real repository, and a stand-in for
GitHub's API."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from action_runner import Ran, run_action, runner_environment
from git_server import git_over_http
from github_stand_in import BOT, READ_ONLY, TOKEN, StandIn, github
from running import environment, running_platform

pytestmark = [pytest.mark.network, pytest.mark.slow]

SPEC = "name: {name}\npipeline_type: batch\npipeline_key: echo\nparameters: {{worker: {{config: {{text: {text}}}}}}}\n"


@dataclass
class World:
    """A repository with a project, a platform, and GitHub."""

    folder: Path
    platform: Path
    github: StandIn

    @property
    def remote(self) -> Path:
        return self.folder / "remote.git"

    def checkout(self, name: str = "work", *, commit: str = "main") -> Path:
        """A fresh clone, as actions/checkout makes it: one commit deep."""
        work = self.folder / name
        git(self.folder, "clone", "-q", "--depth", "1", "--branch", "main", f"file://{self.remote}", name)
        if commit != "main":
            git(work, "fetch", "-q", "--depth", "1", "origin", commit)
            git(work, "checkout", "-q", "-B", "main", commit)
        return work

    def commit(self, files: dict[str, str], name: str = "author") -> str:
        """Push a commit with `files` to main; its id."""
        work = self.folder / name
        if not work.exists():
            git(self.folder, "clone", "-q", str(self.remote), name)
        if git(work, "ls-remote", "origin", "main"):
            git(work, "pull", "-q", "--rebase", "origin", "main")
        for path, text in files.items():
            (work / path).parent.mkdir(parents=True, exist_ok=True)
            (work / path).write_text(text)
        git(work, "add", "-A")
        git(work, "commit", "-q", "-m", "specs")
        git(work, "push", "-q", "origin", "HEAD:main")
        return git(work, "rev-parse", "HEAD")

    def run(
        self,
        work: Path,
        event: str,
        about: dict[str, Any],
        *,
        key: bool = True,
        token: str = TOKEN,
        server: str = "https://github.example",
        **inputs: str,
    ) -> Ran:
        told = {"repository": {"full_name": "octo/jobs", "default_branch": "main"}, **about}
        (self.folder / "event.json").write_text(json.dumps(told))
        env = {**environment(self.platform), "HOME": str(self.folder)}
        if not key:
            del env["ATAI_API_KEY"]
        number = len(list(self.folder.glob("temp-*")))
        return run_action(
            work,
            self.folder / f"temp-{number}",
            {
                **env,
                **runner_environment(GITHUB_SERVER_URL=server),
                "TOKEN_OF_THE_RUN": token,
                "GITHUB_EVENT_NAME": event,
                "GITHUB_EVENT_PATH": str(self.folder / "event.json"),
                "GITHUB_REF": "refs/pull/7/merge" if event == "pull_request" else "refs/heads/main",
                "GITHUB_API_URL": self.github.url,
                "GITHUB_GRAPHQL_URL": f"{self.github.url}/graphql",
            },
            {key.replace("_", "-"): value for key, value in inputs.items()},
        )

    def pull_request(self, work: Path, head: str = "octo/jobs", action: str = "synchronize", **how: Any) -> Ran:
        pull = {"number": 7, "merged": True, "head": {"ref": "topic", "repo": {"full_name": head}}}
        return self.run(work, "pull_request", {"action": action, "pull_request": pull}, **how)

    def push(self, work: Path, **how: Any) -> Ran:
        return self.run(work, "push", {}, **how)

    def cancelled(self, work: Path) -> dict[str, Any]:
        """Run the step that applies, and signal its process alone, as a runner does, once it waits for the platform.

        Returns the notes that it leaves.
        """
        notes = self.folder / "notes"
        notes.mkdir()
        (notes / "notes.json").write_text('{"mode": "apply", "validated": true, "code": 0}')
        env = {**environment(self.platform), **runner_environment(GITHUB_ACTIONS="true", GITHUB_WORKSPACE=str(work))}
        more = {
            "RECONCILER_CI_FOLDER": str(notes),
            "GITHUB_STEP_SUMMARY": str(notes / "summary"),
            "PYTHON": sys.executable,
        }
        script = 'exec "$PYTHON" -P -m reconciler.ci apply'
        process = subprocess.Popen(
            ["bash", "-e", "-c", script], cwd=work, env={**env, **more}, stdout=subprocess.DEVNULL
        )
        deadline = time.monotonic() + 60
        while not self.requests("POST /v0.5/batch/jobs"):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
        left = json.loads((notes / "notes.json").read_text())
        assert isinstance(left, dict)
        return left

    def requests(self, what: str) -> int:
        log = self.platform / "requests.log"
        return sum(line.startswith(what) for line in log.read_text().splitlines()) if log.exists() else 0

    def on_main(self, path: str) -> Any:
        return json.loads(git(self.remote, "show", f"main:{path}"))


def git(folder: Path, *arguments: str) -> str:
    who = {f"GIT_{a}_{b}": v for a in ("AUTHOR", "COMMITTER") for b, v in (("NAME", "ann"), ("EMAIL", "ann@example"))}
    env = {**os.environ, **who, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1"}
    done = subprocess.run(["git", *arguments], cwd=folder, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    git(tmp_path, "init", "-q", "--bare", "-b", "main", "remote.git")
    with running_platform(tmp_path / "platform", queue_only=True) as platform, github() as api:
        made = World(tmp_path, platform, api)
        made.commit({"specs/a.yaml": SPEC.format(name="alpha", text="one")})
        yield made


# -- pull requests --


def test_a_pull_request_gets_a_comment_that_is_updated_in_place(world: World) -> None:
    world.github.add("ann", "<!-- reconciler: not ours, though it looks so -->")
    first = world.pull_request(world.checkout("one"))
    assert first.ok
    assert first.outputs["mode"] == "plan"
    assert first.outputs["changes"] == "true"
    assert first.outputs["exit-code"] == "2"
    assert json.loads(first.outputs["summary"]) == {"create": 1}
    assert Path(first.outputs["plan-file"]).is_file()
    [body] = world.github.by(BOT)
    assert "create `alpha`" in body
    assert "https://github.example/octo/jobs/actions/runs/4711" in body
    assert "create `alpha`" in first.summary
    assert first.outputs["comment-url"] == "https://github.example/octo/jobs/pull/7#issuecomment-2"

    world.commit({"specs/b.yaml": SPEC.format(name="beta", text="two")})
    second = world.pull_request(world.checkout("two"))
    [body] = world.github.by(BOT)
    assert "create `beta`" in body
    assert second.outputs["comment-url"] == first.outputs["comment-url"]
    assert world.requests("POST /v0.5/batch/jobs") == 0


def test_each_set_of_specs_has_a_comment_of_its_own(world: World) -> None:
    work = world.checkout()
    world.pull_request(work)
    world.pull_request(work, path="specs/a.yaml")
    world.pull_request(work, path="specs/a.yaml")
    assert len(world.github.by(BOT)) == 2


def test_a_mark_of_somebody_else_is_not_believed(world: World) -> None:
    work = world.checkout()
    world.pull_request(work)
    stolen = world.github.by(BOT)[0]
    world.github.comments.clear()
    for _ in range(130):  # more than a page
        world.github.add("mallory", stolen)
    world.pull_request(work)
    world.pull_request(work)
    assert world.github.by("mallory") == [stolen] * 130
    assert len(world.github.by(BOT)) == 1


def test_a_lost_answer_makes_no_second_comment(world: World) -> None:
    world.github.faults += [("POST", 502), ("GET", 429), ("POST", "lost")]
    ran = world.pull_request(world.checkout(), token=TOKEN)
    assert ran.ok
    assert len(world.github.by(BOT)) == 1


def test_a_pull_request_without_changes_gets_no_comment_but_updates_the_one_it_has(world: World) -> None:
    world.push(world.checkout("applied"), commit_state="true")
    work = world.checkout("same")
    nothing = world.pull_request(work)
    assert nothing.outputs["changes"] == "false"
    assert nothing.outputs["exit-code"] == "0"
    assert world.github.by(BOT) == []
    (work / "specs/a.yaml").write_text(SPEC.format(name="alpha", text="two"))
    world.pull_request(work)
    assert "replace `alpha`" in world.github.by(BOT)[0]
    git(work, "checkout", "-q", "specs")
    world.pull_request(work)
    assert "No changes" in world.github.by(BOT)[0]


def test_a_closed_pull_request_says_so_in_its_comment(world: World) -> None:
    work = world.checkout()
    world.pull_request(work, action="closed")
    assert world.github.by(BOT) == []
    world.pull_request(work)
    closed = world.pull_request(work, action="closed")
    assert closed.ok
    assert "merged" in world.github.by(BOT)[0]


def test_a_fork_has_neither_key_nor_comment_and_still_a_plan(world: World) -> None:
    ran = world.pull_request(world.checkout(), head="mallory/jobs", key=False, token=READ_ONLY)
    assert ran.ok
    assert "create `alpha`" in ran.summary
    assert "was not asked" in ran.summary
    assert world.github.comments == []
    assert world.requests("") == 0
    assert "fork" in ran.annotations("notice")[0]


def test_a_token_that_may_not_comment_is_no_failure(world: World) -> None:
    ran = world.pull_request(world.checkout(), token=READ_ONLY)
    assert ran.ok
    assert "pull-requests: write" in ran.annotations("notice")[0]
    assert "create `alpha`" in ran.summary


def test_a_thousand_changes_fit_in_a_comment(world: World) -> None:
    many = "---\n".join(SPEC.format(name=f"job-{n:04}-{'x' * 80}", text=n) for n in range(1000))
    world.commit({"specs/many.yaml": many})
    ran = world.pull_request(world.checkout())
    assert ran.ok
    [body] = world.github.by(BOT)
    assert len(body) <= 65_536
    assert "1,001 to create" in body
    assert body.endswith("updated in place\n")
    assert "job-0999" in ran.summary, "the summary has room for all"


def test_invalid_specs_are_annotated_and_fail_the_job_after_the_reports(world: World) -> None:
    world.commit({"specs/a.yaml": "name: alpha\npipeline_typ: batch\n"})
    ran = world.pull_request(world.checkout())
    assert not ran.ok
    assert ran.outputs["exit-code"] == "3"
    assert any("specs/a.yaml" in line and "pipeline_typ" in line for line in ran.annotations("error"))
    assert "specs are invalid" in ran.summary
    assert "pipeline_typ" in ran.summary
    assert "specs are invalid" in world.github.by(BOT)[0]


def test_hostile_names_and_branches_are_only_text(world: World) -> None:
    name = '$(touch owned)`touch owned`\\"; touch owned; ::error::owned\\n::set-output name=x::y'
    spec = f'name: "{name}"\npipeline_type: batch\npipeline_key: echo\n'
    printable = spec.replace("\\n", "")
    world.commit({"specs/$(touch owned).yaml": printable})
    work = world.checkout()
    ran = world.pull_request(work, args="--target 'alpha' --target \"$(touch owned)\"", path="specs")
    assert ran.outputs["exit-code"] == "1"  # no job of that name: it was not run, and not expanded
    ran = world.pull_request(work)
    assert ran.ok
    assert ran.annotations("error") == []
    assert "touch owned" in world.github.by(BOT)[0]
    assert not list(world.folder.rglob("owned"))
    ran = world.pull_request(work, working_directory="$(touch owned)")
    assert not ran.ok
    assert not list(world.folder.rglob("owned"))


def test_the_key_and_the_token_are_in_no_file_and_no_log(world: World) -> None:
    ran = world.pull_request(world.checkout())
    applied = world.push(world.checkout("pushed"), commit_state="true")
    for secret in ("sk_acceptance", TOKEN):
        assert secret not in ran.log + ran.summary + applied.log + applied.summary
        hits = [p for p in world.folder.rglob("*") if p.is_file() and secret.encode() in p.read_bytes()]
        assert not hits


@pytest.mark.parametrize(
    ("inputs", "event", "says"),
    [
        ({"command": "destroy"}, "push", "auto, validate, plan, apply"),
        ({"comment": "yes"}, "push", "true or false"),
        ({"args": "--out x"}, "push", "sets it by itself"),
        ({"args": "'open"}, "push", "close its quotes"),
        ({"working_directory": "nowhere"}, "push", "no such folder"),
        ({}, "pull_request_target", "pull_request_target"),
    ],
)
def test_wrong_inputs_are_told_before_anything_is_done(
    world: World, inputs: dict[str, str], event: str, says: str
) -> None:
    ran = world.run(world.checkout(), event, {}, key=True, token=TOKEN, **inputs)
    assert not ran.ok
    assert says in ran.annotations("error")[0]
    assert world.requests("") == 0


# -- pushes --


def test_a_push_to_the_default_branch_applies_and_pushes_the_state(world: World) -> None:
    ran = world.push(world.checkout(), commit_state="true")
    assert ran.ok
    assert ran.outputs["mode"] == "apply"
    assert ran.outputs["changes"] == "true"
    assert json.loads(ran.outputs["summary"]) == {"done": 1}
    assert "create `alpha`" in ran.summary
    assert list(world.on_main(".reconciler/state.json")["jobs"]) == ["alpha"]
    assert git(world.remote, "show", "--name-only", "--format=%s", "main").split("\n") == [
        "reconciler: state serial 2 [skip ci]",
        "",
        ".reconciler/state.json",
    ]
    again = world.push(world.checkout("again"), commit_state="true")
    assert again.outputs["changes"] == "false"
    assert git(world.remote, "rev-list", "--count", "main") == "2"
    assert world.requests("POST /v0.5/batch/jobs") == 1


@pytest.mark.parametrize("commit_state", ["false", "true"])
def test_a_state_at_a_ref_is_read_and_pushed_by_apply_itself(world: World, commit_state: str) -> None:
    """The branch gets no commit, and the next run, in a new checkout, finds what was done."""
    for name in ("one", "two"):
        ran = world.push(world.checkout(name), commit_state=commit_state, state="git:refs/reconciler/ci")
        assert ran.ok, ran.log
    assert ran.outputs["changes"] == "false"
    assert git(world.remote, "rev-list", "--count", "main") == "1"
    assert list(json.loads(git(world.remote, "show", "refs/reconciler/ci:state.json"))["jobs"]) == ["alpha"]
    assert git(world.remote, "log", "--format=%s", "refs/reconciler/ci") == "apply: 1 new, serial 2"
    assert "/octo/jobs/actions/runs/" in git(world.remote, "log", "--format=%b", "refs/reconciler/ci")
    assert world.requests("POST /v0.5/batch/jobs") == 1


def test_an_environment_has_a_state_of_its_own(world: World) -> None:
    world.commit({"reconciler.yaml": "environments:\n  staging: {state: .reconciler/staging.json}\n"})
    ran = world.push(world.checkout(), commit_state="true", environment="staging")
    assert ran.ok, ran.log
    assert list(world.on_main(".reconciler/staging.json")["jobs"]) == ["alpha"]


def test_another_branch_is_only_planned(world: World) -> None:
    ran = world.run(world.checkout(), "push", {"repository": {"full_name": "octo/jobs", "default_branch": "trunk"}})
    assert ran.ok
    assert ran.outputs["mode"] == "plan"
    assert world.requests("POST /v0.5/batch/jobs") == 0


def test_a_failed_apply_keeps_the_state_and_fails_the_job(world: World) -> None:
    world.commit({"specs/b.yaml": SPEC.format(name="beta", text="two")})
    (world.platform / "faults").write_text("POST /batch/jobs 1 9 status:422\n")
    ran = world.push(world.checkout(), commit_state="true", args="--parallelism 1")
    assert not ran.ok
    assert ran.outputs["exit-code"] == "1"
    assert "failed: create `beta`" in ran.summary
    assert list(world.on_main(".reconciler/state.json")["jobs"]) == ["alpha"]


def test_an_unknown_outcome_travels_to_the_next_run_in_the_journal(world: World) -> None:
    """The answer is lost, and so is the machine: the next run takes over the job, and submits nothing twice."""
    (world.platform / "faults").write_text("POST /batch/jobs 0 9 after:504\nGET /batch/jobs 0 999 status:501\n")
    first = world.push(world.checkout("one"), commit_state="true")
    assert first.outputs["exit-code"] == "6"
    journal = git(world.remote, "show", "main:.reconciler/state.journal")
    assert "alpha" in journal
    (world.platform / "faults").unlink()
    second = world.push(world.checkout("two"), commit_state="true")
    assert second.ok, second.log
    assert world.requests("POST /v0.5/batch/jobs") == 1
    assert list(world.on_main(".reconciler/state.json")["jobs"]) == ["alpha"]
    assert ".reconciler/state.journal" not in git(world.remote, "ls-tree", "-r", "--name-only", "main")


def test_a_cancelled_run_stops_in_good_order(world: World) -> None:
    (world.platform / "faults").write_text("POST /batch/jobs 0 9 hang\n")
    work = world.checkout()
    assert world.cancelled(work)["code"] == 130
    assert "alpha" in (work / ".reconciler/state.journal").read_text()


def test_the_state_is_pushed_over_http_with_the_token(world: World) -> None:
    """Also when the checkout has left credentials of its own: two would be refused."""
    git(world.remote, "config", "http.receivepack", "true")
    with git_over_http(world.folder, user="x-access-token", password=TOKEN) as server:
        work = world.checkout()
        git(work, "remote", "set-url", "origin", f"{server.url}/remote.git")
        git(work, "config", f"http.{server.url}/.extraheader", "AUTHORIZATION: basic b2xkOm9sZA==")
        ran = world.push(work, commit_state="true", server=server.url)
        assert ran.ok, ran.log
        assert server.refused == 0
        assert list(world.on_main(".reconciler/state.json")["jobs"]) == ["alpha"]
        ran = world.push(work, commit_state="true", server=server.url, token="wrong")
    assert not ran.ok
    assert server.refused
    assert "wrong" not in ran.log
    assert "terminal prompts disabled" in ran.log or "Authentication failed" in ran.log


def test_an_old_checkout_applies_with_the_state_of_the_branch(world: World) -> None:
    """Run 2 waited for run 1, and was checked out before run 1 had pushed its state."""
    old = world.checkout("old")
    world.push(world.checkout("first"), commit_state="true")
    ran = world.push(old, commit_state="true")
    assert ran.ok
    assert ran.outputs["changes"] == "false"
    assert world.requests("POST /v0.5/batch/jobs") == 1


def test_a_run_whose_specs_are_no_longer_the_newest_does_nothing(world: World) -> None:
    old = world.checkout("old")
    world.commit({"specs/a.yaml": SPEC.format(name="alpha", text="newer")})
    ran = world.push(old, commit_state="true")
    assert ran.ok
    assert "Superseded" in ran.outputs["verdict"]
    assert world.requests("POST /v0.5/batch/jobs") == 0


def test_a_commit_beside_the_specs_supersedes_nothing_and_is_kept(world: World) -> None:
    world.commit({"project/specs/a.yaml": SPEC.format(name="gamma", text="one"), "README.md": "old\n"})
    work = world.checkout()
    world.commit({"README.md": "new\n"})
    ran = world.push(work, commit_state="true", working_directory="project")
    assert ran.ok, ran.log
    assert git(world.remote, "show", "main:README.md") == "new"
    assert list(world.on_main("project/.reconciler/state.json")["jobs"]) == ["gamma"]


def test_a_state_that_another_run_has_pushed_is_not_replaced(world: World) -> None:
    """Two runs at once, though the workflow should not allow it: both records are kept, and the job says so."""
    one, two = world.checkout("one"), world.checkout("two")

    def other_run() -> None:
        world.push(two, commit_state="true")

    number = len(list(world.folder.glob("temp-*")))
    told = {"repository": {"full_name": "octo/jobs", "default_branch": "main"}}
    (world.folder / "event.json").write_text(json.dumps(told))
    ran = run_action(
        one,
        world.folder / f"first-{number}",
        {
            **environment(world.platform),
            **runner_environment(GITHUB_RUN_ID="1"),
            "HOME": str(world.folder),
            "GITHUB_EVENT_NAME": "push",
            "GITHUB_EVENT_PATH": str(world.folder / "event.json"),
            "GITHUB_REF": "refs/heads/main",
        },
        {"commit-state": "true"},
        before={"Keep the state in the branch": other_run},
    )
    assert not ran.ok
    assert "reconciler-state/1-1" in ran.annotations("error")[0]
    theirs = world.on_main(".reconciler/state.json")
    ours = json.loads(git(world.remote, "show", "reconciler-state/1-1:.reconciler/state.json"))
    assert theirs["lineage"] != ours["lineage"]
    assert list(ours["jobs"]) == list(theirs["jobs"]) == ["alpha"]


def test_a_branch_that_moves_while_the_state_is_pushed_is_followed(world: World) -> None:
    """A hook of the remote lets somebody else be first, once."""
    work = world.checkout()
    hook = world.remote / "hooks" / "pre-receive"
    hook.write_text(
        "#!/bin/sh\n[ -e done ] && exit 0\ntouch done\n"
        "new=$(GIT_AUTHOR_NAME=x GIT_AUTHOR_EMAIL=x GIT_COMMITTER_NAME=x GIT_COMMITTER_EMAIL=x "
        "git commit-tree main^{tree} -p main -m other)\n"
        "unset GIT_QUARANTINE_PATH\ngit update-ref refs/heads/main $new\n"
    )
    hook.chmod(0o755)
    ran = world.push(work, commit_state="true")
    assert ran.ok, ran.log
    assert list(world.on_main(".reconciler/state.json")["jobs"]) == ["alpha"]


def test_a_protected_branch_leaves_the_state_in_a_branch_of_its_own(world: World) -> None:
    hook = world.remote / "hooks" / "update"
    hook.write_text('#!/bin/sh\n[ "$1" != refs/heads/main ] || { echo protected branch; exit 1; }\n')
    work = world.checkout()
    hook.chmod(0o755)
    ran = world.push(work, commit_state="true")
    assert not ran.ok
    assert "reconciler-state/4711-1" in ran.annotations("error")[0]
    assert "alpha" in git(world.remote, "show", "reconciler-state/4711-1:.reconciler/state.json")
