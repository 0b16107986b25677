"""The order of the phases: load → resolve → plan → apply → observe. What the command line calls.

Each function takes plain values and returns one; nothing here prints. Progress is told to callbacks.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from reconciler.reconcile.applying import Applied, apply
    from reconciler.reconcile.byhand import adopt_all, cancel, forget, move, retry
    from reconciler.reconcile.deciding import import_job, settle_by_hand
    from reconciler.reconcile.explaining import explain
    from reconciler.reconcile.pipelines import pull_pipelines
    from reconciler.reconcile.planning import PlanRequest, checked_out, desired_jobs, plan
    from reconciler.reconcile.reading import read_specs
    from reconciler.reconcile.settings import Settings
    from reconciler.reconcile.validating import in_repository
    from reconciler.reconcile.watching import Hooks, Status, download, events, outputs, recorded, state_of, status, wait

__all__ = [
    "Applied",
    "Hooks",
    "PlanRequest",
    "Settings",
    "Status",
    "adopt_all",
    "apply",
    "cancel",
    "checked_out",
    "desired_jobs",
    "download",
    "events",
    "explain",
    "forget",
    "import_job",
    "in_repository",
    "move",
    "outputs",
    "plan",
    "pull_pipelines",
    "read_specs",
    "recorded",
    "retry",
    "settle_by_hand",
    "state_of",
    "status",
    "wait",
]

_MODULES = {
    "Applied": "applying",
    "Hooks": "watching",
    "PlanRequest": "planning",
    "Settings": "settings",
    "Status": "watching",
    "adopt_all": "byhand",
    "apply": "applying",
    "cancel": "byhand",
    "checked_out": "planning",
    "desired_jobs": "planning",
    "download": "watching",
    "events": "watching",
    "explain": "explaining",
    "forget": "byhand",
    "import_job": "deciding",
    "in_repository": "validating",
    "move": "byhand",
    "outputs": "watching",
    "plan": "planning",
    "pull_pipelines": "pipelines",
    "read_specs": "reading",
    "recorded": "watching",
    "retry": "byhand",
    "settle_by_hand": "deciding",
    "state_of": "watching",
    "status": "watching",
    "wait": "watching",
}


def __getattr__(name: str) -> Any:
    """What is asked for is imported then: a plan needs little of what an apply does."""
    if name not in _MODULES:
        raise AttributeError(name)
    return getattr(import_module(f"reconciler.reconcile.{_MODULES[name]}"), name)
