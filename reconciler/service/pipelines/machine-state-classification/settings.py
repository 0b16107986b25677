"""The resolved `config` of a job as values. Its schema is `user_config_schema` in `pipeline.yaml`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from reconciler.service.sensors.reader import Reader, complete_config, read_reader


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
    with complete_config():
        return _settings(config)


def _settings(config: Mapping[str, Any]) -> Settings:
    classifier = config["classifier_config"]
    return Settings(
        model_type=config["model_type"],
        batch_size=config["batch_size"],
        flush_every=config["flush_every_n_iteration"],
        reader=read_reader(config),
        classifier=Classifier(
            n_neighbors=classifier["n_neighbors"],
            metric=classifier["metric"],
            weights=classifier["weights"],
            normalize_embeddings=classifier["normalize_embeddings"],
        ),
    )
