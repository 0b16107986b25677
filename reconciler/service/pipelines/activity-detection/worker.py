"""Answers each line of JSONL files; see `pipeline.yaml` for ports and config."""

import json
from collections.abc import Iterator
from typing import Any

from records import LONGEST_LINE, LineError, parse
from rules import MODEL, describe

from reconciler.service.worker import InputFile, Report, Work, WorkFailed, run

MODEL_USED = f"{MODEL} (local stand-in for Newton)"
EVERY = 1000  # lines from one word of progress to the next


def answer(work: Work, report: Report) -> None:
    """Does one index: the files that it got, one after the other."""
    report.event(
        "INFO",
        f"The vendor's model {work.config['model_variant']} is not part of this service and does not run. "
        f"Each line is summed up by {MODEL}, a local stand-in.",
        {"model_requested": work.config["model_variant"], "model_used": MODEL_USED, "index": work.index},
    )
    for file in work.port("worker.data"):
        try:
            _answer_file(file, work, report)
        except WorkFailed as failure:
            report.input_failed(file.id, failure)


def _answer_file(file: InputFile, work: Work, report: Report) -> None:
    report.input(file.id, "processing")
    name = file.output_name(".jsonl")
    done = failed = 0
    with (work.output_dir / name).open("w", encoding="utf-8", newline="") as out:
        for index, line in _lines(file):
            answered = _answer_line(index, line, work)
            failed += answered["prediction"] is None
            done += 1
            out.write(json.dumps(answered, ensure_ascii=False) + "\n")
            if done % EVERY == 0:
                report.progress("inference", done, {"items_processed": done, "items_failed": failed}, file.id)
    if not done:
        raise WorkFailed("empty_file", f"{file.filename} has no lines", "JSONL has one object a line")
    metrics = {"items_processed": done, "items_failed": failed, "items_total": done, "percent_complete": 100.0}
    report.progress("inference", done, metrics, file.id)
    if failed:
        report.event("WARN", f"{file.filename}: {failed} of {done} lines failed; each says why", input_id=file.id)
    report.output("worker.result", name, "application/x-ndjson", file.id)
    report.input(file.id, "completed")


def _lines(file: InputFile) -> Iterator[tuple[int, bytes]]:
    """The lines that are not blank, by their number from 0. Of one that is too long only the beginning is kept."""
    with file.path.open("rb") as data:
        index = 0
        while line := data.readline(LONGEST_LINE + 1):
            rest = line
            while not rest.endswith(b"\n") and (rest := data.readline(LONGEST_LINE)):
                pass
            if line.strip():
                yield index, line
            index += 1


def _answer_line(index: int, line: bytes, work: Work) -> dict[str, Any]:
    about = {"model_requested": work.config["model_variant"], "model_used": MODEL_USED}
    try:
        told = describe(parse(line), work.config["generation"]["max_new_tokens"])
    except LineError as error:
        return {"line_index": index, "prediction": None, "error": str(error), **about}
    return {"line_index": index, "prediction": told, **about}


if __name__ == "__main__":
    run(answer)
