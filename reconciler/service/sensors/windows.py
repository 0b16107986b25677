"""Rows to windows, and windows to embeddings: the local stand-in for the vendor's Omega encoder."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reconciler.service.sensors.rows import Row

Array = NDArray[np.float64]

MODEL = "statistical-spectral-v1"
SPECTRAL_BANDS = 4
FEATURES_PER_COLUMN = 9 + SPECTRAL_BANDS


@dataclass(frozen=True, slots=True)
class Batch:
    """Some windows in order. `values`: (windows, rows, columns). `times`: of each window's last row."""

    times: tuple[str, ...]
    values: Array


def count_windows(rows: int, window: int, step: int) -> int:
    """How many whole windows there are in so many rows."""
    return 0 if rows < window else (rows - window) // step + 1


def cut(rows: Iterable[Row], window: int, step: int, batch_size: int) -> Iterator[Batch]:
    """Yields all whole windows, `batch_size` at a time (the last batch may be smaller).

    Holds the rows of one batch only. Rows after the last whole window belong to none; `step` is at most `window`.
    """
    held: list[Row] = []
    for row in rows:
        held.append(row)
        if len(held) == window + step * (batch_size - 1):
            yield _batch(held, window, step)
            del held[: step * batch_size]
    if len(held) >= window:
        yield _batch(held, window, step)


def _batch(rows: list[Row], window: int, step: int) -> Batch:
    values = np.array([row.values for row in rows], dtype=np.float64)
    windows = np.lib.stride_tricks.sliding_window_view(values, window, axis=0)[::step]
    times = tuple(row.time for row in rows[window - 1 :: step])
    return Batch(times, windows.transpose(0, 2, 1))


def embed(windows: Array) -> Array:
    """Embeds (windows, rows, columns) as (windows, columns * FEATURES_PER_COLUMN).

    Of each column: mean, low, middle and high decile, spread, roughness, how often it crosses its mean, and of
    its spectrum the centroid, the entropy and the share of the power in equal bands. Spread and roughness are on
    a log scale, since states of a machine differ in them by factors. Units are the columns' own: standardise
    afterwards.
    """
    mean = windows.mean(axis=1)
    deciles = np.quantile(windows, [0.1, 0.5, 0.9], axis=1)
    centred = windows - mean[:, None]
    above = centred > 0
    shape = [
        mean,
        *deciles,
        np.log1p(windows.std(axis=1)),
        np.log1p(np.abs(np.diff(windows, axis=1)).mean(axis=1)),
        (above[:, 1:] != above[:, :-1]).mean(axis=1),
    ]
    return np.concatenate([*shape, *_spectrum(centred)], axis=1)


def _spectrum(centred: Array) -> list[Array]:
    """Centroid (cycles a row), entropy (0 to 1) and band shares; zeros for a column that does not move."""
    rows = centred.shape[1]
    tapered = centred * np.hanning(rows)[None, :, None]
    power = np.abs(np.fft.rfft(tapered, axis=1)[:, 1:]) ** 2
    total = power.sum(axis=1, keepdims=True)
    share = power / np.where(total > 0, total, 1)
    frequency = np.fft.rfftfreq(rows)[1:]
    centroid = (share * frequency[None, :, None]).sum(axis=1)
    entropy = -(share * np.log(np.where(share > 0, share, 1))).sum(axis=1) / np.log(len(frequency))
    return [centroid, entropy, *(band.sum(axis=1) for band in np.array_split(share, SPECTRAL_BANDS, axis=1))]
