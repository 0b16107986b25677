"""`serve`, `schema` and `pipelines`: the embedded service, and the schemas."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

from reconciler.cli.options import Options, common
from reconciler.cli.output import note, run_async, show
from reconciler.errors import ExitCode, ReconcilerError, UsageError

if TYPE_CHECKING:
    from reconciler.registry import Pulled
    from reconciler.service.engines.slurm import SlurmOptions
    from reconciler.service.logs import LogFormat


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on.")
@click.option(
    "--port", default=8750, show_default=True, type=click.IntRange(0, 65535), help="The port; 0 takes a free one."
)
@click.option(
    "--data", default=".reconciler/service", show_default=True, metavar="DIR", help="Where jobs and files are kept."
)
@click.option(
    "--capacity", type=click.IntRange(1, 1024), metavar="N", help="Worker processes at a time.  [default: cores]"
)
@click.option(
    "--pipelines", metavar="DIR", type=click.Path(exists=True, file_okay=False), help="A folder of your own pipelines."
)
@click.option(
    "--keys",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False),
    help="Keys of several organisations, lines of NAME: KEY. What one has, the others do not see.",
)
@click.option(
    "--rate-limit",
    type=click.FloatRange(0, min_open=True),
    metavar="N",
    help="Requests a second for each key.  [default: no limit]",
)
@click.option(
    "--log-format",
    type=click.Choice(["text", "json"]),
    default="text",
    show_default=True,
    help="What stderr carries; 'json': an object a line, also for each request.",
)
@click.option(
    "--faults",
    metavar="FILE",
    type=click.Path(exists=True, dir_okay=False),
    help="For tests of clients: rules that refuse, delay, drop, truncate or garble answers.",
)
@click.option(
    "--engine",
    type=click.Choice(["local", "slurm"]),
    default="local",
    show_default=True,
    help="Where jobs run: on this machine, or on the Slurm cluster that 'sbatch' submits to.",
)
@click.option(
    "--shared",
    metavar="DIR",
    help="slurm: the folder for files and jobs that the cluster sees under the same path.  [default: --data]",
)
@click.option(
    "--slurm-partition",
    "slurm_partitions",
    multiple=True,
    metavar="[PRIORITY=]NAME",
    help="slurm: where jobs of at least this priority go; may be repeated.  [default: the cluster's]",
)
@click.option("--slurm-account", metavar="NAME", help="slurm: the account that jobs are charged to.")
@click.option(
    "--slurm-option",
    "slurm_extra",
    multiple=True,
    metavar="OPTION",
    help="slurm: one more option of sbatch; may be repeated.",
)
@click.option(
    "--slurm-lease",
    type=click.FloatRange(2, 3600),
    default=30,
    show_default=True,
    metavar="SECONDS",
    help="slurm: how long a job may give no sign of life before it is given up and runs again.",
)
@common()
def serve(
    options: Options,
    host: str,
    port: int,
    data: str,
    capacity: int | None,
    pipelines: str | None,
    keys: str | None,
    rate_limit: float | None,
    log_format: str,
    faults: str | None,
    engine: str,
    shared: str | None,
    **slurm: Any,
) -> int:
    """Run the embedded batch service on a port of its own.

    It has the platform's API under /v0.5, keeps everything in --data, and runs jobs in worker processes. The key is
    ATAI_API_KEY, or one that it makes and keeps in --data. Jobs that run when it stops run again when it starts; those
    on a Slurm cluster just go on.
    """
    import os

    try:
        from reconciler.service.errors import ServiceError
        from reconciler.service.server import serve as run_service
        from reconciler.service.settings import Settings
    except ModuleNotFoundError as error:
        hint = "install it: pip install 'reconciler[service]'"
        raise UsageError(f"the embedded service is not installed (no {error.name})", hint) from error

    try:
        run_service(
            host=host,
            port=port,
            data=_data_folder(data),
            capacity=capacity,
            key=(os.environ.get("ATAI_API_KEY") or "").strip() or None,
            pipelines=Path(pipelines) if pipelines else None,
            keys_file=Path(keys) if keys else None,
            announce=_announcer(options, log_format),
            settings=Settings(rate_limit=rate_limit),
            log_format=cast("LogFormat", log_format),
            faults=Path(faults) if faults else None,
            slurm=_slurm_options(engine, shared, slurm),
            shared=Path(shared) if shared else None,
        )
    except ServiceError as error:
        raise ReconcilerError(error.message, error.hint, error.details) from error
    return ExitCode.OK


def _data_folder(data: str) -> Path:
    from reconciler.connect import ignore_in_git

    if not data.strip():
        raise UsageError("--data is empty", "name a folder; without --data it is .reconciler/service")
    if Path(data) == Path(".reconciler/service"):
        ignore_in_git(Path(".reconciler"))
    return Path(data)


def _slurm_options(engine: str, shared: str | None, given: dict[str, Any]) -> SlurmOptions | None:
    """The options of the engine slurm; None for the local one, which takes none of them."""
    from reconciler.service.engines.slurm import SlurmOptions

    if engine == "local":
        used = "--shared" if shared else next((f"--{name.replace('_', '-')}" for name in _named(given)), None)
        if used:
            raise UsageError(f"{used} is for --engine slurm", "add --engine slurm, or leave it out")
        return None
    partitions = []
    for text in given["slurm_partitions"]:
        least, equals, name = text.rpartition("=")
        try:
            partitions.append((int(least) if equals else -1000, name))
        except ValueError:
            raise UsageError(
                f"--slurm-partition {text!r} does not begin with a priority, a whole number",
                "write NAME, or PRIORITY=NAME for jobs of at least that priority",
            ) from None
    account, extra, lease = given["slurm_account"], given["slurm_extra"], given["slurm_lease"]
    return SlurmOptions(tuple(partitions), account, tuple(extra), lease)


def _named(given: dict[str, Any]) -> list[str]:
    names = {"slurm_partitions": "slurm_partition", "slurm_account": "slurm_account", "slurm_extra": "slurm_option"}
    return [option for name, option in names.items() if given[name]]


def _announcer(options: Options, log_format: str) -> Callable[[str], None]:
    """Where the service's own lines go: to stderr, or into a log that programs read."""
    import logging

    if log_format == "json":
        return lambda text: logging.getLogger("reconciler.service").info("%s", text)
    return lambda text: note(options, text)


@click.command()
@click.argument(
    "name", type=click.Choice(["spec", "config", "plan", "state", "explanation", "service"]), default="spec"
)
@common()
def schema(options: Options, name: str) -> int:
    """Print a JSON Schema: of specs (the default), of reconciler.yaml, of a plan or an explanation, or of the state.

    'service' prints the OpenAPI document of the embedded service instead.

    For an editor, write it to a file and name it in the first line of a spec:
    # yaml-language-server: $schema=../schemas/spec.schema.json
    """
    from reconciler.report.style import to_json
    from reconciler.schema import SchemaName, document

    if name == "service":
        from reconciler.service.app import openapi_document

        click.echo(to_json(openapi_document()))
        return ExitCode.OK
    click.echo(to_json(document(cast("SchemaName", name))))
    return ExitCode.OK


@click.group()
def pipelines() -> None:
    """The platform's pipelines, and snapshots of them for 'validate'."""


@pipelines.command("list")
@common()
def list_(options: Options) -> int:
    """List the pipelines that the platform has."""
    from reconciler.reconcile.pipelines import pipelines as read
    from reconciler.report.results import pipelines_text

    rows = run_async(read(options.settings("pipelines")))
    show(options, pipelines_text(rows), {"format_version": 1, "pipelines": rows})
    return ExitCode.OK


def _what_to_do(pulled: Sequence[Pulled]) -> str:
    """How the snapshots get up to date: what is gone is never removed by itself."""
    changes = {each.change for each in pulled}
    writes = "'reconciler pipelines pull' writes those that are new or changed" if changes & {"new", "changed"} else ""
    removes = "remove by hand what is gone" if "gone" in changes else ""
    return "; ".join(filter(None, (writes, removes)))


@pipelines.command()
@click.argument("wanted", nargs=-1, metavar="[KEY[@VERSION]]...")
@click.option("--into", default="schemas/pipelines", show_default=True, metavar="DIR", help="Where the snapshots go.")
@click.option("--drafts", is_flag=True, help="Versions that are not published yet, too.")
@click.option("--check", is_flag=True, help="Write nothing; exit code 1 when the snapshots are not up to date.")
@common()
def pull(options: Options, wanted: tuple[str, ...], into: str, *, drafts: bool, check: bool) -> int:
    """Write a snapshot of each published pipeline version, or of those named, into schemas/pipelines/.

    'validate' and 'plan' check ports, labels and parameters against these files, offline. Commit them. --check without
    KEY looks at the snapshots that are there, and for versions that are newer.
    """
    from reconciler.reconcile import pull_pipelines
    from reconciler.report.results import pulled_json, pulled_text

    settings = options.settings("pipelines")
    pulled = run_async(pull_pipelines(settings, wanted, Path(into), drafts=drafts, only_check=check))
    if check and not pulled:
        raise UsageError(f"there are no snapshots in {into} to check", "write them: reconciler pipelines pull")
    show(options, pulled_text(pulled), pulled_json(pulled))
    if check and any(each.change in ("new", "changed", "gone") for each in pulled):
        note(options, f"the snapshots are not what the platform says now; {_what_to_do(pulled)}")
        return ExitCode.FAILED
    return ExitCode.OK
