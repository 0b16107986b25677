"""A state for those who only look: its records are taken apart when they are asked, as far as they are asked.

Only of a state that was read as a whole before, to the byte; whoever writes reads it as `state` does.
"""

from __future__ import annotations

import functools
from typing import Any, cast

import msgspec

from reconciler.job import JsonObject, OnRemove, RecordedJob, State

_RAW = ("request", "observed", "source", "history", "retries", "moves", "cancellation", "files")


class _Record(msgspec.Struct, rename={name + "_": name for name in _RAW}, dict=True):
    """A `RecordedJob` with what a plan asks of each. The rest is read when it is asked for."""

    job_id: str
    fingerprint: str
    spec_path: str
    status: str
    line: int | None = None
    pipeline_version: str | None = None
    submitted_at: str | None = None
    observed_at: str | None = None
    commit: str | None = None
    secrets: dict[str, str] = {}
    why: str | None = None
    taken_over_at: str | None = None
    attempts: int = 1
    gone: bool = False
    protect: bool = False
    on_remove: OnRemove = "prune"
    sources: dict[str, str] = {}
    reruns: tuple[str, ...] = ()
    request_: msgspec.Raw = msgspec.Raw(b"{}")
    observed_: msgspec.Raw = msgspec.Raw(b"{}")
    source_: msgspec.Raw = msgspec.Raw(b"null")
    history_: msgspec.Raw = msgspec.Raw(b"[]")
    retries_: msgspec.Raw = msgspec.Raw(b"[]")
    moves_: msgspec.Raw = msgspec.Raw(b"[]")
    cancellation_: msgspec.Raw = msgspec.Raw(b"null")
    files_: dict[str, msgspec.Raw] = {}

    @functools.cached_property
    def request(self) -> JsonObject:
        return cast("JsonObject", msgspec.json.decode(self.request_))

    @functools.cached_property
    def observed(self) -> JsonObject:
        return cast("JsonObject", msgspec.json.decode(self.observed_))

    @property
    def files(self) -> Any:
        return self._whole.files if self.files_ else {}

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._whole, name)

    @functools.cached_property
    def _whole(self) -> RecordedJob:
        return RecordedJob.model_validate_json(msgspec.json.encode(self))


class _State(msgspec.Struct):
    version: int
    lineage: str
    endpoint: str
    serial: int = 0
    jobs: dict[str, _Record] = {}
    searched: bool = True
    generations: dict[str, int] = {}


def glance(data: bytes) -> State:
    """The state in `data`, which `state.parse` has taken for a whole one before. It is only to be looked at."""
    seen = msgspec.json.decode(data, type=_State)
    return State.model_construct(
        version=1,
        lineage=seen.lineage,
        serial=seen.serial,
        endpoint=seen.endpoint,
        jobs=cast("dict[str, RecordedJob]", seen.jobs),
        searched=seen.searched,
        generations=seen.generations,
    )
