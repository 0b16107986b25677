"""The examples of the platform's users, as specs: each is run by the command line on the embedded service."""

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

EXAMPLES = Path(__file__).parents[1] / "examples"
SNAPSHOTS = Path(__file__).parents[2] / "schemas" / "pipelines"
CELLS = ("opt-w16-k3-cosine-distance", "opt-w128-k11-manhattan-uniform")


@pytest.fixture
def work(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    shutil.copytree(EXAMPLES, folder)
    shutil.copytree(SNAPSHOTS, folder / "schemas" / "pipelines")
    return folder


def reconciler(work: Path, *arguments: str) -> str:
    environment = {"PATH": os.environ["PATH"], "HOME": str(work), "LANG": "C.UTF-8"}
    command = [sys.executable, "-m", "reconciler", *arguments]
    done = subprocess.run(
        command, cwd=work, env=environment, capture_output=True, text=True, timeout=900, stdin=subprocess.DEVNULL
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def apply(work: Path, *names: str) -> dict[str, Any]:
    """The outcomes by name; a second run has nothing to do."""
    targets = [part for name in names for part in ("--target", name)]
    told = json.loads(reconciler(work, "apply", "--yes", "--wait", "--format", "json", *targets))
    assert reconciler(work, "plan", "--detailed-exitcode", *targets)
    return {each["name"]: each for each in told["outcomes"]}


def results(work: Path, name: str) -> list[Path]:
    reconciler(work, "outputs", name, "--download", f"results/{name}")
    return sorted((work / "results" / name).iterdir())


def share_right(work: Path, name: str, window: int) -> float:
    """Of the windows that are of one state only: the first hundred readings are not drilling, the others are."""
    with (work / "data" / "quick_test_200.csv").open(newline="") as text:
        place = {row["DATE_TIME"]: number for number, row in enumerate(csv.DictReader(text))}
    (path,) = results(work, name)
    with path.open(newline="") as text:
        last = {place[row["DATE_TIME"]]: row["Prediction"] for row in csv.DictReader(text)}
    told = {at: label for at, label in last.items() if at < 100 or at - window + 1 >= 100}
    right = [label == ("not_drilling" if at < 100 else "drilling") for at, label in told.items()]
    return float(sum(right)) / len(right)


def test_the_data_are_made_again_byte_for_byte(tmp_path: Path) -> None:
    command = [sys.executable, str(EXAMPLES / "data" / "make_data.py"), "--out", str(tmp_path)]
    subprocess.run(command, check=True)
    made = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    kept = {path.name: path.read_bytes() for path in (EXAMPLES / "data").iterdir() if path.suffix != ".py"}
    assert made == kept


def test_they_are_valid_without_a_warning(work: Path) -> None:
    told = json.loads(reconciler(work, "validate", "--format", "json"))
    assert told["diagnostics"] == []


def test_the_grid_is_ten_lines(work: Path) -> None:
    text = (EXAMPLES / "specs" / "drilling-grid.yaml").read_text()
    document = yaml.safe_load(text)
    lists = document["reconcile"]["matrix"].values()
    assert sum(1 for line in text.splitlines() if "matrix" in line) + len(lists) <= 10
    plan = json.loads(reconciler(work, "plan", "specs/drilling-grid.yaml", "--format", "json"))
    assert plan["summary"] == {"create": 96}


@pytest.mark.slow
def test_the_drilling_classification_and_some_points_of_its_grid(work: Path) -> None:
    outcomes = apply(work, "drilling-classification", *CELLS)
    assert len(outcomes) == 3
    assert share_right(work, "drilling-classification", 64) == 1
    assert share_right(work, CELLS[0], 16) >= 0.95


@pytest.mark.slow
def test_two_stages(work: Path) -> None:
    apply(work, "hours", "day")
    (hours,), (day,) = results(work, "hours"), results(work, "day")
    first, second = ([json.loads(line) for line in path.read_text().splitlines()] for path in (hours, day))
    assert len(first) == len(second) == 8
    assert first[0]["prediction"].startswith("12 numbers from")
    assert second[0]["prediction"].startswith("16 numbers from")  # those of the first stage's summary


@pytest.mark.slow
def test_a_fine_tune_followed_by_inference(work: Path) -> None:
    apply(work, "drilling-fine-tune", "drilling-fine-tuned")
    (metrics,) = results(work, "drilling-fine-tune")
    with metrics.open(newline="") as text:
        rows = list(csv.DictReader(text))
    assert float(rows[-1]["eval_accuracy"]) == 1
    assert float(rows[-1]["train_loss"]) < float(rows[0]["train_loss"])
    assert share_right(work, "drilling-fine-tuned", 32) == 1
    (path,) = results(work, "drilling-fine-tuned")
    assert ", fine-tuned as ckp_" in path.read_text()


@pytest.mark.slow
def test_all_points_of_the_grid(work: Path) -> None:
    told = json.loads(reconciler(work, "apply", "specs/drilling-grid.yaml", "--yes", "--wait", "--format", "json"))
    assert len(told["outcomes"]) == 96
    jobs = json.loads(reconciler(work, "status", "--format", "json"))["jobs"]
    assert {job["status"] for job in jobs} == {"COMPLETED"}
