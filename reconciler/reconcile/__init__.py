"""The order of the phases: load → resolve → plan → apply → observe. What the command line calls.

Each function takes plain values and returns one; nothing here prints. Progress is told to callbacks.
"""

from reconciler.reconcile.applying import Applied, apply
from reconciler.reconcile.byhand import adopt_all, cancel, forget, move, retry
from reconciler.reconcile.deciding import import_job, settle_by_hand
from reconciler.reconcile.explaining import explain
from reconciler.reconcile.pipelines import pipelines, pull_pipelines
from reconciler.reconcile.planning import PlanRequest, checked_out, desired_jobs, plan, read_specs
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
    "pipelines",
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
