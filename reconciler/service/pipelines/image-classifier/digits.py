"""The local models: two classifiers of handwritten digits, trained at start on images of scikit-learn's.

The data set has 1797 images of 8 by 8. The first 1497 are for training. The last 300 are never trained on:
images made of those, such as the examples that come with this project, are new to the models. Neighbours in the
data set look to be by one writer, so this is a harder test than a random split would be.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pixels import to_grid, to_ink
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier

Array = NDArray[np.float64]

TRAINING_IMAGES = 1497
STAND_INS = {"resnet50": "digits-knn-v1", "efficientnet-b0": "digits-logistic-v1"}


@dataclass(frozen=True, slots=True)
class DigitModel:
    """A trained classifier. `used` is its name for the results."""

    used: str
    classifier: Any  # scikit-learn has no types

    def classify(self, grid: Array) -> tuple[str, float]:
        """Gives the label ("0" to "9") of (8, 8) ink and its score, 0 to 1."""
        scores = self.classifier.predict_proba(grid.reshape(1, -1))[0]
        best = int(scores.argmax())
        return str(self.classifier.classes_[best]), float(scores[best])


def train(requested: str) -> DigitModel:
    """Trains the stand-in of a vendor's model (a key of STAND_INS); each time the same, since nothing is drawn."""
    digits = load_digits()
    # Each goes the way of an image that is read, so that the model sees both alike.
    grids = np.array([to_grid(to_ink(image)).ravel() for image in digits.images[:TRAINING_IMAGES]])
    labels = digits.target[:TRAINING_IMAGES]
    classifier = (
        KNeighborsClassifier(5, weights="distance") if requested == "resnet50" else LogisticRegression(max_iter=500)
    )
    classifier.fit(grids, labels)
    return DigitModel(f"{STAND_INS[requested]} (local stand-in for {requested}, digits only)", classifier)
