"""From an address to the store behind it. Each kind is imported when it is used."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from reconciler.address import Address, beside
from reconciler.backends.files import FileStore
from reconciler.backends.lease import SECONDS, Pace
from reconciler.backends.register import Limits, Register, limits
from reconciler.backends.snapshot import Store


def open_store(
    address: Address | None,
    state: Path,
    root: Path,
    environ: Mapping[str, str],
    lease: float = SECONDS,
    patience: float = 60.0,
) -> Store:
    """The store at `address`; without one, the file `state`. Raises `UsageError` for what cannot be used here.

    `lease`: how long its lock lasts; `patience`: how long a place may keep silent. Seconds.
    """
    if address is None:
        return FileStore(state, beside(state, ".journal"), beside(state, ".lock"))
    from reconciler.backends.shared import SharedStore

    register = _register(address, root, environ, limits(patience, lease))
    return SharedStore(register, state, Pace(lease), _run(environ))


def _register(address: Address, root: Path, environ: Mapping[str, str], limits: Limits = Limits()) -> Register:
    match address.scheme:
        case "git":
            from reconciler.backends.git import GitRegister

            return GitRegister(address, root, environ, limits)
        case "http" | "https":
            from reconciler.backends.terraform import TerraformRegister

            return TerraformRegister(address, environ, limits)
        case _:
            from reconciler.backends.objects import ObjectRegister

            return ObjectRegister(address, environ, limits)


def _run(environ: Mapping[str, str]) -> str | None:
    """The address of the CI run, if there is one."""
    if environ.get("GITHUB_RUN_ID"):
        names = ("GITHUB_SERVER_URL", "GITHUB_REPOSITORY", "GITHUB_RUN_ID")
        server, repository, run = (environ.get(name, "") for name in names)
        return f"{server}/{repository}/actions/runs/{run}"
    return environ.get("CI_JOB_URL") or environ.get("BUILD_URL") or None
