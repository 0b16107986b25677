"""Jobs that are one too many: made by a run that was stopped between its last look at the lock and its request, for so
long that another run took over, settled the submission and made the job itself.
"""

from __future__ import annotations

from reconciler.client import Client
from reconciler.entries import Submitted
from reconciler.errors import PlatformError
from reconciler.job import Seen, State
from reconciler.record import Folded


async def withdraw(client: Client, folded: Folded) -> tuple[State, tuple[str, ...]]:
    """Cancel the jobs among `folded.strays` for which the record has another one. The state with what became of them in
    its history, and what to tell. Where the record is gone nobody can say whether the job is wanted: it is only told.
    """
    state, told = folded.state, []
    for stray in folded.strays:
        if stray.name not in state.jobs:
            told.append(f"{stray.name}: a run that had lost its lock made {stray.job_id}, and no record has it")
            continue
        told.append(
            f"{stray.name}: a run that had lost its lock made {stray.job_id} as well; "
            f"{await _cancelled(client, stray)}, and it is in the history of the record"
        )
        if isinstance(seen := await client.observe(stray.job_id), Seen):
            state = _with_status(state, stray, seen.job.status)
    return state, tuple(told)


async def _cancelled(client: Client, stray: Submitted) -> str:
    try:
        await client.cancel(stray.job_id)
    except PlatformError as error:
        return f"it could not be cancelled ({error.message})"
    return "it was cancelled"


def _with_status(state: State, stray: Submitted, status: str) -> State:
    record = state.jobs[stray.name]
    history = tuple(p.model_copy(update={"status": status}) if p.job_id == stray.job_id else p for p in record.history)
    return state.model_copy(update={"jobs": {**state.jobs, stray.name: record.model_copy(update={"history": history})}})
