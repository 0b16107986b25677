"""Counts how often the example jobs were right, from their downloaded results.

    reconciler outputs NAME --download results/NAME        (for each job)
    python specs/score.py results

RESULTS_DIR holds one folder for each job, named like the job, with its result files. Truth comes from `data`: an
image is found by the digest of its content, a window by the time of its last row. Exit status 1 if a job of the
specs has no results.
"""

import csv
import hashlib
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

SPECS = Path(__file__).parent
DATA = SPECS / "data"


@dataclass(frozen=True, slots=True)
class Score:
    """What one job got right. `accepted` counts images over the threshold; windows are all accepted."""

    job: str
    kind: str
    total: int
    correct: int
    accepted: int
    accepted_correct: int


class Missing(Exception):
    """Results that should be there are not, or are not of this data."""


def main(arguments: list[str]) -> int:
    """Prints the table on stdout and what is missing on stderr."""
    if len(arguments) != 1:
        print("usage: python specs/score.py RESULTS_DIR", file=sys.stderr)
        return 64
    results = Path(arguments[0])
    images, windows = image_labels(), window_labels()
    scores, missing = [], []
    for job, pipeline in jobs_in(SPECS):
        try:
            if pipeline == "image-classifier":
                scores.append(score_images(job, results / job, images))
            else:
                scores.append(score_windows(job, results / job, windows))
        except Missing as error:
            missing.append(f"{job}: {error}")
    if scores:
        print_table(scores)
    for message in missing:
        print(message, file=sys.stderr)
    return 1 if missing else 0


def jobs_in(folder: Path) -> Iterator[tuple[str, str]]:
    """Yields (job name, pipeline key) of all specs, by file name."""
    for path in sorted(folder.glob("*.yaml")):
        for document in yaml.safe_load_all(path.read_text(encoding="utf-8")):
            yield document["name"], document["pipeline_key"]


def image_labels() -> dict[str, str]:
    """Reads the true digit of each image, by the SHA-256 of the file."""
    with (DATA / "digits" / "labels.csv").open(encoding="utf-8", newline="") as text:
        return {
            hashlib.sha256((DATA / "digits" / row["file"]).read_bytes()).hexdigest(): row["label"]
            for row in csv.DictReader(text)
        }


def window_labels() -> dict[str, str]:
    """Reads the true activity of each row, by its time; no two recordings share a time."""
    labels = {}
    for path in sorted((DATA / "motions").glob("held-back-*.csv")):
        with path.open(encoding="utf-8", newline="") as text:
            labels.update({row["time"]: row["activity"] for row in csv.DictReader(text)})
    return labels


def score_images(job: str, folder: Path, truth: dict[str, str]) -> Score:
    """Scores JSON lines of the image classifier. Raises `Missing`."""
    lines = [line for path in files_in(folder, "*.jsonl") for line in path.read_text(encoding="utf-8").splitlines()]
    results = [json.loads(line) for line in lines]
    right = [known(truth, result["sha256"], folder) == result["label"] for result in results]
    kept = [result["accepted"] for result in results]
    both = sum(ok and accepted for ok, accepted in zip(right, kept, strict=True))
    return Score(job, "images", len(right), sum(right), sum(kept), both)


def score_windows(job: str, folder: Path, truth: dict[str, str]) -> Score:
    """Scores CSV files of the machine state classification. Raises `Missing`."""
    right = []
    for path in files_in(folder, "*.csv"):
        with path.open(encoding="utf-8", newline="") as text:
            right += [known(truth, row["time"], folder) == row["Prediction"] for row in csv.DictReader(text)]
    return Score(job, "windows", len(right), sum(right), len(right), sum(right))


def files_in(folder: Path, pattern: str) -> list[Path]:
    """Lists the result files of a job. Raises `Missing` when there are none."""
    if not folder.is_dir():
        raise Missing(f"no folder {folder}")
    found = sorted(folder.rglob(pattern))
    if not found:
        raise Missing(f"no {pattern} in {folder}")
    return found


def known(truth: dict[str, str], key: str, folder: Path) -> str:
    """Gives the true label. Raises `Missing` for a result of something that is not in `data`."""
    if key not in truth:
        raise Missing(f"{folder} has a result for {key}, which is not in {DATA}")
    return truth[key]


def print_table(scores: list[Score]) -> None:
    """Prints one line for each job."""
    print(f"{'job':32} {'':8} {'total':>6} {'correct':>8} {'accuracy':>9} {'accepted':>9} {'of these correct':>17}")
    for score in scores:
        print(
            f"{score.job:32} {score.kind:8} {score.total:6} {score.correct:8} {percent(score.correct, score.total):>9}"
            f" {score.accepted:9} {percent(score.accepted_correct, score.accepted):>17}"
        )


def percent(part: int, whole: int) -> str:
    """Writes a share; a dash when there is nothing to share."""
    return f"{100 * part / whole:.1f} %" if whole else "-"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
