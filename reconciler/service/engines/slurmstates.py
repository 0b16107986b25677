"""What the states of Slurm's jobs mean for a place."""

from __future__ import annotations

from pathlib import Path

from reconciler.service.engines import places
from reconciler.service.engines.engine import NOT_STARTED, Ending, How
from reconciler.service.engines.slurmcommands import SlurmJob, refused
from reconciler.service.protocol import printable

_LOG_TAIL = 2000  # bytes
_LIMITS = {
    "TIMEOUT": ("timeout", "Slurm ended it at its time limit", "split the job, or raise the limit of the partition"),
    "DEADLINE": ("timeout", "Slurm ended it at its deadline", None),
    "OUT_OF_MEMORY": (
        "memory_limit_exceeded",
        "Slurm ended it because it used more memory than the pipeline allows",
        "raise resources.memory_mb in the pipeline",
    ),
}


def lost(job: SlurmJob | None, why: str) -> Ending:
    """The end of a place for which nobody is to blame."""
    name = f"Slurm job {job.id}" if job else "the Slurm job"
    return Ending(How.LOST, {"code": "place_lost", "message": f"{name} was lost: {why}"})


def impossible(job: SlurmJob) -> Ending:
    """The end of a place that Slurm has taken, and for which there can never be room."""
    return Ending(How.FAILED, refused(f"Slurm finds no machines for job {job.id}: {job.reason}"))


def ended_early(job: SlurmJob, folder: Path, *, troubled: bool) -> Ending:
    """Why a job of Slurm's ended before its work was done. `troubled`: its controller was started again not long ago.

    Slurm says CANCELLED for what a person has cancelled, and also when a machine cannot launch a job: as when it still
    has another one of that id, which the controller has forgotten.
    """
    where = f" on {job.nodes}" if job.nodes else ""
    if job.state == "PREEMPTED":
        return Ending(How.PREEMPTED, _error("preempted", f"Slurm preempted job {job.id}{where}"))
    claimed = (folder / places.CLAIM).exists()
    by_somebody = not troubled and (claimed or not job.nodes)
    if job.state in ("CANCELLED", "REVOKED") and by_somebody:
        return Ending(How.CANCELLED, _error("cancelled", f"job {job.id} was cancelled in Slurm"))
    if job.state in _LIMITS:
        code, message, suggestion = _LIMITS[job.state]
        return Ending(How.FAILED, _error(code, f"{message} (job {job.id}{where})", suggestion))
    if job.state in ("NODE_FAIL", "BOOT_FAIL") or claimed:
        return lost(job, f"it ended as {job.state}{where} before its work was done")
    message = f"Slurm job {job.id} ended as {job.state}{where} before the service's supervisor could start"
    return Ending(
        How.LOST,
        _error(
            NOT_STARTED,
            message,
            "see that the machines of the cluster have the service's Python and its shared folder under the same paths",
            _log(folder),
        ),
    )


def _error(code: str, message: str, suggestion: str | None = None, log: str = "") -> dict[str, object]:
    error: dict[str, object] = {"code": code, "message": message}
    if suggestion:
        error["suggestion"] = suggestion
    if log:
        error["details"] = {"log": log}
    return error


def _log(folder: Path) -> str:
    try:
        text = (folder / "supervisor.log").read_bytes()[-_LOG_TAIL:]
    except OSError:
        return ""
    return printable(text.decode("utf-8", "replace")).strip()
