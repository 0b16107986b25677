"""Slurm's own commands: `sbatch`, `squeue`, `scontrol` and `scancel`, each with a time-out, and what they answer."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from reconciler.service.engines.engine import EngineUnavailable, WorkRefused
from reconciler.service.errors import ServiceError
from reconciler.service.protocol import printable

PATIENCE = 10.0  # seconds that a command gets; without its controller it would wait much longer
_COMMANDS = ("sbatch", "squeue", "scontrol", "scancel")
_PASSED_ON = ("PATH", "HOME", "USER", "LOGNAME", "SLURM_CONF", "SLURM_CONF_SERVER", "XDG_RUNTIME_DIR", "TZ")
TERMINAL = frozenset(
    "COMPLETED FAILED CANCELLED TIMEOUT OUT_OF_MEMORY NODE_FAIL PREEMPTED BOOT_FAIL DEADLINE REVOKED".split()
)
_BASES = TERMINAL | {"PENDING", "RUNNING", "SUSPENDED"}  # the other states are said beside one of these
_SHOWN = 500  # characters of what a command says went wrong
# What sbatch says when it may go through later. Anything else that it says is a refusal for good.
_OF_THE_NETWORK = "|".join(
    re.escape(os.strerror(getattr(errno, name)))
    for name in "EAGAIN ECONNABORTED ECONNREFUSED ECONNRESET EHOSTDOWN EHOSTUNREACH EINTR EIO EMFILE ENETDOWN ENETRESET"
    " ENETUNREACH ENFILE ENOBUFS ENOMEM ENOTCONN EPIPE ESHUTDOWN ETIMEDOUT".split()
)
_PASSING = re.compile(
    r"unable to contact|timed out|connection|socket|transmission|zero bytes|communication|temporarily|try again"
    r"|unexpected message|not responding|slurmctld|controller|protocol|munge|credential|submit limit"
    r"|maximum number of jobs|MaxSubmit"
    rf"|{_OF_THE_NETWORK}",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class SlurmJob:
    """A job as Slurm shows it. `state` without what newer versions add to it (`COMPLETING`, …)."""

    id: str
    comment: str
    state: str
    flags: frozenset[str]
    reason: str
    nodes: str

    @property
    def held(self) -> bool:
        """It waits for us."""
        return self.state == "PENDING" and self.reason == "JobHeldUser"

    @property
    def impossible(self) -> bool:
        """The cluster has nothing that could ever run it."""
        return self.state == "PENDING" and self.reason == "BadConstraints"


def demand() -> None:
    """Raises `ServiceError` when the commands are not there."""
    lacking = [name for name in _COMMANDS if shutil.which(name) is None]
    if lacking:
        raise ServiceError(
            f"the engine slurm needs the commands of Slurm, and there is no {', '.join(lacking)} on the PATH",
            "run the service on a machine from which you submit jobs (Debian: apt-get install slurm-client), or use"
            " --engine local",
        )


def environment() -> dict[str, str]:
    """What the commands get: no key, and no SBATCH_… that would change what is asked for."""
    return {name: os.environ[name] for name in _PASSED_ON if name in os.environ} | {"LC_ALL": "C.UTF-8"}


async def run(*command: str, stdin: str = "") -> str:
    """What the command prints. Raises `EngineUnavailable` when it gives no answer, and `CalledSlurm` for a failure."""
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment(),
        start_new_session=True,  # a Ctrl-C is for the service
    )
    try:
        async with asyncio.timeout(PATIENCE):
            out, err = await process.communicate(stdin.encode())
    except TimeoutError:
        raise EngineUnavailable(f"{command[0]} gave no answer within {PATIENCE:g} seconds") from None
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.kill()
            await asyncio.shield(process.wait())
    if process.returncode != 0:
        raise CommandFailed(command[0], printable(err.decode("utf-8", "replace")).strip()[:_SHOWN])
    return out.decode("utf-8", "replace")


class CommandFailed(EngineUnavailable):
    """A command said no. `said` is its words."""

    def __init__(self, command: str, said: str) -> None:
        super().__init__(f"{command}: {said or 'it failed and said nothing'}")
        self.said = said


async def submit(options: Sequence[str], script: str) -> str:
    """The id of the new job. Raises `WorkRefused`, and `EngineUnavailable` when nobody knows whether there is one."""
    try:
        answer = await run("sbatch", "--parsable", *options, stdin=script)
    except CommandFailed as failure:
        if not failure.said or _PASSING.search(failure.said):
            raise
        raise WorkRefused(refused(f"Slurm does not take the job: {' '.join(failure.said.split())}")) from failure
    job_id = answer.strip().partition(";")[0]
    if not job_id.isdigit():
        raise EngineUnavailable(f"sbatch answered {answer[:_SHOWN]!r}, which is no job id")
    return job_id


def refused(message: str) -> dict[str, Any]:
    """The error of a job that Slurm will not run."""
    return {
        "code": "refused_by_slurm",
        "message": message,
        "suggestion": "compare the pipeline's resources, and the partition and options that the service was started"
        " with, with what the cluster has",
    }


async def jobs() -> list[SlurmJob]:
    """All jobs that the controller knows of. Raises `EngineUnavailable`."""
    answer = await run("squeue", "--json", "--states=all")
    try:
        document = json.loads(answer)
        if document.get("errors"):  # it exits with 0 all the same
            raise EngineUnavailable(f"squeue: {document['errors'][0].get('description', 'an error')}")
        return [_job(raw) for raw in document["jobs"]]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise EngineUnavailable(f"what squeue answers is not understood: {error!r}") from error


async def boot_time() -> float:
    """When the controller was started, in POSIX time. Raises `EngineUnavailable`."""
    found = re.search(r"^BOOT_TIME\s*=\s*(\S+)", await run("scontrol", "show", "config"), re.MULTILINE)
    try:
        return datetime.fromisoformat(found[1]).timestamp() if found else 0.0  # in the time zone of both of us
    except ValueError:
        return 0.0


def _job(raw: Mapping[str, Any]) -> SlurmJob:
    states = raw["job_state"]
    states = [states] if isinstance(states, str) else [str(each) for each in states]  # a list since Slurm 23.11
    state = next((each for each in states if each in _BASES), states[0] if states else "UNKNOWN")
    comment = raw.get("comment") or ""
    return SlurmJob(
        id=str(number(raw["job_id"])),
        comment=comment if isinstance(comment, str) else str(comment.get("user", "")),
        state=state,
        flags=frozenset(states) - {state},
        reason=str(raw.get("state_reason") or ""),
        nodes=str(raw.get("nodes") or ""),
    )


def number(value: Any) -> int | None:
    """A number, which newer versions write as `{set, infinite, number}`; None when it is not set."""
    if isinstance(value, Mapping):
        return int(value["number"]) if value.get("set") and not value.get("infinite") else None
    return None if value is None else int(value)


def processors(partitions: Sequence[str]) -> int:
    """How many processors the smallest of the partitions has; without any, the cluster's default. Blocks. Raises
    `ServiceError`.
    """
    try:
        done = subprocess.run(
            ["scontrol", "--oneliner", "show", "partition"],  # noqa: S607 - found on the PATH, as by `demand`
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
            env=environment(),
        )
        said = done.stdout if done.returncode == 0 else ""
        why = printable(" ".join(done.stderr.split()))
    except subprocess.TimeoutExpired:
        said, why = "", f"no answer within {PATIENCE:g} seconds"
    found = {}
    for line in said.splitlines():
        values = dict(word.partition("=")[::2] for word in line.split())
        if "PartitionName" in values and values.get("TotalCPUs", "").isdigit():
            found[values["PartitionName"]] = int(values["TotalCPUs"])
            if values.get("Default") == "YES":
                found[""] = int(values["TotalCPUs"])
    if not found:
        raise ServiceError(
            f"Slurm does not say which partitions it has: {why or 'scontrol shows none'}",
            "see that 'scontrol ping' works here; with --capacity N the service starts without asking",
        )
    unknown = [name for name in partitions if name not in found]
    if unknown:
        known = ", ".join(sorted(filter(None, found)))
        raise ServiceError(f"the cluster has no partition {unknown[0]!r}", f"it has {known}")
    if not partitions and "" not in found:
        raise ServiceError("the cluster has no default partition", "name one: --slurm-partition NAME")
    return min(found[name] for name in (partitions or [""]))
