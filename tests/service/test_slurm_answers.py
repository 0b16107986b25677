"""What Slurm's commands answer, in the versions that there are, and what the service makes of it. Needs no Slurm."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from reconciler.service.definition import Resources
from reconciler.service.engines import slurmcommands
from reconciler.service.engines.engine import EngineUnavailable, How, Work, WorkRefused
from reconciler.service.engines.slurm import SlurmEngine, SlurmOptions
from reconciler.service.engines.slurmcommands import SlurmJob
from reconciler.service.engines.slurmstates import ended_early

pytestmark = pytest.mark.anyio

OLD = {"job_id": 7, "comment": "reconciler/x/job_1.1", "state_reason": "None", "nodes": "n1"}
NEW = {
    "job_id": 7,
    "comment": "reconciler/x/job_1.1",
    "state_reason": "None",
    "nodes": "n1",
    "priority": {"set": True, "infinite": False, "number": 4294901759},
}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


def answering(folder: Path, monkeypatch: pytest.MonkeyPatch, command: str, script: str) -> None:
    """A program of that name is the first on the PATH."""
    path = folder / command
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")


@pytest.mark.parametrize(
    ("raw", "state", "flags"),
    [
        (OLD | {"job_state": "RUNNING"}, "RUNNING", set()),
        (OLD | {"job_state": "COMPLETING"}, "COMPLETING", set()),
        (NEW | {"job_state": ["RUNNING"]}, "RUNNING", set()),
        (NEW | {"job_state": ["PREEMPTED", "COMPLETING"]}, "PREEMPTED", {"COMPLETING"}),
        (NEW | {"job_state": ["COMPLETING", "FAILED"]}, "FAILED", {"COMPLETING"}),
        (NEW | {"job_state": []}, "UNKNOWN", set()),
        (NEW | {"job_state": ["RUNNING"], "job_id": {"set": True, "infinite": False, "number": 7}}, "RUNNING", set()),
    ],
)
async def test_the_json_of_older_and_newer_versions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, raw: dict[str, Any], state: str, flags: set[str]
) -> None:
    (tmp_path / "answer").write_text(json.dumps({"jobs": [raw], "errors": []}))
    answering(tmp_path, monkeypatch, "squeue", f"cat {tmp_path}/answer")
    (job,) = await slurmcommands.jobs()
    assert job == SlurmJob("7", "reconciler/x/job_1.1", state, frozenset(flags), "None", "n1")


@pytest.mark.parametrize(
    "script",
    [
        """echo '{"errors": [{"description": "Unable to contact the controller"}], "jobs": []}'""",
        "echo no json",
        "exit 1",
        """echo '{"jobs": [{}]}'""",
    ],
)
async def test_an_answer_that_is_none_is_not_taken_for_no_jobs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str
) -> None:
    answering(tmp_path, monkeypatch, "squeue", script)
    with pytest.raises(EngineUnavailable):
        await slurmcommands.jobs()


async def test_a_command_that_hangs_is_ended_and_its_outcome_unknown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slurmcommands, "PATIENCE", 0.3)
    answering(tmp_path, monkeypatch, "sbatch", "exec sleep 60")
    with pytest.raises(EngineUnavailable, match="gave no answer within"):
        await slurmcommands.submit([], "")


@pytest.mark.parametrize(
    ("said", "final"),
    [
        ("Batch job submission failed: Invalid partition name specified", True),
        ("Batch job submission failed: Requested node configuration is not available", True),
        ("Batch job submission failed: Unable to contact slurm controller (connect failure)", False),
        ("Batch job submission failed: Socket timed out on send/recv operation", False),
        ("Batch job submission failed: Transport endpoint is not connected", False),
        ("Batch job submission failed: Broken pipe", False),
        ("Batch job submission failed: Unexpected missing socket error", False),
        ("Batch job submission failed: Slurm backup controller in standby mode", False),
        ("QOSMaxSubmitJobPerUserLimit: Job violates accounting/QOS policy (job submit limit)", False),
        ("", False),
    ],
)
async def test_only_a_refusal_for_good_fails_the_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, final: bool
) -> None:
    answering(tmp_path, monkeypatch, "sbatch", f"echo 'sbatch: error: {said}' >&2; exit 1" if said else "exit 1")
    with pytest.raises(WorkRefused if final else EngineUnavailable):
        await slurmcommands.submit([], "")


NO_JOBS = """echo '{"jobs": [], "errors": []}'"""
GOT_THROUGH = """echo '{"jobs": [{"job_id": 7, "comment": "reconciler/x/m", "job_state": "PENDING"}], "errors": []}'"""
NOT_AT_FIRST = "[ -e asked ] && exec echo 8; touch asked; echo 'sbatch: error: out of the blue' >&2; exit 1"


@pytest.mark.parametrize(
    ("squeue", "sbatch", "expected"),
    [
        (NO_JOBS, "echo 'sbatch: error: out of the blue' >&2; exit 1", WorkRefused),
        ("exit 1", "echo 'sbatch: error: out of the blue' >&2; exit 1", EngineUnavailable),
        (NO_JOBS, NOT_AT_FIRST, "8"),
        (GOT_THROUGH, NOT_AT_FIRST, "7"),
    ],
)
async def test_a_refusal_counts_when_slurm_is_well_and_says_it_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, squeue: str, sbatch: str, expected: str | type[Exception]
) -> None:
    monkeypatch.chdir(tmp_path)
    answering(tmp_path, monkeypatch, "squeue", f"[ -e begun ] || {{ touch begun; {NO_JOBS}; exit; }}; {squeue}")
    answering(tmp_path, monkeypatch, "sbatch", sbatch)
    answering(tmp_path, monkeypatch, "scontrol", "")
    engine = SlurmEngine(SlurmOptions(), owner="x", runs=tmp_path / "runs", slots=1)
    work = Work(name="a", folder=tmp_path / "runs" / "m", indexes=1, resources=Resources())
    if isinstance(expected, str):
        assert (await engine.ensure("m", None, work)).id == expected
    else:
        with pytest.raises(expected):
            await engine.ensure("m", None, work)


async def test_neither_the_key_nor_options_from_outside_reach_slurm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ATAI_API_KEY", "sk_secret")
    monkeypatch.setenv("SBATCH_PARTITION", "other")
    answering(tmp_path, monkeypatch, "squeue", "env")
    seen = await slurmcommands.run("squeue")
    assert "PATH=" in seen
    assert "sk_secret" not in seen
    assert "SBATCH" not in seen


@pytest.mark.parametrize(
    ("state", "how", "code"),
    [
        ("TIMEOUT", How.FAILED, "timeout"),
        ("DEADLINE", How.FAILED, "timeout"),
        ("OUT_OF_MEMORY", How.FAILED, "memory_limit_exceeded"),
        ("PREEMPTED", How.PREEMPTED, "preempted"),
        ("NODE_FAIL", How.LOST, "place_lost"),
        ("BOOT_FAIL", How.LOST, "place_lost"),
        ("CANCELLED", How.CANCELLED, "cancelled"),
        ("FAILED", How.LOST, "place_lost"),
    ],
)
def test_what_the_end_of_a_job_of_slurm_means(tmp_path: Path, state: str, how: How, code: str) -> None:
    (tmp_path / "claim").mkdir()
    job = SlurmJob("7", "", state, frozenset(), "None", "n1")
    ending = ended_early(job, tmp_path, troubled=False)
    assert (ending.how, ending.error["code"]) == (how, code)


def test_a_job_that_could_not_start_is_quoted_and_cancelled_by_slurm_is_not_by_a_person(tmp_path: Path) -> None:
    (tmp_path / "supervisor.log").write_text("\x1b[31mno python here\n")
    failed = ended_early(SlurmJob("7", "", "FAILED", frozenset(), "", "n1"), tmp_path, troubled=False)
    assert failed.error["details"] == {"log": "[31mno python here"}
    launched = SlurmJob("7", "", "CANCELLED", frozenset(), "", "n1")
    assert ended_early(launched, tmp_path, troubled=False).how is How.LOST
    waiting = SlurmJob("7", "", "CANCELLED", frozenset(), "", "")
    assert ended_early(waiting, tmp_path, troubled=False).how is How.CANCELLED
    assert ended_early(waiting, tmp_path, troubled=True).how is How.LOST


def test_the_partition_goes_by_priority() -> None:
    options = SlurmOptions(((0, "normal"), (5, "urgent"), (-10, "idle")))
    assert [options.partition(each) for each in (-20, -10, 0, 4, 5, 99)] == [
        "idle",
        "idle",
        "normal",
        "normal",
        "urgent",
        "urgent",
    ]
    assert SlurmOptions().partition(3) is None


def serve(*options: str, path: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "reconciler", "serve", "--port", "0", *options]
    return subprocess.run(command, capture_output=True, text=True, env={"PATH": path}, timeout=60, check=False)


def test_no_slurm_on_the_path_says_what_to_do(tmp_path: Path) -> None:
    done = serve("--data", str(tmp_path / "d"), "--engine", "slurm", path=str(tmp_path))
    assert done.returncode == 1
    assert "there is no sbatch, squeue, scontrol, scancel on the PATH" in done.stderr
    assert "--engine local" in done.stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--slurm-partition", "low"], "--slurm-partition is for --engine slurm"),
        (["--shared", "x"], "--shared is for --engine slurm"),
        (["--engine", "slurm", "--slurm-partition", "high=low"], "does not begin with a priority"),
    ],
)
def test_options_that_do_not_fit_are_refused(tmp_path: Path, options: list[str], said: str) -> None:
    done = serve("--data", str(tmp_path / "d"), *options, path=os.environ["PATH"])
    assert done.returncode == 64
    assert said in done.stderr
