"""Options that every command takes, and the settings that come of them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial, update_wrapper
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from reconciler.cli import completing
from reconciler.durations import seconds
from reconciler.errors import UsageError

if TYPE_CHECKING:
    from reconciler.address import Address
    from reconciler.reconcile import Settings


_OF_SPECS = frozenset({"validate", "render"})
"""Commands that use neither an endpoint nor a state."""


class Duration(click.ParamType[float]):
    """Seconds, written as `90`, `90s`, `5m`, `1.5h` or `500ms`."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        length = seconds(str(value).strip())
        if length is None:
            self.fail(f"{value!r} is not a duration; write for example 90s, 5m or 1h", param, ctx)
        return length


_COMMON: dict[str, Callable[[Any], Any]] = {
    "endpoint": click.option(
        "--endpoint",
        metavar="URL",
        envvar=["RECONCILER_ENDPOINT", "ATAI_API_ENDPOINT"],
        help="The platform's base URL, or 'local': the embedded service, in this process.",
    ),
    "environment": click.option(
        "--environment",
        metavar="NAME",
        help="One of the environments in reconciler.yaml.",
        shell_complete=completing.environments,
    ),
    "state": click.option(
        "--state",
        metavar="PLACE",
        help="A file, or git:, s3://…, gs://…, az://…, https://…  [default: .reconciler/state.json]",
    ),
    "output_format": click.option(
        "--format",
        "output_format",
        type=click.Choice(["text", "json", "markdown", "codequality", "junit", "github", "sarif"]),
        help="What stdout carries; text and json everywhere, the others where a command says so.  [default: text]",
    ),
    "quiet": click.option("-q", "--quiet", is_flag=True, default=None, help="Neither progress nor hints on stderr."),
    "verbose": click.option(
        "-v", "--verbose", is_flag=True, default=None, help="Progress on stderr, also without a terminal."
    ),
    "timeout": click.option(
        "--timeout",
        type=Duration(),
        help="Patience with a platform, or a shared state, that does not answer.  [default: 60s]",
    ),
    "lock_timeout": click.option(
        "--lock-timeout", type=Duration(), help="How long to wait for the lock.  [default: 0s]"
    ),
    "parallelism": click.option(
        "--parallelism", metavar="N", type=click.IntRange(1, 256), help="Requests in flight.  [default: 16]"
    ),
    "allow_endpoint_change": click.option(
        "--allow-endpoint-change", is_flag=True, default=None, help="Let the state belong to this endpoint from now on."
    ),
}

COMMON_OPTIONS = frozenset(_COMMON)
"""The parameters that all commands have."""


@dataclass(slots=True)
class Options:
    """The common options, as far as they were given: on the command, before it, or in the environment."""

    endpoint: str | None = None
    environment: str | None = None
    state: str | None = None
    output_format: str | None = None
    quiet: bool | None = None
    verbose: bool | None = None
    timeout: float | None = None
    lock_timeout: float | None = None
    parallelism: int | None = None
    allow_endpoint_change: bool | None = None
    warn: Callable[[str], None] | None = None
    """Hears warnings instead of stderr."""

    @property
    def json(self) -> bool:
        return self.output_format == "json"

    def settings(self, command: str) -> Settings:
        """Where things are: options, then the environment, then `reconciler.yaml`, then the defaults.

        Raises `UsageError`, and `SpecError` for a broken `reconciler.yaml`.
        """
        from reconciler.cli.output import note
        from reconciler.client import normalise_endpoint
        from reconciler.client.patience import Timing
        from reconciler.config import STATE, config_above, read_config
        from reconciler.connect import LOCAL, PLATFORM
        from reconciler.reconcile import Settings

        config = read_config(Path.cwd(), self.environment, cache_folder())
        endpoint = self.endpoint or config.get("endpoint") or PLATFORM
        environment = config.get("environment")
        state, address = place_of(self.state or config.get("state") or STATE, environment)
        above = config_above(Path.cwd())
        if above and address is None and not state.exists():
            self._warn_of_defaults(command, above)
        return Settings(
            root=Path.cwd(),
            state=state,
            address=address,
            lease=_duration(os.environ.get("RECONCILER_LEASE") or "60s", "RECONCILER_LEASE"),
            endpoint=LOCAL if endpoint == LOCAL else normalise_endpoint(endpoint),
            key=(os.environ.get("ATAI_API_KEY") or "").strip() or None,
            parallelism=self.parallelism or config.get("parallelism") or 16,
            lock_timeout=self._seconds(self.lock_timeout, config.get("lock_timeout"), 0.0),
            settle_time=_duration(os.environ.get("RECONCILER_SETTLE_TIME") or "5s", "RECONCILER_SETTLE_TIME"),
            allow_endpoint_change=bool(self.allow_endpoint_change),
            allow_http=os.environ.get("RECONCILER_ALLOW_HTTP", "") in ("1", "true"),
            specs=specs_path(None),
            command=command,
            environment=environment,
            config_above=above,
            siblings=tuple(there or file for file, there in (place_of(s, None) for s in config.get("siblings", ()))),
            vars=config.get("vars", {}),
            environ=os.environ,
            policies=config.get("reconcile", {}),
            cache=cache_folder(),
            tell=partial(note, self),
            timing=Timing(budget=self._seconds(self.timeout, config.get("timeout"), 60.0)),
        )

    def _warn_of_defaults(self, command: str, above: str) -> None:
        """A state that is not there and an endpoint that nobody named are those of another folder, perhaps."""
        from reconciler.cli.output import note
        from reconciler.config import elsewhere

        used = (
            {"endpoint": self.endpoint} if command == "pipelines" else {"endpoint": self.endpoint, "state": self.state}
        )
        if command not in _OF_SPECS and (defaults := [name for name, given in used.items() if not given]):
            text = f"{elsewhere(above)}; this uses the default {' and '.join(defaults)}"
            if self.warn is not None:
                self.warn(text)
            else:
                note(self, f"warning: {text}")

    @staticmethod
    def _seconds(option: float | None, written: str | None, default: float) -> float:
        if option is not None:
            return option
        return _duration(written) if written is not None else default


def cache_folder() -> Path | None:
    """The user's cache folder for this tool, unless RECONCILER_CACHE names another one, or says `off`.

    Raises `UsageError` for a word that is no folder's name.
    """
    asked = os.environ.get("RECONCILER_CACHE", "")
    if asked.lower() in ("on", "yes", "true", "1"):
        raise UsageError(f"RECONCILER_CACHE is {asked!r}", "it names a folder, or says 'off'; unset, there is a cache")
    if asked:
        return None if asked.lower() in ("off", "no", "none", "false", "0") else Path(asked).expanduser().absolute()
    folder = os.environ.get("XDG_CACHE_HOME", "")
    try:
        return (Path(folder) if folder.startswith("/") else Path.home() / ".cache") / "reconciler"
    except RuntimeError:  # nobody knows the user's home
        return None


def _duration(text: str, variable: str | None = None) -> float:
    try:
        return Duration().convert(text, None, None)
    except click.BadParameter as error:
        raise UsageError(f"{variable}: {error.message}" if variable else error.message) from error


def place_of(text: str, environment: str | None) -> tuple[Path, Address | None]:
    """The state file that `text` names; for the address of a shared state, what this machine keeps of it, and the
    address. Raises `UsageError`.
    """
    from reconciler.address import parse_address

    address = parse_address(text, environment)
    if address is None:
        return Path(text), None
    known = hashlib.sha256(f"{address.place}#{address.key}".encode()).hexdigest()[:12]
    return Path(".reconciler", f"shared-{known}"), address


def specs_path(path: str | None) -> Path:
    """The folder or file with the specs: as given, else as `reconciler.yaml` says, else `specs/`."""
    from reconciler.config import read_config

    return Path(path or read_config(Path.cwd(), cache=cache_folder()).get("specs") or "specs")


def _refuse_format(ctx: click.Context, wanted: str | None, formats: tuple[str, ...]) -> None:
    """Raises `UsageError` when the command has not this format. The group leaves it to its commands."""
    known = ("text", "json", *formats)
    if wanted is not None and wanted not in known and not isinstance(ctx.command, click.Group):
        raise UsageError(f"'{ctx.command.name}' has no format {wanted!r}", f"it has {', '.join(known)}")


def common(
    without: tuple[str, ...] = (), formats: tuple[str, ...] = ()
) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """Give a command the common options, but for some, and as its first argument the `Options` that are in force.

    `formats`: what it can write besides text and JSON. The command raises `UsageError` when asked for another one.
    """

    def decorate(command: Callable[..., int]) -> Callable[..., int]:
        @click.pass_context
        def wrapper(ctx: click.Context, /, *args: Any, **kwargs: Any) -> int:
            options = ctx.ensure_object(Options)
            for key in _COMMON.keys() - without:
                value = kwargs.pop(key)
                # What stands before the command wins over the environment, not over what stands behind it.
                typed = ctx.get_parameter_source(key) is ParameterSource.COMMANDLINE
                if value is not None and (typed or getattr(options, key) is None):
                    setattr(options, key, value)
            _refuse_format(ctx, options.output_format, formats)
            return int(ctx.invoke(command, options, *args, **kwargs) or 0)

        wrapped: Callable[..., int] = update_wrapper(wrapper, command)
        for key, option in reversed(_COMMON.items()):
            if key not in without:
                wrapped = option(wrapped)
        return wrapped

    return decorate
