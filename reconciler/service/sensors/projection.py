"""What a fine-tuning learns: a linear map of the embeddings that tells the classes of its examples apart."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from reconciler.service.sensors.reader import Reader
from reconciler.service.sensors.windows import FEATURES_PER_COLUMN, MODEL, Array
from reconciler.service.worker import InputFile, WorkFailed

FORMAT = "projection-1"
ABOUT = "A local stand-in: the vendor's model is not part of this service, and was not trained."


@dataclass(frozen=True, slots=True)
class Projection:
    """Standardises embeddings by `centre` and `spread` (features), then maps them by `weights` (features, classes)."""

    reader: Reader
    classes: tuple[str, ...]
    centre: Array
    spread: Array
    weights: Array
    bias: Array

    def apply(self, embeddings: Array) -> Array:
        """(windows, features) → (windows, classes): how much each window looks like each class."""
        scores: Array = (embeddings - self.centre) / self.spread @ self.weights + self.bias
        return scores

    def save(self, path: Path) -> None:
        """Write it as JSON: it can be read by eye, and reading it runs nothing."""
        document = {
            "format": FORMAT,
            "about": ABOUT,
            "model": MODEL,
            "data_columns": self.reader.data_columns,
            "timestamp_column": self.reader.timestamp_column,
            "window_size": self.reader.window_size,
            "step_size": self.reader.step_size,
            "classes": self.classes,
            **{name: getattr(self, name).tolist() for name in ("centre", "spread", "weights", "bias")},
        }
        path.write_text(json.dumps(document, allow_nan=False) + "\n", encoding="utf-8")


def read_projection(path: Path) -> Projection:
    """Raises ValueError for what is no projection."""
    raw = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(raw, dict) or (raw.get("format"), raw.get("model")) != (FORMAT, MODEL):
        raise ValueError(f"it is not of the format {FORMAT} for {MODEL}")
    try:
        columns, classes = tuple(map(str, raw["data_columns"])), tuple(map(str, raw["classes"]))
        reader = Reader(columns, str(raw["timestamp_column"]), int(raw["window_size"]), int(raw["step_size"]))
        features = len(columns) * FEATURES_PER_COLUMN
        shapes = {"centre": (features,), "spread": (features,), "weights": (features, len(classes))}
        arrays = {name: _array(raw, name, shape) for name, shape in {**shapes, "bias": (len(classes),)}.items()}
    except (KeyError, TypeError) as error:
        raise ValueError(f"it lacks {error}") from error
    if not (arrays["spread"] > 0).all():
        raise ValueError("its spread is not positive")
    return Projection(reader, classes, **arrays)


def _array(raw: dict[str, Any], name: str, shape: tuple[int, ...]) -> Array:
    values = np.array(raw[name], dtype=np.float64)
    if values.shape != shape or not np.isfinite(values).all():
        raise ValueError(f"its {name} have the shape {values.shape}, not {shape}, or are not all finite")
    return values


def projection_for(file: InputFile, reader: Reader) -> Projection:
    """The projection of a checkpoint, for a job that reads windows by `reader`.

    Raises `WorkFailed`: `bad_checkpoint`, and `checkpoint_mismatch` when it was trained on other columns or windows,
    which would give results that only look right.
    """
    try:
        projection = read_projection(file.path)
    except (OSError, ValueError, RecursionError) as error:
        raise WorkFailed(
            "bad_checkpoint",
            f"the checkpoint {file.file_id} cannot be used: {error}",
            "name a checkpoint of a fine-tuning-omega job",
        ) from error
    trained = projection.reader
    for name in ("data_columns", "window_size"):
        was, wanted = getattr(trained, name), getattr(reader, name)
        if was != wanted:
            raise WorkFailed(
                "checkpoint_mismatch",
                f"the checkpoint was trained with {name} {_shown(was)}, and this job has {_shown(wanted)}",
                "use the same reader_config in both jobs",
                {"name": name, "trained": was, "given": wanted},
            )
    return projection


def _shown(value: Any) -> str:
    return ", ".join(value) if isinstance(value, tuple) else str(value)
