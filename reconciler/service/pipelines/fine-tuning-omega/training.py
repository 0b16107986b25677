"""Softmax regression over embeddings by gradient descent: small, deterministic, and certain to get better."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reconciler.service.sensors.windows import Array

STEPS_PER_EPOCH = 20
PENALTY = 1e-3  # keeps the weights of what is told apart anyway from growing without end


@dataclass(frozen=True, slots=True)
class Labelled:
    """Standardised embeddings (windows, features), and of each window the number of its class."""

    embeddings: Array
    labels: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Weights:
    """What is learned: (features, classes) and (classes)."""

    weights: Array
    bias: Array


def untrained(features: int, classes: int) -> Weights:
    return Weights(np.zeros((features, classes)), np.zeros(classes))


def standard(embeddings: Array) -> tuple[Array, Array]:
    """Centre and spread of each feature. One that never differs says nothing, and must not be blown up."""
    spread = embeddings.std(axis=0)
    still = spread <= 1e-9 * np.maximum(1, np.abs(embeddings).max(axis=0))
    return embeddings.mean(axis=0), np.where(still, 1, spread)


def train_epoch(now: Weights, data: Labelled, learning_rate: float) -> Weights:
    """The weights after one more epoch, `learning_rate` from 0 to 1."""
    count = len(data.labels)
    wanted = np.zeros((count, now.bias.size))
    wanted[np.arange(count), data.labels] = 1
    weights, bias = now.weights, now.bias
    step = learning_rate / _steepest(data.embeddings)
    for _ in range(STEPS_PER_EPOCH):
        off = (_shares(data.embeddings @ weights + bias) - wanted) / count
        weights = weights - step * (data.embeddings.T @ off + PENALTY * weights)
        bias = bias - step * off.sum(axis=0)
    return Weights(weights, bias)


def _steepest(embeddings: Array) -> float:
    """A bound on how fast the gradient changes: half the largest eigenvalue of the second moments, with the bias."""
    with_bias = np.hstack([embeddings, np.ones((len(embeddings), 1))])
    return float(0.5 * np.linalg.norm(with_bias, 2) ** 2 / len(embeddings) + PENALTY)


def _shares(scores: Array) -> Array:
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    shares: Array = powers / powers.sum(axis=1, keepdims=True)
    return shares


def measure(now: Weights, data: Labelled) -> tuple[float, float]:
    """Mean cross-entropy (nats), and the share of windows whose class is the likeliest."""
    shares = _shares(data.embeddings @ now.weights + now.bias)
    likely = shares[np.arange(len(data.labels)), data.labels]
    loss = -np.log(np.maximum(likely, 1e-300)).mean()
    return round(float(loss), 6), round(float((shares.argmax(axis=1) == data.labels).mean()), 6)
