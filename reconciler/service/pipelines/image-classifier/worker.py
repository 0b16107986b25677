"""Classifies images; see `pipeline.yaml` for ports and config."""

import hashlib
import json
from typing import TextIO

from digits import DigitModel, train
from pixels import read_ink

from reconciler.service.worker import InputFile, Report, Work, WorkFailed, run

PROGRESS_EVERY = 10  # images


def classify(work: Work, report: Report) -> None:
    """Does one index: trains the local model, then classifies the images that it got into one file."""
    requested = work.config["model"]
    files = work.port("images")
    if not files:
        report.event("INFO", f"Index {work.index} got no image: parallelism exceeds the images.")
        return
    model = train(requested)
    report.event(
        "INFO",
        f"The model {requested} is not part of this service and does not run. {model.used} takes its place: "
        "whatever an image shows, it is told as a handwritten digit.",
        {"model_requested": requested, "model_used": model.used, "index": work.index},
    )
    name = f"results-index-{work.index}-of-{work.parallelism}.jsonl"
    with (work.output_dir / name).open("w", encoding="utf-8") as out:
        for number, file in enumerate(files, start=1):
            try:
                _classify_image(file, model, work, report, out)
            except WorkFailed as failure:
                report.input_failed(file.id, failure)
            if number % PROGRESS_EVERY == 0 or number == len(files):
                _progress(file, number, len(files), report)
    report.output("results", name, "application/x-ndjson")


def _classify_image(file: InputFile, model: DigitModel, work: Work, report: Report, out: TextIO) -> None:
    report.input(file.id, "processing")
    ink = read_ink(file)
    if not ink.any():
        report.event("WARN", f"{file.file_id} is blank; its label means nothing.", input_id=file.id)
    label, exact = model.classify(ink)
    score = round(exact, 4)  # before it is compared, so that a reader of the results can check the comparison
    result = {
        "file_id": file.file_id,
        # A file can be uploaded again under its name; this says which content was classified.
        "sha256": hashlib.sha256(file.path.read_bytes()).hexdigest(),
        "label": label,
        "score": score,
        "accepted": score >= work.config["threshold"],
        "model_requested": work.config["model"],
        "model_used": model.used,
    }
    out.write(json.dumps(result, ensure_ascii=False) + "\n")
    report.input(file.id, "completed")


def _progress(file: InputFile, done: int, total: int, report: Report) -> None:
    metrics = {
        "items_processed": done,
        "items_total": total,
        "percent_complete": round(100 * done / total, 1),
    }
    report.progress("inference", done, metrics, file.id)


if __name__ == "__main__":
    run(classify)
