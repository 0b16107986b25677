"""`run`: the loop."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from reconciler.cli.completing import files
from reconciler.cli.guarding import LIMIT_OPTIONS
from reconciler.cli.options import Duration, Options, cache_folder, common, specs_path
from reconciler.cli.output import run_async
from reconciler.cli.runlog import HOOK_SECRET, Logged, logging_to, new_log, once
from reconciler.errors import UsageError

if TYPE_CHECKING:
    import socket

    from reconciler.loop.following import Clone, Folder
    from reconciler.loop.logs import Log
    from reconciler.loop.loop import Loop
    from reconciler.loop.telling import Telling
    from reconciler.reconcile import PlanRequest, Settings

_LOCK_TIMEOUT = 10.0
"""Seconds that a round waits for the lock at least: most commands of people are over by then."""
_CHECKOUT = Path(".reconciler", "checkout")


def _limits(command: Any) -> Any:
    for option in LIMIT_OPTIONS:
        command = option(command)
    return command


@click.command(cls=Logged)
@click.argument("path", required=False, metavar="[PATH]", shell_complete=files)
@click.option("--repository", metavar="URL", help="Follow this git repository, not the folder.")
@click.option("--branch", metavar="NAME", help="The branch of it to follow.  [default: main]")
@click.option(
    "--checkout", metavar="DIR", help="Where the clone of it is kept, and worked in.  [default: .reconciler/checkout]"
)
@click.option("--interval", type=Duration(), default="1m", show_default=True, help="Time between two rounds.")
@click.option(
    "--listen",
    metavar="ADDRESS:PORT",
    default="127.0.0.1:8751",
    show_default=True,
    help="Where /healthz, /readyz, /metrics and /hook are answered, or 'none'; port 0 takes a free one.",
)
@click.option(
    "--hung-after", type=Duration(), default="15m", show_default=True, help="How long /healthz bears no progress."
)
@click.option(
    "--log-format", type=click.Choice(["text", "json"]), default="text", show_default=True, help="What stderr carries."
)
@click.option("--prune", is_flag=True, help="Cancel and forget jobs whose spec is gone.")
@click.option("--adopt/--no-adopt", default=True, help="On a first run, take over identical jobs.  [default: adopt]")
@click.option("--allow-empty", is_flag=True, help="Accept a folder without specs: every job is an orphan then.")
@_limits
@click.option(
    "--lock-timeout",
    type=Duration(),
    help="How long a round waits for the lock.  [default, and at least: 10s; with a shared state a lease more]",
)
@common(without=("lock_timeout", "output_format"))
def run(options: Options, path: str | None, **how: Any) -> int:
    """Apply the specs again and again, until a signal.

    A round is what 'apply --yes' does. There is one at the start, at each interval, on SIGHUP and, with a secret in
    RECONCILER_HOOK_SECRET, on POST /hook. A job that could not be submitted is tried again after 1, 2, 4 … minutes.
    SIGTERM ends the loop when the round under way has ended in good order.
    """
    if how["interval"] < 1:
        raise UsageError("--interval is shorter than 1s")
    if options.output_format not in (None, "text"):
        raise UsageError("'run' has no --format: it writes nothing but its log", "write --log-format json")
    if how["lock_timeout"] is not None:
        options.lock_timeout = how["lock_timeout"]
    secret = _hook_secret()
    log = new_log(how["log_format"], quiet=bool(options.quiet))
    options.warn = once(lambda text: log.line("warning", "warning", text))
    follow = _follow(options, how)
    with logging_to(log), _listening(how["listen"], secret) as listener:
        return run_async(_run(options, path, how, follow, log, listener, secret))


async def _run(
    options: Options,
    path: str | None,
    how: Mapping[str, Any],
    follow: Folder | Clone,
    log: Log,
    listener: socket.socket | None,
    secret: str | None,
) -> int:
    from reconciler import __version__
    from reconciler.loop.health import Health
    from reconciler.loop.leading import Leadership
    from reconciler.loop.loop import Loop
    from reconciler.loop.rounds import Rounds
    from reconciler.loop.telling import Telling

    leadership, health = Leadership("run"), Health(how["hung_after"])
    telling = Telling(log, health, leadership)
    rounds = Rounds(follow, lambda: _as_they_are(options, path, how, telling.waiting), leadership, telling)
    loop = Loop(rounds, how["interval"], resting=health.beat)
    log.line("info", "start", f"reconciler {__version__} runs in {Path.cwd()}", version=__version__, pid=os.getpid())
    with contextlib.ExitStack() as stack:
        stack.enter_context(_signals(loop, log))
        if listener is not None:
            stack.enter_context(_answering(listener, secret, loop, telling))
        try:
            code = await loop.run()
        finally:
            await rounds.close()
    log.line("info", "stop", "stopped", exit_code=int(code))
    return code


def _as_they_are(
    options: Options, path: str | None, how: Mapping[str, Any], tell: Callable[[str], None]
) -> tuple[Settings, PlanRequest]:
    """The settings and the request of a round: `reconciler.yaml` is read anew. Raises `SpecError`, `UsageError`."""
    from reconciler.cli.guarding import limits_in_force, retyped
    from reconciler.facts import PlanOptions
    from reconciler.reconcile import PlanRequest

    try:
        settings = options.settings("run")
    except FileNotFoundError as error:
        raise UsageError("the folder that the loop was started in is gone", "start it anew") from error
    # A lock that nobody renews is taken over after a whole lease of watching it.
    patience = _LOCK_TIMEOUT + (settings.lease if settings.address else 0.0)
    settings = replace(settings, lock_timeout=max(settings.lock_timeout, patience), tell=tell)
    limits, typed = limits_in_force(how, {})
    program, *words = retyped("apply")
    command = (program, "-C", str(settings.root), *words) if how["repository"] else (program, *words)
    request = PlanRequest(
        paths=(specs_path(path),),
        scoped=specs_path(path).absolute() != specs_path(None).absolute(),
        options=PlanOptions(prune=how["prune"], limits=limits, command=command),
        adopt=how["adopt"],
        allow_empty=how["allow_empty"],
        overrides=typed,
        typed=command,
    )
    return settings, request


def _follow(options: Options, how: Mapping[str, Any]) -> Folder | Clone:
    """What the loop follows. A clone becomes the working directory: there `reconciler.yaml`, specs and state are."""
    from reconciler.address import is_address
    from reconciler.connect import ignore_in_git
    from reconciler.loop.following import Clone, Folder

    if how["repository"] is None:
        for name in ("checkout", "branch"):
            if how[name] is not None:
                raise UsageError(f"--{name} is for a clone, and there is no --repository")
        return Folder()
    # What was typed is seen from where the loop was started.
    folder, url = Path(how["checkout"] or _CHECKOUT).absolute(), how["repository"]
    if Path(url).is_dir():
        url = str(Path(url).resolve())
    clone = Clone(folder, url, how["branch"] or "main")
    if options.state is not None and not is_address(options.state):
        options.state = str(Path(options.state).absolute())
    os.environ["RECONCILER_CACHE"] = str(cache_folder() or "off")  # never one that a commit brings along
    try:
        if how["checkout"] is None:
            ignore_in_git(Path(".reconciler"))
        folder.mkdir(parents=True, exist_ok=True)
        os.chdir(folder)
    except OSError as error:
        raise UsageError(f"--checkout {folder} cannot be used: {error.strerror}") from error
    return clone


def _hook_secret() -> str | None:
    from reconciler.loop.hook import SHORTEST

    secret = (os.environ.get(HOOK_SECRET) or "").strip() or None
    if secret is not None and len(secret) < SHORTEST:
        hint = "make one: python3 -c 'import secrets; print(secrets.token_urlsafe(32))'"
        raise UsageError(f"{HOOK_SECRET} has less than {SHORTEST} characters", hint)
    return secret


@contextlib.contextmanager
def _listening(text: str, secret: str | None) -> Iterator[socket.socket | None]:
    """The socket for the answers; None when there are to be none."""
    if text == "none":
        if secret is not None:
            raise UsageError(f"{HOOK_SECRET} is set, but --listen none takes no hook", "unset it, or give an address")
        yield None
        return
    try:
        from reconciler.loop.web import bind, parse_address
    except ModuleNotFoundError as error:
        hint = "install it: pip install 'reconciler[service]'; or give --listen none"
        raise UsageError(f"what answers /healthz and /metrics is not installed (no {error.name})", hint) from error
    address = parse_address(text)
    assert address is not None
    with contextlib.closing(bind(*address)) as listener:
        yield listener


@contextlib.contextmanager
def _answering(listener: socket.socket, secret: str | None, loop: Loop, telling: Telling) -> Iterator[None]:
    import asyncio

    from reconciler.loop.metrics import Metrics
    from reconciler.loop.web import Web, is_loopback, served

    main, metrics = asyncio.get_running_loop(), Metrics()
    telling.metrics = metrics

    def asked() -> None:
        with contextlib.suppress(RuntimeError):  # the loop has just ended
            main.call_soon_threadsafe(loop.trigger, "hook")

    host, port = listener.getsockname()[:2]
    at = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    paths = "/healthz, /readyz, /metrics" + (", POST /hook" if secret else "")
    telling.log.line("info", "listen", f"listens on {at}: {paths}", url=at, hook=secret is not None)
    if not is_loopback(listener):
        telling.log.line("warning", "listen", "other machines can reach it, and the traffic is not encrypted")
    with served(Web(telling.health, metrics, asked, secret), listener):
        yield


@contextlib.contextmanager
def _signals(loop: Loop, log: Log) -> Iterator[None]:
    """SIGINT and SIGTERM stop the loop, SIGHUP asks for a round."""
    import asyncio

    def stop(number: int) -> None:
        text = f"{signal.Signals(number).name}: stopping in good order; again to stop at once"
        log.line("info", "signal", text, signal=signal.Signals(number).name)
        loop.stop(number)

    main = asyncio.get_running_loop()
    handlers: Mapping[int, tuple[Callable[..., None], object]] = {
        signal.SIGINT: (stop, signal.SIGINT),
        signal.SIGTERM: (stop, signal.SIGTERM),
        signal.SIGHUP: (loop.trigger, "signal"),
    }
    for number, (call, argument) in handlers.items():
        main.add_signal_handler(number, call, argument)
    try:
        yield
    finally:
        for number in handlers:
            main.remove_signal_handler(number)
