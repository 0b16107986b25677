"""Classifies windows of sensor data by labelled examples; see `pipeline.yaml` for ports and config."""

import csv
from collections.abc import Callable, Sequence

from classifier import Model, learn
from settings import Settings, read_settings

from reconciler.service.sensors.examples import file_too_short
from reconciler.service.sensors.projection import Projection, projection_for
from reconciler.service.sensors.rows import check_header, count_rows, read_rows
from reconciler.service.sensors.windows import MODEL, count_windows, cut
from reconciler.service.worker import InputFile, Report, Work, WorkFailed, run

STAND_IN = "local stand-in for Omega"
CHECKPOINTS = "worker.fine_tune_checkpoint"


def _model_used(checkpoints: Sequence[InputFile]) -> str:
    tuned = f", fine-tuned as {checkpoints[0].file_id}" if checkpoints else ""
    return f"{MODEL}{tuned} ({STAND_IN})"


def classify(work: Work, report: Report) -> None:
    """Does one index: learns from all n-shot files, then classifies the inference files that it got."""
    settings = read_settings(work.config)
    files = work.port("worker.inference")
    report.event(
        "INFO",
        f"The vendor's model {settings.model_type} is not part of this service and does not run. "
        f"Windows are embedded with {MODEL}, a local stand-in.",
        {
            "model_requested": settings.model_type,
            "model_used": _model_used(work.port(CHECKPOINTS)),
            "index": work.index,
        },
    )
    if not files:
        report.event("INFO", f"Index {work.index} got no inference file: parallelism exceeds the files.")
        return
    # A wrong column name in the last file should be known before the time of all the others is spent.
    good = [file for file in files if _done(file, report, lambda file: check_header(file, settings.reader))]
    if not good:
        return
    model = learn(work.port("worker.n_shots"), settings, _projection(work, settings), report)
    for file in good:
        _done(file, report, lambda file: _classify_file(file, model, settings, work, report))


def _projection(work: Work, settings: Settings) -> Projection | None:
    """What a fine-tuning has learned. Raises `WorkFailed`, also `too_many_checkpoints`."""
    checkpoints = work.port(CHECKPOINTS)
    if len(checkpoints) > 1:
        raise WorkFailed("too_many_checkpoints", f"{CHECKPOINTS} takes one checkpoint, not {len(checkpoints)}")
    return projection_for(checkpoints[0], settings.reader) if checkpoints else None


def _done(file: InputFile, report: Report, step: Callable[[InputFile], None]) -> bool:
    """Whether the step went well; if not, the input has failed, and the others go on."""
    try:
        step(file)
    except WorkFailed as failure:
        report.input_failed(file.id, failure)
        return False
    return True


def _classify_file(file: InputFile, model: Model, settings: Settings, work: Work, report: Report) -> None:
    report.input(file.id, "processing")
    reader = settings.reader
    total = count_windows(count_rows(file), reader.window_size, reader.step_size)
    if total == 0:
        raise file_too_short(file, reader)
    name = file.output_name(".csv")
    done = 0
    model_used = _model_used(work.port(CHECKPOINTS))
    with (work.output_dir / name).open("w", encoding="utf-8", newline="") as text:
        out = csv.writer(text, lineterminator="\n")
        out.writerow([reader.timestamp_column, "Prediction", "Score", "file_id", "model_requested", "model_used"])
        batches = cut(read_rows(file, reader), reader.window_size, reader.step_size, settings.batch_size)
        for iteration, batch in enumerate(batches, start=1):
            for time, (label, score) in zip(batch.times, model.classify(batch.values), strict=True):
                out.writerow([time, label, f"{score:.4f}", file.file_id, settings.model_type, model_used])
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
