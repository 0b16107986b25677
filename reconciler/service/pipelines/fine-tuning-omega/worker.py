"""Learns to tell classes of sensor data apart; see `pipeline.yaml` for ports and config."""

import csv
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from settings import Settings, read_settings
from training import Labelled, Weights, measure, standard, train_epoch, untrained

from reconciler.service.sensors.examples import class_of, embed_file, two_classes
from reconciler.service.sensors.projection import Projection, read_projection
from reconciler.service.sensors.windows import MODEL, Array
from reconciler.service.worker import InputFile, Report, Work, WorkFailed, run

TRAIN, EVAL = "worker.train_data", "worker.eval_data"
MODEL_USED = f"linear map of {MODEL} (local stand-in for Omega)"
METRICS = ("train_loss", "train_accuracy", "eval_loss", "eval_accuracy")


def fine_tune(work: Work, report: Report) -> None:
    """Learns from all training files, leaves checkpoints, and writes what was measured at each."""
    settings = read_settings(work.config)
    report.event(
        "INFO",
        f"The vendor's model {settings.model_type} is not part of this service and is not trained. "
        f"A linear map of {MODEL} is learned instead, a local stand-in.",
        {"model_requested": settings.model_type, "model_used": MODEL_USED},
    )
    files, held_back = work.port(TRAIN), work.port(EVAL)
    names = [class_of(file, TRAIN) for file in files]
    classes = two_classes(names, TRAIN)
    eval_names = [_known_class(file, classes) for file in held_back]
    parts = [_embedded(file, settings, report) for file in files]
    eval_parts = [embed_file(file, settings.reader, settings.batch_size) for file in held_back]
    centre, spread = standard(np.concatenate(parts))
    blank = untrained(centre.size, len(classes))
    start = Projection(settings.reader, tuple(classes), centre, spread, blank.weights, blank.bias)
    eval_data = _labelled(eval_parts, eval_names, start) if eval_parts else None
    # The inputs are completed when the job is: one that resumed without them could not learn from them.
    _train(work, settings, start, _labelled(parts, names, start), eval_data, report)


def _embedded(file: InputFile, settings: Settings, report: Report) -> Array:
    report.input(file.id, "processing")
    return embed_file(file, settings.reader, settings.batch_size)


def _known_class(file: InputFile, classes: Sequence[str]) -> str:
    name = class_of(file, EVAL)
    if name not in classes:
        raise WorkFailed(
            "unknown_class",
            f"{file.filename} is of the class {name!r}, of which there is no training data",
            f"the classes of {TRAIN} are {', '.join(classes)}",
            {"file": file.filename, "class": name},
        )
    return name


def _labelled(parts: Sequence[Array], names: Sequence[str], start: Projection) -> Labelled:
    numbers = [start.classes.index(name) for name, part in zip(names, parts, strict=True) for _ in range(len(part))]
    return Labelled((np.concatenate(parts) - start.centre) / start.spread, np.array(numbers, dtype=np.int64))


def _train(
    work: Work, settings: Settings, start: Projection, data: Labelled, eval_data: Labelled | None, report: Report
) -> None:
    """Goes on from the last checkpoint of an attempt that was cut off; the result is the same to the last digit."""
    done = sorted(work.checkpoints, key=lambda each: int(each["step"]))
    rows = [(int(each["step"]), dict(each["metrics"])) for each in done]
    now = Weights(start.weights, start.bias)
    first = 1
    if done:
        kept = read_projection(Path(done[-1]["path"]))
        now, first = Weights(kept.weights, kept.bias), rows[-1][0] + 1
        report.event("INFO", f"Goes on after epoch {first - 1}.")
    for epoch in range(first, settings.epochs + 1):
        now = train_epoch(now, data, settings.learning_rate)
        share = round(100 * epoch / settings.epochs, 1)
        counts = {"items_processed": epoch, "items_total": settings.epochs, "percent_complete": share}
        metrics = _measured(now, data, eval_data)
        report.progress("training", epoch, {**counts, **metrics})
        if settings.leaves_checkpoint(epoch):
            name = f"epoch-{epoch}"
            learned = replace(start, weights=now.weights, bias=now.bias)
            learned.save(work.output_dir / f"{name}.json")
            report.checkpoint(name, epoch, f"{name}.json", metrics)
            rows.append((epoch, metrics))
    _write_results(work, settings, rows, report)


def _measured(now: Weights, data: Labelled, eval_data: Labelled | None) -> dict[str, Any]:
    values = [*measure(now, data), *(measure(now, eval_data) if eval_data else ())]
    return dict(zip(METRICS, values, strict=False))


def _write_results(work: Work, settings: Settings, rows: Sequence[tuple[int, dict[str, Any]]], report: Report) -> None:
    with (work.output_dir / "metrics.csv").open("w", encoding="utf-8", newline="") as text:
        out = csv.writer(text, lineterminator="\n")
        out.writerow(["epoch", *METRICS, "model_requested", "model_used"])
        for epoch, metrics in rows:
            out.writerow([epoch, *(metrics.get(name, "") for name in METRICS), settings.model_type, MODEL_USED])
    report.output("worker.results", "metrics.csv", "text/csv")


if __name__ == "__main__":
    run(fine_tune)
