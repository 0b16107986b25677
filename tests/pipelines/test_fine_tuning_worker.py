"""The fine-tuning worker as a process, and its checkpoints in the machine state worker."""

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from worker_process import PIPELINES, SPECS, Ended, Given, finish, resolved, run_worker, start, work_line

KEY = "fine-tuning-omega"
CLASSIFY = "machine-state-classification"
MOTIONS = SPECS / "data" / "motions"
ACTIVITIES = ["badminton", "running", "standing", "walking"]
EXAMPLES = [Given(MOTIONS / f"nshot-{name}.csv", metadata={"class": name}) for name in ACTIVITIES]
COLUMNS = ["accel_x", "accel_y", "accel_z", "gyro_x", "gyro_y", "gyro_z"]
READER = {
    "data_columns": COLUMNS,
    "timestamp_column": "time",
    "window_size": 50,
    "step_size": 50,
}


def config(epochs: int = 4, **reader: Any) -> dict[str, Any]:
    return {"reader_config": {**READER, **reader}, "train_config": {"epochs": epochs}}


def train(folder: Path, asked: dict[str, Any], *held_back: Given, files: list[Given] = EXAMPLES) -> Ended:
    return run_worker(KEY, {"worker.train_data": files, "worker.eval_data": held_back}, asked, folder)


def held_back(folder: Path) -> list[Given]:
    """The held-back recordings, a file for each activity: what they really are stands beside each reading."""
    with (MOTIONS / "held-back-1.csv").open(newline="") as text:
        rows = list(csv.DictReader(text))
    given = []
    for name in ACTIVITIES:
        path = folder / f"held-{name}.csv"
        with path.open("w", newline="") as text:
            out = csv.DictWriter(text, rows[0])
            out.writeheader()
            out.writerows(row for row in rows if row["activity"] == name)
        if any(row["activity"] == name for row in rows):
            given.append(Given(path, metadata={"class": name}))
    return given


def test_it_learns_and_says_at_each_checkpoint_how_well(tmp_path: Path) -> None:
    ended = train(tmp_path / "run", config(), *held_back(tmp_path))
    assert ended.status == 0, ended.stderr
    checkpoints = ended.of_type("checkpoint")
    assert [(c["name"], c["step"]) for c in checkpoints] == [(f"epoch-{n}", n) for n in (1, 2, 3, 4)]
    losses = [c["metrics"]["train_loss"] for c in checkpoints]
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] < losses[0] < 1.4  # without learning it is log(4) = 1.386
    assert checkpoints[-1]["metrics"]["eval_accuracy"] >= 0.9
    (results,) = ended.outputs
    with results.open(newline="") as text:
        rows = list(csv.DictReader(text))
    assert [float(row["train_loss"]) for row in rows] == losses
    assert {row["model_used"] for row in rows} == {"linear map of statistical-spectral-v1 (local stand-in for Omega)"}
    assert "is not part of this service and is not trained" in ended.of_type("event")[0]["message"]
    kept = json.loads((ended.output_dir / checkpoints[-1]["path"]).read_text())
    assert "the vendor's model is not part of this service" in kept["about"]


def test_of_many_epochs_ten_leave_a_checkpoint(tmp_path: Path) -> None:
    ended = train(tmp_path, config(epochs=25))
    assert [c["step"] for c in ended.of_type("checkpoint")] == [1, 4, 7, 10, 13, 16, 19, 22, 25]
    assert "eval_loss" not in ended.of_type("checkpoint")[0]["metrics"]


def test_a_training_that_was_cut_off_goes_on_and_learns_the_same(tmp_path: Path) -> None:
    whole = train(tmp_path / "whole", config())
    half = [
        {
            "id": "ckp_1",
            "name": c["name"],
            "step": c["step"],
            "metrics": c["metrics"],
            "path": str(whole.output_dir / c["path"]),
        }
        for c in whole.of_type("checkpoint")[:2]
    ]
    line = work_line(
        KEY, {"worker.train_data": EXAMPLES, "worker.eval_data": []}, resolved(KEY, config()), tmp_path / "b"
    )
    ended = finish(start(PIPELINES / KEY / "worker.py", tmp_path / "b"), {**line, "checkpoints": half})
    assert [c["name"] for c in ended.of_type("checkpoint")] == ["epoch-3", "epoch-4"]
    assert ended.outputs[0].read_text() == whole.outputs[0].read_text()
    for name in ("epoch-3.json", "epoch-4.json"):
        assert (ended.output_dir / name).read_text() == (whole.output_dir / name).read_text()


@pytest.mark.parametrize(
    ("files", "evaluated", "code"),
    [
        (EXAMPLES[:1], [], "too_few_classes"),
        ([Given(EXAMPLES[0].path)], [], "class_missing"),
        (EXAMPLES[:2], [EXAMPLES[3]], "unknown_class"),
    ],
)
def test_what_cannot_be_learned_from_is_said(
    tmp_path: Path, files: list[Given], evaluated: list[Given], code: str
) -> None:
    assert train(tmp_path, config(), *evaluated, files=files).error["code"] == code


def classify(folder: Path, checkpoint: list[Given], **reader: Any) -> Ended:
    ports = {
        "worker.inference": [Given(MOTIONS / "held-back-1.csv")],
        "worker.n_shots": EXAMPLES,
        "worker.fine_tune_checkpoint": checkpoint,
    }
    return run_worker(CLASSIFY, ports, {"reader_config": {**READER, **reader}}, folder)


def test_the_classification_uses_the_checkpoint_and_says_so(tmp_path: Path) -> None:
    trained = train(tmp_path / "train", config())
    learned = Given(trained.output_dir / "epoch-4.json", file_id="ckp_4")
    plain, tuned = classify(tmp_path / "plain", []), classify(tmp_path / "tuned", [learned])

    def rows(ended: Ended) -> list[dict[str, str]]:
        assert ended.status == 0, ended.stderr
        with ended.outputs[0].open(newline="") as text:
            return list(csv.DictReader(text))

    with (MOTIONS / "held-back-1.csv").open(newline="") as text:
        truth = {row["time"]: row["activity"] for row in csv.DictReader(text)}
    right = [row["Prediction"] == truth[row["time"]] for row in rows(tuned)]
    assert sum(right) / len(right) >= 0.9
    assert rows(tuned)[0]["model_used"] == "statistical-spectral-v1, fine-tuned as ckp_4 (local stand-in for Omega)"
    assert [row["Score"] for row in rows(tuned)] != [row["Score"] for row in rows(plain)]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"window_size": 20, "step_size": 20}, "checkpoint_mismatch"),
        ({"data_columns": COLUMNS[:5]}, "checkpoint_mismatch"),
    ],
)
def test_a_checkpoint_of_other_windows_is_refused(tmp_path: Path, change: dict[str, Any], code: str) -> None:
    """The results would only look right."""
    trained = train(tmp_path / "train", config(epochs=1))
    ended = classify(tmp_path / "run", [Given(trained.output_dir / "epoch-1.json")], **change)
    assert ended.error["code"] == code


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"format": "projection-1"}', "[" * 100_000, '{"format": "other", "weights": [NaN]}']
)
def test_what_is_no_checkpoint_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.json").write_text(text)
    assert classify(tmp_path / "run", [Given(tmp_path / "x.json")]).error["code"] == "bad_checkpoint"


def test_a_checkpoint_with_other_shapes_is_refused(tmp_path: Path) -> None:
    trained = train(tmp_path / "train", config(epochs=1))
    whole = json.loads((trained.output_dir / "epoch-1.json").read_text())
    for name, value in (
        ("weights", [[1.0]]),
        ("centre", ["x"]),
        ("spread", [0.0] * len(whole["spread"])),
        ("bias", None),
    ):
        (tmp_path / "x.json").write_text(json.dumps({**whole, name: value}))
        ended = classify(tmp_path / name, [Given(tmp_path / "x.json")])
        assert ended.error["code"] == "bad_checkpoint"


def test_two_checkpoints_are_one_too_many(tmp_path: Path) -> None:
    trained = train(tmp_path / "train", config(epochs=2))
    both = [Given(trained.output_dir / f"epoch-{n}.json") for n in (1, 2)]
    assert classify(tmp_path / "run", both).error["code"] == "too_many_checkpoints"
