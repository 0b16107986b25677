"""The labelled examples as a nearest-neighbour classifier over embeddings."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from settings import Classifier, Settings

from reconciler.service.sensors.examples import class_of, embed_file, two_classes
from reconciler.service.sensors.projection import Projection
from reconciler.service.sensors.windows import Array, embed
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
    """What the examples taught, on embeddings that a fine-tuning may have projected."""

    scale: Scale
    neighbours: Any  # scikit-learn has no types
    projection: Projection | None = None

    def classify(self, values: Array) -> list[tuple[str, float]]:
        """Gives (class, score) for (windows, rows, columns); score is the class's share of the vote, 0 to 1.

        Of classes with equal votes the first by name wins.
        """
        votes = self.neighbours.predict_proba(self.scale.apply(embedded(values, self.projection)))
        best = votes.argmax(axis=1)
        classes = self.neighbours.classes_[best]
        return [(str(name), float(vote[at])) for name, vote, at in zip(classes, votes, best, strict=True)]


def embedded(values: Array, projection: Projection | None) -> Array:
    """Embeds (windows, rows, columns) as the job does."""
    embeddings = embed(values)
    return embeddings if projection is None else projection.apply(embeddings)


def learn(examples: Sequence[InputFile], settings: Settings, projection: Projection | None, report: Report) -> Model:
    """Embeds the windows of the examples and fits the classifier.

    Raises `WorkFailed`: `class_missing`, `too_few_classes`, `file_too_short`, `too_few_examples`, and what
    reading a file can raise.
    """
    port = "worker.n_shots"
    labels = [class_of(file, port) for file in examples]
    two_classes(labels, port)
    parts = [
        embed_file(file, settings.reader, settings.batch_size, lambda values: embedded(values, projection))
        for file in examples
    ]
    names = [label for label, part in zip(labels, parts, strict=True) for _ in range(len(part))]
    _check_amount(Counter(names), settings.classifier, report)
    return replace(fit(np.concatenate(parts), np.array(names), settings.classifier), projection=projection)


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
