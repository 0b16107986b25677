"""The steps that run a command: what it is run with, and what is noted and reported of it."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from reconciler.actions import Plan
from reconciler.ci.command import Finished, extra_arguments, run
from reconciler.ci.decision import Decision, decide, decide_on_gitlab
from reconciler.ci.reports import MEANING, failure_markdown, outcomes_markdown
from reconciler.ci.repository import pushed_by_token
from reconciler.ci.runner import SUMMARY, Runner
from reconciler.errors import ExitCode, UsageError
from reconciler.report.markdown import plan_markdown
from reconciler.report.plans import verdict as plan_verdict
from reconciler.text import one_line

NOT_ASKED = (
    "The platform was not asked, since this run has no API key: it is one of a fork, or the secret is missing. "
    "Jobs in flight are shown as they were recorded."
)


def begin(runner: Runner) -> int:
    """Decide what the run is to do, before anything of the checkout is read."""
    env = runner.environment
    decision = _decision(runner)
    folder = Path(env.get("RECONCILER_CI_FOLDER") or tempfile.mkdtemp(prefix="reconciler-", dir=env.get("RUNNER_TEMP")))
    folder.mkdir(exist_ok=True)
    for switch in ("comment", "commit-state"):
        runner.switch(switch)
    extra_arguments(runner.input("args"))
    if decision.mode != "closed" and not runner.folder.is_dir():
        raise UsageError(f"the input 'working-directory' is {runner.input('working-directory')!r}: no such folder")
    runner.output("folder", str(folder))
    runner.output("mode", decision.mode)
    runner.output("pull-request", str(decision.pull_request or ""))
    notes = {"mode": decision.mode, "pull_request": decision.pull_request, "fork": decision.fork}
    (folder / "notes.json").write_text(json.dumps(notes), encoding="utf-8")
    runner.say(f"to do: {decision.mode}")
    return ExitCode.OK


def _decision(runner: Runner) -> Decision:
    env = runner.environment
    if not runner.on_github:
        source, iid = env.get("CI_PIPELINE_SOURCE", ""), env.get("CI_MERGE_REQUEST_IID", "0")
        elsewhere = env.get("CI_MERGE_REQUEST_SOURCE_PROJECT_ID") != env.get("CI_PROJECT_ID")
        branch, default = env.get("CI_COMMIT_BRANCH", ""), env.get("CI_DEFAULT_BRANCH", "")
        return decide_on_gitlab(source, iid, elsewhere, branch, default)
    asked = runner.input("command") or "auto"
    return decide(asked, env.get("GITHUB_EVENT_NAME", ""), env.get("GITHUB_REF", ""), runner.event)


def validate(runner: Runner) -> int:
    """Annotate the faults of the specs. Its verdict stands if there is an error."""
    if runner.notes().get("superseded"):
        return ExitCode.OK
    with runner.verbatim():
        report = "github" if runner.on_github else "codequality"
        done = _reconciler(runner, ["validate", "--format", report, *_path(runner)], show=False)
    if not runner.on_github:
        (runner.notes_folder / "codequality.json").write_text(done.stdout, encoding="utf-8")
    elif done.stdout:
        runner.say(done.stdout.rstrip("\n"))  # the annotations: commands to the runner, made safe by the format
    if done.code == ExitCode.OK:
        runner.note(validated=True, code=0, verdict=(done.tail or ("valid",))[0])
        return ExitCode.OK
    with runner.verbatim():
        in_words = _reconciler(runner, ["--quiet", "validate", *_path(runner)], show=not runner.on_github)
    invalid = done.code == ExitCode.INVALID
    title = "The specs are invalid" if invalid else "The specs could not be read"
    return _failed(runner, title, done, in_words.stdout.splitlines() or done.tail)


def plan(runner: Runner) -> int:
    """Plan, save the plan, and write it to the summary; `comment` takes it from the notes."""
    if not runner.notes().get("validated"):
        return ExitCode.OK
    out = runner.notes_folder / "plan.json"
    arguments = ["plan", "--detailed-exitcode", "--out", str(out), *extra_arguments(runner.input("args"))]
    runner.note(code=ExitCode.FAILED, verdict="The plan was cut off.")
    unasked = _without_key(runner)
    if unasked:
        arguments.append("--no-refresh")
    with runner.verbatim():
        done = _reconciler(runner, [*arguments, *_path(runner)], show=True)
    if done.code not in (ExitCode.OK, ExitCode.CHANGES):
        return _failed(runner, "The plan could not be made", done, done.tail)
    made = Plan.model_validate_json(out.read_bytes())
    remark = f"> {NOT_ASKED}\n\n" if unasked else ""
    if unasked and not runner.notes().get("fork"):
        runner.annotate("warning", NOT_ASKED)
    for refusal in made.refusals:
        runner.annotate("warning", f"apply would refuse this plan: {one_line(refusal.reason)}")
    runner.summarise(remark + plan_markdown(made, SUMMARY // 4 - 1000))
    runner.note(
        code=done.code,
        changes=bool(made.pending()),
        plan_file=str(out),
        summary=made.summary(),
        verdict=plan_verdict(made),
        remark=remark,
    )
    return ExitCode.OK


def apply(runner: Runner) -> int:
    """Apply, and write what came of it to the summary."""
    notes = runner.notes()
    if not notes.get("validated") or notes.get("superseded"):
        return ExitCode.OK
    arguments = ["apply", "--yes", "--format", "json", *extra_arguments(runner.input("args")), *_path(runner)]
    runner.note(code=ExitCode.FAILED, verdict="The apply was cut off; the next one finds out what it did.")
    with runner.verbatim():
        done = _reconciler(runner, arguments, show=False)
    try:
        document = json.loads(done.stdout)
    except ValueError:
        return _failed(runner, "Nothing could be applied, or not to the end", done, done.tail)
    verdict, markdown = outcomes_markdown(document)
    runner.summarise(markdown)
    changes = any(o["outcome"] == "done" for o in document["outcomes"])
    runner.note(code=done.code, changes=changes, summary=document["summary"], verdict=verdict)
    return ExitCode.OK


def verdict(runner: Runner) -> int:
    """Set the outputs, and end as the command ended; 2, changes are pending, is no failure."""
    notes = runner.notes()
    code = notes.get("code", 0 if notes.get("mode") == "closed" else ExitCode.FAILED)
    runner.output("mode", notes.get("mode", ""))
    runner.output("changes", "true" if notes.get("changes") else "false")
    runner.output("exit-code", str(code))
    runner.output("plan-file", notes.get("plan_file", ""))
    runner.output("summary", json.dumps(notes.get("summary", {})))
    runner.output("verdict", notes.get("verdict", ""))
    runner.output("comment-url", notes.get("comment_url", ""))
    if code in (ExitCode.OK, ExitCode.CHANGES):
        return ExitCode.OK
    runner.annotate("error", f"exit code {code}: {MEANING.get(code, 'it failed')}")
    return int(code)


def _failed(runner: Runner, title: str, done: Finished, lines: object) -> int:
    assert isinstance(lines, list | tuple)
    markdown = failure_markdown(title, done.code, lines)
    runner.summarise(markdown)
    runner.note(code=done.code, changes=False, verdict=f"{title}: {MEANING.get(done.code, 'it failed')}.")
    (runner.notes_folder / "failure.md").write_text(markdown, encoding="utf-8")
    return ExitCode.OK


def _without_key(runner: Runner) -> bool:
    """Whether a pull request is planned without the key that its endpoint needs: then the platform is not asked."""
    if runner.environment.get("ATAI_API_KEY", "").strip() or runner.notes().get("pull_request") is None:
        return False
    from reconciler.config import read_config

    env = runner.environment
    endpoint = runner.input("endpoint") or env.get("RECONCILER_ENDPOINT") or env.get("ATAI_API_ENDPOINT")
    return (endpoint or read_config(runner.folder, runner.environment_name).get("endpoint")) != "local"


def _path(runner: Runner) -> list[str]:
    return ["--", runner.input("path")] if runner.input("path") else []


def _reconciler(runner: Runner, arguments: list[str], *, show: bool) -> Finished:
    common = []
    for option in ("environment", "endpoint", "state"):
        if runner.input(option):
            common += [f"--{option}", runner.input(option)]
    env, pushing = runner.environment, pushed_by_token(runner.environment, runner.folder)
    credentials = pushing.credentials(env) if pushing else {}  # for a state at a ref, which the command pushes itself
    return run([*common, *arguments], runner.folder, {**env, **credentials}, show=show)
