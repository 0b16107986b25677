"""The one comment that a pull request has of a plan: made when there is something to say, then updated in place."""

from __future__ import annotations

import hashlib
import re

from reconciler.actions import Plan
from reconciler.ci.github import ApiError, Comment, GitHub, Unclear
from reconciler.ci.runner import Runner
from reconciler.errors import ExitCode
from reconciler.report.markdown import COMMENT, plan_markdown

WORKFLOW_USER = "github-actions[bot]"
_READABLE = re.compile(r"[^A-Za-z0-9._/-]+")


def marker(*parts: str) -> str:
    """The hidden first line that the comment is found by, another one for each set of specs that is planned.

    Readable as far as it is harmless, and told apart by a digest of what the parts really are.
    """
    readable = ":".join(_READABLE.sub("-", part)[:60].replace("--", "-") or "." for part in parts)
    digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()[:12]
    return f"<!-- reconciler:{readable.replace('--', '-')}:{digest} -->"


def comment(runner: Runner) -> int:
    """Create or update the comment. What GitHub refuses is told in an annotation; it does not fail the job."""
    notes = runner.notes()
    number, token = notes.get("pull_request"), runner.input("token")
    if number is None or notes["mode"] not in ("plan", "closed"):
        return ExitCode.OK
    if notes.get("fork") or not token:
        why = (
            "a pull request of a fork has no token that may comment"
            if notes.get("fork")
            else "there is no github-token"
        )
        runner.annotate("notice", f"no comment was made: {why}; the plan is in the summary of this run")
        return ExitCode.OK
    mark = marker(
        runner.input("working-directory"), runner.input("path"), runner.environment_name or runner.input("endpoint")
    )
    env = runner.environment
    api = env.get("GITHUB_API_URL", "https://api.github.com")
    try:
        with GitHub(api, token, env["GITHUB_REPOSITORY"]) as github:
            author = github.viewer(env.get("GITHUB_GRAPHQL_URL", "https://api.github.com/graphql")) or WORKFLOW_USER
            there = _ours(github, number, mark, author)
            if there is None and not _worth_a_comment(runner):
                runner.say("nothing is to be done, and there is no comment to update")
                return ExitCode.OK
            written = _write(github, number, mark, author, there, f"{mark}\n{_body(runner, COMMENT - len(mark) - 1)}")
    except ApiError as error:
        _explain(runner, error)
        return ExitCode.OK
    runner.note(comment_url=written.url)
    runner.say(f"{'updated' if there else 'created'}: {written.url}")
    return ExitCode.OK


def _ours(github: GitHub, number: int, mark: str, author: str) -> Comment | None:
    """The first comment with our mark that the token's own user wrote: anybody can write a mark."""
    return next((c for c in github.comments(number) if c.author == author and c.body.startswith(mark)), None)


def _write(github: GitHub, number: int, mark: str, author: str, there: Comment | None, body: str) -> Comment:
    if there is not None:
        return github.update(there.id, body)
    try:
        return github.create(number, body)
    except Unclear:
        there = _ours(github, number, mark, author)
        return github.update(there.id, body) if there is not None else github.create(number, body)


def _worth_a_comment(runner: Runner) -> bool:
    """A pull request that changes no job gets no comment of its own; one that it has says so."""
    notes = runner.notes()
    return notes["mode"] != "closed" and (bool(notes.get("changes")) or notes.get("code") != 0 or _warned(runner))


def _warned(runner: Runner) -> bool:
    made = _plan(runner)
    return made is not None and bool(made.warnings or made.unsettled)


def _body(runner: Runner, limit: int) -> str:
    """What the comment says, in at most `limit` characters, with a link to the run."""
    notes = runner.notes()
    end = f"\n[This run]({runner.run_url}) · updated in place\n" if runner.run_url else ""
    room = limit - len(end) - len(notes.get("remark", ""))
    if notes["mode"] == "closed":
        pull = runner.event.get("pull_request") or {}
        how = "merged: what is applied is in the run of the push" if pull.get("merged") else "closed without a merge"
        return f"### No longer planned\n\nThe pull request was {how}.\n{end}"
    made = _plan(runner)
    if made is not None:
        return f"{notes.get('remark', '')}{plan_markdown(made, room)}{end}"
    failure = runner.notes_folder / "failure.md"
    text = failure.read_text(encoding="utf-8") if failure.exists() else f"### {notes.get('verdict', '')}\n"
    return f"{text[:room]}{end}"


def _plan(runner: Runner) -> Plan | None:
    notes = runner.notes()
    if notes.get("code") not in (ExitCode.OK, ExitCode.CHANGES) or not notes.get("plan_file"):
        return None
    return Plan.model_validate_json((runner.notes_folder / "plan.json").read_bytes())


def _explain(runner: Runner, error: ApiError) -> None:
    if error.status in (403, 404):
        hint = "the job needs 'permissions: pull-requests: write'"
        runner.annotate(
            "notice", f"no comment was made: {error.message}; {hint}. The plan is in the summary of this run"
        )
    else:
        runner.annotate("warning", f"no comment was made: {error.message}. The plan is in the summary of this run")
