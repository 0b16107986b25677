"""The resolved `config` of a job as values. Its schema is `user_config_schema` in `pipeline.yaml`."""

from collections.abc import Mapping
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


@dataclass(frozen=True, slots=True)
class Classifier:
    """The vote: how many neighbours, by which distance, with which weights."""

    n_neighbors: int
    metric: str
    weights: str
    normalize_embeddings: bool


@dataclass(frozen=True, slots=True)
class Settings:
    """All that a job can ask for. `batch_size` is in windows, `flush_every` in batches."""

    model_type: str
    batch_size: int
    flush_every: int
    reader: Reader
    classifier: Classifier


def read_settings(config: Mapping[str, Any]) -> Settings:
    """Reads the resolved config, defaults included.

    Raises `WorkFailed`: `config_incomplete` for a key that is missing, `step_larger_than_window`, which the
    schema cannot express.
    """
    try:
        settings = _settings(config)
    except KeyError as missing:
        raise WorkFailed(
            "config_incomplete",
            f"the resolved config has no {missing}",
            "the pipeline's defaults belong under what the job asks for, key by key",
        ) from missing
    reader = settings.reader
    if reader.step_size > reader.window_size:
        raise WorkFailed(
            "step_larger_than_window",
            f"step_size {reader.step_size} skips rows: it is larger than window_size {reader.window_size}",
            f"use a step_size from 1 to {reader.window_size}",
        )
    return settings


def _settings(config: Mapping[str, Any]) -> Settings:
    reader = config["reader_config"]
    classifier = config["classifier_config"]
    return Settings(
        model_type=config["model_type"],
        batch_size=config["batch_size"],
        flush_every=config["flush_every_n_iteration"],
        reader=Reader(
            data_columns=tuple(reader["data_columns"]),
            timestamp_column=reader["timestamp_column"],
            window_size=reader["window_size"],
            step_size=reader["step_size"],
        ),
        classifier=Classifier(
            n_neighbors=classifier["n_neighbors"],
            metric=classifier["metric"],
            weights=classifier["weights"],
            normalize_embeddings=classifier["normalize_embeddings"],
        ),
    )
