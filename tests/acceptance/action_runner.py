"""Runs the steps of `action.yml` as GitHub's runner does: bash, the environment, the runner's files, `if:`.

Only what the action uses is understood; anything else in `${{ }}` fails the test. `uses:` steps are noted, not run.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

TOP = Path(__file__).parents[2]
_EXPRESSION = re.compile(r"\$\{\{(.*?)\}\}")
_TOKEN = re.compile(r"'(?:[^']|'')*'|&&|\|\||==|!=|!|\(|\)|[A-Za-z_][\w.-]*(?:\(\))?")


@dataclass
class Ran:
    """What came of the action: the log of each step that ran, the outputs, the summary, and whether it succeeded."""

    ok: bool = True
    logs: dict[str, str] = field(default_factory=dict)
    used: list[str] = field(default_factory=list)
    outputs: dict[str, str] = field(default_factory=dict)
    summary: str = ""

    @property
    def log(self) -> str:
        return "\n".join(self.logs.values())

    def annotations(self, level: str) -> list[str]:
        """What the runner would take for an annotation: commands, but not while they are stopped."""
        found, stopped = [], ""
        for line in self.log.splitlines():
            if stopped:
                stopped = "" if line == f"::{stopped}::" else stopped
            elif line.startswith("::stop-commands::"):
                stopped = line.removeprefix("::stop-commands::")
            elif line.startswith((f"::{level} ", f"::{level}::")):
                found.append(line)
        return found


def run_action(
    workspace: Path,
    temp: Path,
    environment: Mapping[str, str],
    inputs: Mapping[str, str],
    *,
    install: bool = False,
    action: Path = TOP / "action.yml",
    before: Mapping[str, Any] | None = None,
) -> Ran:
    """Run the action in `workspace`. Without `install` the step that makes a virtual environment is left out, and this
    one used. `before`: for a step's name, what is done right before it.
    """
    document = yaml.safe_load(action.read_text())
    github = {"token": environment.get("TOKEN_OF_THE_RUN", "")}
    context: dict[str, Any] = {"github": github, "inputs": {}, "steps": {}}
    unknown = inputs.keys() - document["inputs"].keys()
    assert not unknown, f"the action has no input {unknown}"
    for name, about in document["inputs"].items():
        context["inputs"][name] = inputs.get(name, _filled(about.get("default", ""), context, ok=True))
    if not install:
        context["steps"]["install"] = {"outputs": {"python": sys.executable}}
    temp.mkdir(exist_ok=True)
    ran = Ran()
    for number, step in enumerate(document["runs"]["steps"]):
        if step.get("id") == "install" and not install:
            continue
        if not _holds(step.get("if", "success()"), context, ok=ran.ok):
            continue
        if "uses" in step:
            ran.used.append(step["uses"])
            continue
        assert step["shell"] == "bash"
        if before and step["name"] in before:
            before[step["name"]]()
        env = {name: _filled(value, context, ok=ran.ok) for name, value in step.get("env", {}).items()}
        outputs = _run_step(step, workspace, temp / str(number), {**environment, **env}, ran)
        if "id" in step:
            context["steps"][step["id"]] = {"outputs": outputs}
    for name, about in document["outputs"].items():
        ran.outputs[name] = _filled(about["value"], context, ok=ran.ok)
    return ran


def _run_step(
    step: Mapping[str, Any], workspace: Path, files: Path, environment: Mapping[str, str], ran: Ran
) -> dict[str, str]:
    assert "${{" not in step["run"], "an expression in a script is an injection"
    files.mkdir()
    for name in ("output", "summary", "env", "path"):
        (files / name).touch()
    (files / "script.sh").write_text(step["run"])
    done = subprocess.run(
        ["bash", "--noprofile", "--norc", "-e", "-o", "pipefail", files / "script.sh"],
        cwd=workspace,
        env={
            **environment,
            "GITHUB_ACTIONS": "true",
            "GITHUB_WORKSPACE": str(workspace),
            "GITHUB_ACTION_PATH": environment.get("GITHUB_ACTION_PATH", str(TOP)),
            "RUNNER_TEMP": str(files.parent),
            "GITHUB_OUTPUT": str(files / "output"),
            "GITHUB_STEP_SUMMARY": str(files / "summary"),
            "GITHUB_ENV": str(files / "env"),
            "GITHUB_PATH": str(files / "path"),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        timeout=300,
        check=False,
    )
    ran.logs[step["name"]] = done.stdout
    ran.ok = ran.ok and done.returncode == 0
    summary = (files / "summary").read_bytes()
    assert len(summary) <= 1024 * 1024, "GitHub refuses the summary"
    ran.summary += summary.decode()
    assert not (files / "env").read_text(), "a step sets the environment of later ones"
    return dict(read_outputs((files / "output").read_text()))


def read_outputs(text: str) -> Iterator[tuple[str, str]]:
    """The outputs in the file that `GITHUB_OUTPUT` names."""
    lines = iter(text.split("\n"))
    for line in lines:
        if match := re.fullmatch(r"([\w-]+)<<(.+)", line):
            value = []
            for inner in lines:
                if inner == match[2]:
                    break
                value.append(inner)
            else:
                raise AssertionError(f"the output {match[1]} has no end")
            yield match[1], "\n".join(value)
        elif line:
            name, _, said = line.partition("=")
            yield name, said


def _filled(text: str, context: Mapping[str, Any], *, ok: bool) -> str:
    """`text` with its expressions evaluated."""
    return _EXPRESSION.sub(lambda m: str(_value(m[1], context, ok=ok)), str(text))


def _holds(condition: str, context: Mapping[str, Any], *, ok: bool) -> bool:
    """A condition that asks for no status holds only while all went well."""
    if not re.search(r"\b(always|success|failure|cancelled)\(\)", condition):
        condition = f"success() && ({condition})"
    return bool(_value(condition, context, ok=ok))


def _value(expression: str, context: Mapping[str, Any], *, ok: bool) -> Any:
    """Evaluate the few operators and references that the action uses."""
    words = {"&&": " and ", "||": " or ", "!": " not ", "always()": "True", "success()": str(ok)}
    parts = []
    assert not _TOKEN.sub("", expression).strip(), f"not understood: {expression}"
    for token in _TOKEN.findall(expression):
        if token[0] == "'":
            parts.append(repr(token[1:-1].replace("''", "'")))
        elif re.match(r"[A-Za-z_][\w.-]*$", token):
            parts.append(repr(_reference(token, context)))
        else:
            parts.append(words.get(token, token))
    return eval("".join(parts), {"__builtins__": {}})


def _reference(path: str, context: Mapping[str, Any]) -> str:
    """What `a.b.c` is; an output that was not set is the empty string, an input that is not declared a mistake."""
    first, *rest = path.split(".")
    value: Any = context[first]
    for place, key in enumerate(rest, 1):
        assert first != "inputs" or key in value, f"no input {key}"
        value = value.get(key, {} if place < len(rest) else "")
    assert isinstance(value, str), path
    return value


def runner_environment(**more: str) -> dict[str, str]:
    """What a step finds on a runner."""
    return {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "LANG": "C.UTF-8",
        "GITHUB_SERVER_URL": "https://github.example",
        "GITHUB_REPOSITORY": "octo/jobs",
        "GITHUB_RUN_ID": "4711",
        "GITHUB_RUN_ATTEMPT": "1",
        **more,
    }
