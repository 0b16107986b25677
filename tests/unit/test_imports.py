"""What a command imports: start-up counts, so nothing that it does not need."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SLOW = (
    "aiosqlite anyio asyncio email.parser fastapi httpx jsonschema jsonschema_rs multiprocessing numpy "
    "prometheus_client pydantic referencing rich rfc8785 sklearn sqlite3 ssl starlette tenacity uvicorn yaml"
).split()
"""Modules that take long to import."""
SPEC = "name: {0}\npipeline_type: batch\npipeline_key: k\npipeline_version: '1'\n"
STATE = {"version": 1, "lineage": "l", "serial": 1, "endpoint": "https://example.com/v0.5", "jobs": {}}
PROBE = """
import sys
sys.argv = ["reconciler", *sys.argv[1:]]
from reconciler.cli import main
try:
    main()
except SystemExit as end:
    code = end.code
print([code, sorted(sys.modules)], file=sys.stderr)
"""


@pytest.fixture
def work(tmp_path: Path) -> Path:
    """A working directory with five specs, each with its job, and what a run remembers of them."""
    (tmp_path / "specs").mkdir()
    (tmp_path / ".reconciler").mkdir()
    (tmp_path / "reconciler.yaml").write_text("parallelism: 4\n")
    for number in range(5):
        (tmp_path / "specs" / f"{number}.yaml").write_text(SPEC.format(f"n{number}"))
    (tmp_path / ".reconciler" / "state.json").write_text(json.dumps(STATE))
    _, rendered = _run(tmp_path, "render", "--format", "json")
    jobs = {
        job["name"]: {
            "job_id": f"job_{job['name']}",
            "fingerprint": job["fingerprint"],
            "request": job["request"],
            "spec_path": job["spec_path"],
            "status": "COMPLETED",
        }
        for job in json.loads(rendered)["jobs"]
    }
    (tmp_path / ".reconciler" / "state.json").write_text(json.dumps({**STATE, "jobs": jobs}))
    return tmp_path


def _run(work: Path, *arguments: str, **environment: str) -> tuple[set[str], str]:
    """The modules that a command has imported in the end, and what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", PROBE, *arguments],
        cwd=work,
        env={
            "PATH": os.environ["PATH"],
            "RECONCILER_ENDPOINT": "https://example.com",
            "RECONCILER_CACHE": str(work / "cache"),
            **environment,
        },
        capture_output=True,
        text=True,
        check=True,
    )
    code, modules = ast.literal_eval(done.stderr.splitlines()[-1])
    assert code == 0, done.stderr
    return set(modules), done.stdout


def _slow(modules: set[str]) -> set[str]:
    return modules & set(SLOW)


@pytest.mark.parametrize(
    ("arguments", "environment"),
    [
        (["--help"], {}),
        (["--version"], {}),
        ([], {"_RECONCILER_COMPLETE": "bash_complete", "COMP_WORDS": "reconciler pl", "COMP_CWORD": "1"}),
    ],
)
def test_what_is_known_beforehand_imports_next_to_nothing(
    arguments: list[str], environment: dict[str, str], tmp_path: Path
) -> None:
    bare, _ = _run(tmp_path, "--version")
    modules, told = _run(tmp_path, *arguments, **environment)
    assert told
    assert modules == bare
    assert not modules & {"click", "dataclasses", "re", "typing", *SLOW}
    assert {m for m in modules if m.startswith("reconciler")} == {
        "reconciler",
        "reconciler.cli",
        "reconciler.cli.answers",
        "reconciler.cli.quick",
    }


@pytest.mark.parametrize("command", ["plan", "apply", "validate", "status", "state", "serve", "pipelines", "init"])
def test_help_of_a_command_imports_nothing_slow(command: str, tmp_path: Path) -> None:
    modules, told = _run(tmp_path, command, "--help")
    assert told.startswith("Usage:")
    assert _slow(modules) == set()


def test_a_plan_that_changes_nothing_imports_what_it_shows(work: Path) -> None:
    _run(work, "plan")
    modules, told = _run(work, "plan")
    assert "5 up to date" in told
    assert _slow(modules) == {"pydantic", "rfc8785"}
    assert not modules & {"reconciler.specfile", "reconciler.journal", "reconciler.record", "reconciler.spec"}


def test_a_plan_that_reads_specs_imports_neither_http_nor_an_event_loop(work: Path) -> None:
    modules, told = _run(work, "plan", RECONCILER_CACHE="off")
    assert "5 up to date" in told
    assert _slow(modules) == {"pydantic", "rfc8785", "yaml", "jsonschema_rs"}


def test_validate_imports_neither_http_nor_an_event_loop(work: Path) -> None:
    modules, _ = _run(work, "validate")
    assert _slow(modules) == {"pydantic", "rfc8785", "yaml", "jsonschema_rs"}
    modules, _ = _run(work, "validate")
    assert _slow(modules) == {"pydantic", "rfc8785"}


@pytest.mark.parametrize("command", [("explain", "n1"), ("render",)])
def test_commands_that_only_look_import_no_http(command: tuple[str, ...], work: Path) -> None:
    modules, _ = _run(work, *command)
    assert not _slow(modules) & {"httpx", "fastapi", "jsonschema", "rich", "uvicorn", "starlette"}
