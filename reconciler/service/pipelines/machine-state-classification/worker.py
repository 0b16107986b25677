"""Classifies windows of sensor data by labelled examples; see `pipeline.yaml` for ports and config."""

import csv
from collections.abc import Iterator
from contextlib import contextmanager

from classifier import Model, file_too_short, learn
from sensor_csv import check_header, count_rows, read_rows
from settings import Settings, read_settings
from windows import MODEL, count_windows, cut

from reconciler.service.worker import InputFile, Report, Work, WorkFailed, run

MODEL_USED = f"{MODEL} (local stand-in for Omega)"


def classify(work: Work, report: Report) -> None:
    """Does one index: learns from all n-shot files, then classifies the inference files that it got."""
    settings = read_settings(work.config)
    files = work.port("worker.inference")
    report.event(
        "INFO",
        f"The vendor's model {settings.model_type} is not part of this service and does not run. "
        f"Windows are embedded with {MODEL}, a local stand-in.",
        {"model_requested": settings.model_type, "model_used": MODEL_USED, "index": work.index},
    )
    if not files:
        report.event("INFO", f"Index {work.index} got no inference file: parallelism exceeds the files.")
        return
    # A wrong column name in the last file should not cost the time of all the others.
    for file in files:
        with _blamed(file, report):
            check_header(file, settings.reader)
    model = learn(work.port("worker.n_shots"), settings, report)
    for file in files:
        with _blamed(file, report):
            _classify_file(file, model, settings, work, report)


@contextmanager
def _blamed(file: InputFile, report: Report) -> Iterator[None]:
    """Marks the input as failed when what is done with it fails."""
    try:
        yield
    except WorkFailed as failure:
        report.input(file.id, "failed", failure.message)
        raise


def _classify_file(file: InputFile, model: Model, settings: Settings, work: Work, report: Report) -> None:
    report.input(file.id, "processing")
    reader = settings.reader
    total = count_windows(count_rows(file), reader.window_size, reader.step_size)
    if total == 0:
        raise file_too_short(file, reader)
    name = file.output_name(".csv")
    done = 0
    with (work.output_dir / name).open("w", encoding="utf-8", newline="") as text:
        out = csv.writer(text, lineterminator="\n")
        out.writerow([reader.timestamp_column, "Prediction", "Score", "file_id", "model_requested", "model_used"])
        batches = cut(read_rows(file, reader), reader.window_size, reader.step_size, settings.batch_size)
        for iteration, batch in enumerate(batches, start=1):
            for time, (label, score) in zip(batch.times, model.classify(batch.values), strict=True):
                out.writerow([time, label, f"{score:.4f}", file.file_id, settings.model_type, MODEL_USED])
            done += len(batch.times)
            if iteration % settings.flush_every == 0 or done == total:
                text.flush()
                _progress(file, iteration, done, total, report)
    report.output("worker.results", name, "text/csv", file.id)
    report.input(file.id, "completed")


def _progress(file: InputFile, step: int, done: int, total: int, report: Report) -> None:
    metrics = {
        "items_processed": done,
        "items_total": total,
        "percent_complete": round(100 * done / total, 1),
    }
    report.progress("inference", step, metrics, file.id)


if __name__ == "__main__":
    run(classify)
