"""Labelled files as embedded windows."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from reconciler.service.sensors.reader import Reader
from reconciler.service.sensors.rows import count_rows, read_rows
from reconciler.service.sensors.windows import Array, cut, embed
from reconciler.service.worker import InputFile, WorkFailed


def embed_file(file: InputFile, reader: Reader, batch_size: int, embedding: Callable[[Array], Array] = embed) -> Array:
    """Embeds all windows of one file: (windows, features). Raises `WorkFailed` if it has no whole one."""
    batches = cut(read_rows(file, reader), reader.window_size, reader.step_size, batch_size)
    parts = [embedding(batch.values) for batch in batches]
    if not parts:
        raise file_too_short(file, reader)
    return np.concatenate(parts)


def file_too_short(file: InputFile, reader: Reader) -> WorkFailed:
    """The failure of a file that has not one whole window."""
    rows = count_rows(file)
    return WorkFailed(
        "file_too_short",
        f"{file.filename} has {rows} rows, fewer than one window of {reader.window_size}",
        "use a smaller window_size or a longer file",
        {"file": file.filename, "rows": rows, "window_size": reader.window_size},
    )


def class_of(file: InputFile, port: str) -> str:
    """The class that a file is an example of. Raises `WorkFailed` `class_missing`."""
    name = file.metadata.get("class")
    if not isinstance(name, str) or not name.strip():
        raise WorkFailed(
            "class_missing",
            f"the example {file.filename} has no class",
            f"give each file of {port} a metadata.class",
            {"file": file.filename},
        )
    return name


def two_classes(names: list[str], port: str) -> list[str]:
    """The different names, in order. Raises `WorkFailed` `too_few_classes` for fewer than two."""
    classes = sorted(set(names))
    if len(classes) < 2:
        raise WorkFailed(
            "too_few_classes",
            f"the files of {port} name {len(classes)} class ({', '.join(classes)}); two are needed",
            f"add a file of another class to {port}",
        )
    return classes
