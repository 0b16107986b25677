"""One service on one data folder, put together."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from fastapi import FastAPI

from reconciler.service import registry
from reconciler.service.app import create_app
from reconciler.service.attempts import Attempts
from reconciler.service.clock import Clock, system_clock
from reconciler.service.contents import Contents
from reconciler.service.database import DEFAULT_ORGANISATION, Database
from reconciler.service.details import Details
from reconciler.service.engines import slurmcommands
from reconciler.service.engines.engine import Engine
from reconciler.service.engines.local import LocalEngine
from reconciler.service.engines.slurm import SlurmEngine, SlurmOptions
from reconciler.service.errors import ServiceError
from reconciler.service.files import Files
from reconciler.service.folder import DataFolder, SchedulerLock
from reconciler.service.handovers import Handovers
from reconciler.service.health import Readiness
from reconciler.service.keys import Keys, read_keys
from reconciler.service.links import Links
from reconciler.service.metrics import Metrics
from reconciler.service.parts import PartFiles
from reconciler.service.progress import Progress
from reconciler.service.routes.context import Context
from reconciler.service.scheduler import Scheduler
from reconciler.service.settings import Settings
from reconciler.service.store import Store
from reconciler.service.uploads import Uploads


@dataclass(frozen=True, slots=True)
class Service:
    """The parts that whoever runs a service needs."""

    app: FastAPI
    scheduler: Scheduler
    lock: SchedulerLock
    capacity: int
    pipelines: tuple[str, ...]
    outlived: bool  # whether running jobs go on when the service stops


@contextmanager
def open_service(
    data: Path,
    *,
    key: str | None,
    keys_file: Path | None = None,
    capacity: int | None,
    pipelines: Path | None,
    settings: Settings,
    clock: Clock = system_clock,
    slurm: SlurmOptions | None = None,
    shared: Path | None = None,
) -> Iterator[Service]:
    """Open the data folder `data`, made if need be. Requests need `key`, which is of the organisation
    "default", or one in `keys_file`; without either they need none. `capacity` None: one slot a processor.
    With `slurm` jobs run on a cluster; files and the folders of jobs are then in `shared`, if it is given.
    Raises `ServiceError`.
    """
    slots = _slots(capacity, slurm)
    if slots < 1:
        raise ServiceError(f"a capacity of {slots} runs nothing", "give at least 1")
    known = registry.load([registry.BUNDLED] if pipelines is None else [registry.BUNDLED, pipelines])
    folder = DataFolder(data.resolve(), shared.resolve() if shared else None)
    folder.prepare()
    with folder.setup():
        secret = folder.secret("link-secret")
        engine = _engine(folder, slots, slurm)
        database = Database(folder.database)
    try:
        default = database.organisation(DEFAULT_ORGANISATION)
        opening = {key: default} if key else {}
        if keys_file:
            opening |= read_keys(keys_file, database.organisation)
        yield _assemble(
            folder,
            database,
            known.owned(database.organisation),
            secret,
            keys=Keys(opening) if opening else None,
            default_org=default,
            engine=engine,
            settings=settings,
            clock=clock,
        )
    finally:
        database.close()


def _assemble(
    folder: DataFolder,
    database: Database,
    known: registry.Registry,
    secret: str,
    *,
    keys: Keys | None,
    default_org: str,
    engine: Engine,
    settings: Settings,
    clock: Clock,
) -> Service:
    contents = Contents(folder)
    store = Store(database, clock)
    files = Files(database, contents, clock)
    links = Links(secret, clock)
    uploads = Uploads(
        database=database, contents=contents, files=files, parts=PartFiles(folder), settings=settings, clock=clock
    )
    details = Details(database, links)
    lock = SchedulerLock(folder)
    scheduler = Scheduler(
        folder=folder,
        attempts=Attempts(database, store, contents, known, clock),
        files=files,
        uploads=uploads,
        lock=lock,
        capacity=engine.capabilities().slots,
        engine=engine,
        handovers=Handovers(database),
    )
    context = Context(
        details=details,
        progress=Progress(database, details),
        store=store,
        files=files,
        contents=contents,
        links=links,
        uploads=uploads,
        registry=known,
        settings=settings,
        clock=clock,
        wake=scheduler.wake,
        readiness=Readiness(folder=folder, database=database, scheduler=scheduler),
        metrics=Metrics(database, scheduler),
    )
    able = engine.capabilities()
    app = create_app(context, keys=keys, default_org=default_org)
    return Service(app, scheduler, lock, able.slots, _names(known), able.outlives)


def _slots(capacity: int | None, slurm: SlurmOptions | None) -> int:
    """How many indexes can work at a time; asks the cluster, unless it was said."""
    if slurm is None:
        return (os.cpu_count() or 1) if capacity is None else capacity
    slurmcommands.demand()
    return slurmcommands.processors([name for _, name in slurm.partitions]) if capacity is None else capacity


def _engine(folder: DataFolder, slots: int, slurm: SlurmOptions | None) -> Engine:
    """Call it inside `folder.setup`."""
    if slurm is None:
        return LocalEngine(slots)
    owner = folder.secret("cluster-name")[:12]
    since = (folder.root / "cluster-name").stat().st_mtime
    return SlurmEngine(slurm, owner=owner, runs=folder.runs, slots=slots, since=since)


def _names(known: registry.Registry) -> tuple[str, ...]:
    """`key version` of each pipeline."""
    definitions = [pipeline.definition for pipeline in known.pipelines.values()]
    return tuple(f"{each.pipeline_key} {each.pipeline_version}" for each in definitions)
