"""`reader_config`, which the sensor pipelines have in common: which columns are read, and how rows become windows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from reconciler.service.worker import WorkFailed


@dataclass(frozen=True, slots=True)
class Reader:
    """Which columns are read, and how rows become windows (sizes in rows)."""

    data_columns: tuple[str, ...]
    timestamp_column: str
    window_size: int
    step_size: int


def read_reader(config: Mapping[str, Any]) -> Reader:
    """Reads `reader_config`. Raises KeyError, and `WorkFailed` `step_larger_than_window`: no schema can say that."""
    raw = config["reader_config"]
    reader = Reader(
        data_columns=tuple(raw["data_columns"]),
        timestamp_column=raw["timestamp_column"],
        window_size=raw["window_size"],
        step_size=raw["step_size"],
    )
    if reader.step_size > reader.window_size:
        raise WorkFailed(
            "step_larger_than_window",
            f"step_size {reader.step_size} skips rows: it is larger than window_size {reader.window_size}",
            f"use a step_size from 1 to {reader.window_size}",
        )
    return reader


@contextmanager
def complete_config() -> Iterator[None]:
    """Around reading a resolved config: a key that is missing becomes `WorkFailed` `config_incomplete`."""
    try:
        yield
    except KeyError as missing:
        raise WorkFailed(
            "config_incomplete",
            f"the resolved config has no {missing}",
            "the pipeline's defaults belong under what the job asks for, key by key",
        ) from missing
