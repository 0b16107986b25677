"""The labelled examples as a nearest-neighbour classifier over embeddings."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sensor_csv import count_rows, read_rows
from settings import Classifier, Reader, Settings
from windows import Array, cut, embed

from reconciler.service.worker import InputFile, Report, WorkFailed


@dataclass(frozen=True, slots=True)
class Scale:
    """Centre and spread of each feature over the examples: distances then weigh all features alike."""

    centre: Array
    spread: Array
    normalize: bool

    def apply(self, embeddings: Array) -> Array:
        """Standardises (windows, features); then scales each row to length 1 if the job wants that."""
        scaled = (embeddings - self.centre) / self.spread
        if not self.normalize:
            return scaled
        length = np.linalg.norm(scaled, axis=1, keepdims=True)
        normal: Array = scaled / np.where(length > 0, length, 1)
        return normal


@dataclass(frozen=True, slots=True)
class Model:
    """What the examples taught."""

    scale: Scale
    neighbours: Any  # scikit-learn has no types

    def classify(self, values: Array) -> list[tuple[str, float]]:
        """Gives (class, score) for (windows, rows, columns); score is the class's share of the vote, 0 to 1.

        Of classes with equal votes the first by name wins.
        """
        votes = self.neighbours.predict_proba(self.scale.apply(embed(values)))
        best = votes.argmax(axis=1)
        classes = self.neighbours.classes_[best]
        return [(str(name), float(vote[at])) for name, vote, at in zip(classes, votes, best, strict=True)]


def learn(examples: Sequence[InputFile], settings: Settings, report: Report) -> Model:
    """Embeds the windows of the examples and fits the classifier.

    Raises `WorkFailed`: `class_missing`, `too_few_classes`, `file_too_short`, `too_few_examples`, and what
    reading a file can raise.
    """
    labels = [_class_of(file) for file in examples]
    classes = sorted(set(labels))
    if len(classes) < 2:
        raise WorkFailed(
            "too_few_classes",
            f"the n-shot files name {len(classes)} class ({', '.join(classes)}); two are needed",
            "add an n-shot file of another class to worker.n_shots",
        )
    parts = [embed_file(file, settings) for file in examples]
    names = [label for label, part in zip(labels, parts, strict=True) for _ in range(len(part))]
    _check_amount(Counter(names), settings.classifier, report)
    return fit(np.concatenate(parts), np.array(names), settings.classifier)


def fit(embeddings: Array, names: NDArray[np.str_], wanted: Classifier) -> Model:
    """Fits the classifier on (windows, features) and a class name for each window."""
    # The slowest import by far; what is wrong with the files is told without waiting for it.
    from sklearn.neighbors import KNeighborsClassifier

    spread = embeddings.std(axis=0)
    # A feature that is the same in all examples says nothing, and must not be blown up by rounding errors.
    still = spread <= 1e-9 * np.maximum(1, np.abs(embeddings).max(axis=0))
    scale = Scale(embeddings.mean(axis=0), np.where(still, 1, spread), wanted.normalize_embeddings)
    neighbours = KNeighborsClassifier(wanted.n_neighbors, metric=wanted.metric, weights=wanted.weights)
    neighbours.fit(scale.apply(embeddings), names)
    return Model(scale, neighbours)


def embed_file(file: InputFile, settings: Settings) -> Array:
    """Embeds all windows of one file: (windows, features). Raises `WorkFailed` if it has no whole one."""
    reader = settings.reader
    rows = read_rows(file, reader)
    parts = [embed(batch.values) for batch in cut(rows, reader.window_size, reader.step_size, settings.batch_size)]
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


def _class_of(file: InputFile) -> str:
    name = file.metadata.get("class")
    if not isinstance(name, str) or not name.strip():
        raise WorkFailed(
            "class_missing",
            f"n-shot file {file.filename} has no class",
            "give each file of worker.n_shots a metadata.class",
            {"file": file.filename},
        )
    return name


def _check_amount(windows: Counter[str], wanted: Classifier, report: Report) -> None:
    found = ", ".join(f"{name}: {count}" for name, count in sorted(windows.items()))
    if windows.total() < wanted.n_neighbors:
        raise WorkFailed(
            "too_few_examples",
            f"n_neighbors is {wanted.n_neighbors}, but there are {windows.total()} n-shot windows ({found})",
            "use a smaller n_neighbors, window_size or step_size, or longer n-shot files",
            {"n_neighbors": wanted.n_neighbors, "windows": dict(windows)},
        )
    if min(windows.values()) < wanted.n_neighbors:
        report.event(
            "WARN",
            f"A class with fewer n-shot windows than n_neighbors ({wanted.n_neighbors}) seldom wins: {found}",
            dict(windows),
        )
