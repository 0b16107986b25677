"""`reconciler.yaml`: defaults for the options of the command line, kept beside the specs."""

from __future__ import annotations

import functools
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from reconciler.address import is_address, of_environment
from reconciler.cache import Cache, tool
from reconciler.errors import Diagnostic, Location, SpecError, UsageError
from reconciler.findings import Finding, Route, did_you_mean

FILE = "reconciler.yaml"
STATE = ".reconciler/state.json"
"""The state file where nothing says another."""


def read_config(folder: Path, environment: str | None = None, cache: Path | None = None) -> dict[str, Any]:
    """The settings in `folder`'s `reconciler.yaml` as they are in `environment`; empty without the file.

    `environment` is the one that was asked for; the result has the one that is meant. `cache`: the folder in which is
    remembered what the file says, by its content. Raises `SpecError` with the
    locations of what is wrong, `UsageError` when the file cannot be read or has no such environment.
    """
    return _in_environment(dict(_written(folder, cache)), environment)


def environment_names(folder: Path) -> tuple[str, ...]:
    """The environments that `folder`'s `reconciler.yaml` has; none when it cannot be read."""
    try:
        return tuple(_written(folder).get("environments", {}))
    except (SpecError, UsageError):
        return ()


def _written(folder: Path, cache: Path | None = None) -> dict[str, Any]:
    """What the file in `folder` says. Raises `SpecError` and `UsageError`."""
    try:
        text = (folder / FILE).read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        text = ""
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{FILE} cannot be read: {error}") from error
    return _said(text, cache) if text.strip() else {}


@functools.cache
def _said(text: str, folder: Path | None) -> dict[str, Any]:
    """What the file says, or said in an earlier run. Raises `SpecError`."""
    if folder is None:
        return _checked(text)
    cache = Cache(folder)
    name = f"{hashlib.sha256(tool() + text.encode()).hexdigest()}.config"
    if (known := cache.read(name)) is not None:
        return cast("dict[str, Any]", json.loads(known.tobytes()))
    said = _checked(text)
    cache.write(name, json.dumps(said).encode())
    return said


def _checked(text: str) -> dict[str, Any]:
    """What the file says, read anew. Raises `SpecError`."""
    from reconciler.check import Checker
    from reconciler.spec import Config
    from reconciler.yaml12 import parse

    documents, faults = parse(text, FILE)
    diagnostics = list(faults)
    value: Any = {}
    if len(documents) > 1:
        diagnostics.append(Diagnostic("not-settings", "more than one document", Location(FILE, *documents[1].marks.at)))
    elif documents:
        value = {} if documents[0].value is None else documents[0].value
        for finding in [*Checker(Config.model_json_schema, ours=True).findings(value), *_expressions(value)]:
            line, column = documents[0].marks.locate(finding.route, key=finding.at_key)
            diagnostics.append(
                Diagnostic(finding.code, finding.summary, Location(FILE, line, column), hint=finding.hint)
            )
    if any(d.severity == "error" for d in diagnostics):
        raise SpecError(sorted(diagnostics, key=lambda d: d.location or Location(FILE)))
    return Config.model_validate(value).model_dump(exclude_none=True, exclude_unset=True)


def config_above(folder: Path) -> str | None:
    """Where the nearest `reconciler.yaml` above `folder` is, as seen from there; None where `folder` has one itself, or
    none is above it up to the top of its git repository or, without one, of the file system.
    """
    above = ""
    for each in (folder, *folder.parents):
        if os.path.isfile(each / FILE):  # noqa: PTH113 - a folder that must not be looked into has none
            return above or None
        if os.path.lexists(each / ".git"):
            return None
        above = f"{above}/.." if above else ".."
    return None


def elsewhere(above: str) -> str:
    """What is said where somebody may be in the wrong folder. `above`: as `config_above` has it."""
    return f"there is no {FILE} here, but in {above}: run it there (-C {above})"


def _expressions(value: Any, route: Route = ()) -> Iterator[Finding]:
    """Expressions are for specs. What stands here is what they stand for."""
    if isinstance(value, str) and "${{" in value:
        hint = "write the value; expressions are filled in in specs"
        yield Finding(route, "bad-expression", "an expression in reconciler.yaml is not filled in", hint)
    elif isinstance(value, dict):
        for key, below in value.items():
            yield from _expressions(below, (*route, key))
    elif isinstance(value, list):
        for index, below in enumerate(value):
            yield from _expressions(below, (*route, index))


def _in_environment(config: dict[str, Any], asked: str | None) -> dict[str, Any]:
    environments = config.pop("environments", {})
    name = asked or config.get("environment")
    states = {one: _state_of(config, one, here) for one, here in environments.items()}
    if name is None:
        return {**config, "siblings": [*states.values()]} if states else config
    if name not in environments:
        known = "it has " + ", ".join(environments) if environments else "it has none"
        raise UsageError(f"{FILE} has no environment {name!r}", did_you_mean(name, environments) or known)
    here = environments[name]
    merged = {**config, "environment": name, **here}
    for key in ("vars", "reconcile"):
        if key in config and key in here:
            merged[key] = {**config[key], **here[key]}
    merged["state"] = states.pop(name)
    merged["siblings"] = [config.get("state", STATE), *states.values()]
    return merged


def _state_of(config: dict[str, Any], name: str, here: dict[str, Any]) -> str:
    """The state of an environment. Two never share one by accident: a state belongs to one endpoint."""
    if not here.get("state") and is_address(config.get("state", STATE)):
        return of_environment(config["state"], name)
    state = Path(config.get("state", STATE))
    return str(here.get("state") or state.with_name(f"{state.stem}.{name}{state.suffix}"))
