"""`reconciler.yaml`: defaults for the options of the command line, kept beside the specs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, JsonValue

from reconciler.check import Checker, Finding, Route, did_you_mean
from reconciler.errors import Diagnostic, Location, SpecError, UsageError
from reconciler.spec import Defaults
from reconciler.yaml12 import parse

FILE = "reconciler.yaml"
STATE = ".reconciler/state.json"
"""The state file where nothing says another."""

_NO_OTHERS: dict[str, JsonValue] = {"additionalProperties": False}  # than those whose names fit the pattern


class _Overridable(BaseModel):
    """What an environment can have otherwise."""

    model_config = ConfigDict(extra="forbid")

    vars: dict[Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_-]*$")], Any] = Field(
        default_factory=dict, description="Values for `${{ vars.NAME }}` in specs.", json_schema_extra=_NO_OTHERS
    )
    endpoint: str | None = Field(None, description="Base URL of the platform, or `local`.")
    state: str | None = Field(None, description="The state file.")
    reconcile: Defaults | None = Field(None, description="Policies of jobs that do not have their own.")


class Environment(_Overridable):
    """What is otherwise in one environment. Its vars and policies are laid over those above, one by one."""


class Config(_Overridable):
    """Defaults for a working directory. An option or an environment variable wins over each."""

    model_config = ConfigDict(extra="forbid", title="reconciler.yaml")

    specs: str | None = Field(None, description="The folder with the specs.")
    parallelism: int | None = Field(None, ge=1, le=256, description="Requests in flight.")
    timeout: str | None = Field(None, description="Patience with a platform that does not answer, for example 60s.")
    lock_timeout: str | None = Field(None, description="How long to wait for the lock of the state.")
    environment: str | None = Field(None, description="The environment that is meant without --environment.")
    environments: dict[Annotated[str, Field(pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$")], Environment] = Field(
        default_factory=dict,
        description="What is otherwise in each environment, chosen with --environment NAME.",
        json_schema_extra=_NO_OTHERS,
    )


def read_config(folder: Path, environment: str | None = None) -> dict[str, Any]:
    """The settings in `folder`'s `reconciler.yaml` as they are in `environment`; empty without the file.

    `environment` is the one that was asked for; the result has the one that is meant. Raises `SpecError` with the
    locations of what is wrong, `UsageError` when the file cannot be read or has no such environment.
    """
    path = folder / FILE
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        text = ""
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{FILE} cannot be read: {error}") from error
    documents, faults = parse(text, FILE)
    diagnostics = list(faults)
    value: Any = {}
    if len(documents) > 1:
        diagnostics.append(Diagnostic("not-settings", "more than one document", Location(FILE, 1)))
    elif documents:
        value = {} if documents[0].value is None else documents[0].value
        for finding in [*Checker(Config.model_json_schema(), ours=True).findings(value), *_expressions(value)]:
            line, column = documents[0].marks.locate(finding.route, key=finding.at_key)
            diagnostics.append(
                Diagnostic(finding.code, finding.summary, Location(FILE, line, column), hint=finding.hint)
            )
    if any(d.severity == "error" for d in diagnostics):
        raise SpecError(diagnostics)
    return _in_environment(Config.model_validate(value).model_dump(exclude_none=True, exclude_unset=True), environment)


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
    if name is None:
        return config
    if name not in environments:
        known = "it has " + ", ".join(environments) if environments else "it has none"
        raise UsageError(f"{FILE} has no environment {name!r}", did_you_mean(name, environments) or known)
    here = environments[name]
    merged = {**config, "environment": name, **here}
    for key in ("vars", "reconcile"):
        if key in config and key in here:
            merged[key] = {**config[key], **here[key]}
    if "state" not in here:
        # Two environments never share a state by accident: a state belongs to one endpoint.
        state = Path(config.get("state", STATE))
        merged["state"] = str(state.with_name(f"{state.stem}.{name}{state.suffix}"))
    return merged
