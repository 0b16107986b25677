"""The machine state worker as a process, on held-back recordings of people moving."""

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from worker_process import PIPELINES, SPECS, Ended, Given, definition, finish, run_worker, start, work_line

KEY = "machine-state-classification"
MOTIONS = SPECS / "data" / "motions"
COLUMNS = ["accel_x", "accel_y", "accel_z", "gyro_x", "gyro_y", "gyro_z"]
ACTIVITIES = ["badminton", "running", "standing", "walking"]
EXAMPLES = [Given(MOTIONS / f"nshot-{name}.csv", metadata={"class": name}) for name in ACTIVITIES]
HELD_BACK = Given(MOTIONS / "held-back-1.csv")


def config(window: int = 50, columns: list[str] = COLUMNS, time: str = "time", **classifier: Any) -> dict[str, Any]:
    reader = {"data_columns": columns, "timestamp_column": time, "window_size": window, "step_size": window}
    return {"reader_config": reader, "classifier_config": classifier}


def classify(folder: Path, asked: dict[str, Any], *files: Given, examples: list[Given] = EXAMPLES) -> Ended:
    return run_worker(KEY, {"worker.inference": files, "worker.n_shots": examples}, asked, folder)


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as text:
        return list(csv.DictReader(text))


def truth() -> dict[str, str]:
    return {row["time"]: row["activity"] for path in MOTIONS.glob("held-back-*.csv") for row in rows_of(path)}


@pytest.mark.parametrize(
    "classifier",
    [
        {"metric": "cosine", "weights": "distance", "normalize_embeddings": True},
        {"metric": "manhattan", "n_neighbors": 7},
    ],
)
def test_held_back_recordings_are_told_apart(tmp_path: Path, classifier: dict[str, Any]) -> None:
    ended = classify(tmp_path, config(**classifier), HELD_BACK)
    assert ended.status == 0, ended.stderr
    (result,) = ended.outputs
    rows = rows_of(result)
    source = rows_of(HELD_BACK.path)
    assert [row["time"] for row in rows] == [row["time"] for row in source[49::50]]
    right = sum(row["Prediction"] == known["activity"] for row, known in zip(rows, source[49::50], strict=True))
    assert right / len(rows) >= 0.9
    assert all(0.25 <= float(row["Score"]) <= 1 for row in rows)


def test_each_result_says_that_the_vendors_model_did_not_run(tmp_path: Path) -> None:
    ended = classify(tmp_path, {**config(), "model_type": "omega_1_5_base"}, HELD_BACK)
    for row in rows_of(ended.outputs[0]):
        assert row["file_id"] == "held-back-1.csv"
        assert row["model_requested"] == "omega_1_5_base"
        assert row["model_used"] == "statistical-spectral-v1 (local stand-in for Omega)"
    first = ended.of_type("event")[0]
    assert first["level"] == "INFO"
    assert "omega_1_5_base is not part of this service" in first["message"]


@pytest.mark.slow
def test_batches_and_overlap_do_not_change_results(tmp_path: Path) -> None:
    overlapping = config(window=40)
    overlapping["reader_config"]["step_size"] = 7
    overlapping["flush_every_n_iteration"] = 2
    small = classify(tmp_path / "small", {**overlapping, "batch_size": 3}, HELD_BACK)
    large = classify(tmp_path / "large", {**overlapping, "batch_size": 1000}, HELD_BACK)
    assert small.outputs[0].read_text() == large.outputs[0].read_text()
    source = rows_of(HELD_BACK.path)
    assert [row["time"] for row in rows_of(small.outputs[0])] == [row["time"] for row in source[39::7]]
    done = [line["metrics"]["items_processed"] for line in small.of_type("progress")]
    total = (1000 - 40) // 7 + 1
    assert done == [*range(6, total, 6), total]
    assert small.of_type("progress")[-1]["metrics"]["percent_complete"] == 100.0


@pytest.mark.slow
def test_parallel_indexes_share_the_files_and_agree_with_one(tmp_path: Path) -> None:
    files = [Given(MOTIONS / f"held-back-{number}.csv") for number in (1, 2, 3, 4)]
    whole = classify(tmp_path / "whole", config(), *files)
    together = {}
    for index in (0, 1):
        ports = {"worker.inference": files[index::2], "worker.n_shots": EXAMPLES}
        ended = run_worker(KEY, ports, config(), tmp_path / str(index), index=index, parallelism=2)
        assert [line["status"] for line in ended.of_type("input")] == ["processing", "completed"] * 2
        together.update({row["time"]: row["Prediction"] for path in ended.outputs for row in rows_of(path)})
    alone = {row["time"]: row["Prediction"] for path in whole.outputs for row in rows_of(path)}
    assert together == alone
    known = truth()
    assert sum(known[time] == label for time, label in alone.items()) / len(alone) >= 0.95


def test_files_of_one_name_get_results_of_their_own(tmp_path: Path) -> None:
    odd = Given(HELD_BACK.path, file_id="../a b/held\nback-1.csv")
    ended = classify(tmp_path, config(), HELD_BACK, HELD_BACK, odd)
    assert ended.status == 0, ended.stderr
    names = [path.name for path in ended.outputs]
    assert len(set(names)) == 3
    assert all(path.resolve().parent == ended.output_dir.resolve() for path in ended.outputs)
    assert sorted(path.name for path in ended.output_dir.iterdir()) == sorted(names)
    assert all(set(name) <= set("abcdefghijklmnopqrstuvwxyz0123456789_-.") for name in names)


def test_an_index_without_files_ends_well(tmp_path: Path) -> None:
    ended = classify(tmp_path, config())
    assert (ended.status, ended.outputs) == (0, [])


def copy(folder: Path, rows: list[list[str]], encoding: str = "utf-8") -> Given:
    path = folder / "data.csv"
    with path.open("w", newline="", encoding=encoding) as text:
        csv.writer(text).writerows(rows)
    return Given(path)


def table() -> list[list[str]]:
    with HELD_BACK.path.open(newline="") as text:
        return list(csv.reader(text))[:201]


def test_a_byte_order_mark_and_blank_lines_are_no_trouble(tmp_path: Path) -> None:
    rows = table()
    ended = classify(tmp_path / "run", config(), copy(tmp_path, [*rows[:60], [], *rows[60:]], "utf-8-sig"))
    found = rows_of(ended.outputs[0])
    assert [row["time"] for row in found] == [row[0] for row in rows[50::50]]
    assert {row["Prediction"] for row in found} <= set(ACTIVITIES)


def test_a_missing_column_is_named_with_what_there_is(tmp_path: Path) -> None:
    ended = classify(tmp_path, config(columns=["accel_x", "acel_y"]), HELD_BACK)
    assert ended.status == 0
    assert ended.error["code"] == "column_not_found"
    assert "'acel_y'" in ended.error["message"]
    assert "accel_x, accel_y, accel_z" in ended.error["message"]
    assert ended.error["suggestion"] == "did you mean 'accel_y'?"
    assert ended.of_type("input")[-1]["status"] == "failed"
    assert ended.outputs == []


def test_a_missing_timestamp_column(tmp_path: Path) -> None:
    ended = classify(tmp_path, config(time="Time"), HELD_BACK)
    assert ended.error["code"] == "timestamp_column_not_found"
    assert ended.error["suggestion"] == "did you mean 'time'?"


@pytest.mark.parametrize("cell", ["", "nan", "1_000"])
def test_a_cell_that_is_no_number_is_found_by_row_and_column(tmp_path: Path, cell: str) -> None:
    rows = table()
    rows[123][3] = cell
    ended = classify(tmp_path, config(), copy(tmp_path, rows))
    assert ended.status == 0
    assert ended.error["code"] == "cell_not_numeric"
    assert ended.error["details"] == {"file": "data.csv", "row": 123, "column": "accel_z"}
    assert "row 123" in ended.error["message"]
    failed = ended.of_type("input")[-1]
    assert (failed["status"], failed["error_message"]) == ("failed", ended.error["message"])


def broken_file(folder: Path, how: str) -> Given:
    rows = table()
    match how:
        case "empty_file":
            return copy(folder, [])
        case "row_too_short":
            rows[50] = rows[50][:4]
        case "column_ambiguous":
            rows[0][7] = "accel_x"
        case "file_too_short":
            rows = rows[:50]
        case "not_utf8":
            rows[50][7] = "größe"
            return copy(folder, rows, "latin-1")
        case "not_csv":
            rows[50][7] = "x" * 200_000
    return copy(folder, rows)


def test_files_that_cannot_be_read_fail_alone_and_are_named(tmp_path: Path) -> None:
    codes = ["empty_file", "row_too_short", "column_ambiguous", "file_too_short", "not_utf8", "not_csv"]
    files = []
    for code in codes:
        (tmp_path / code).mkdir()
        files.append(replace(broken_file(tmp_path / code, code), file_id=f"{code}.csv"))
    ended = classify(tmp_path / "run", config(), *files, HELD_BACK)
    assert ended.status == 0
    failed = [event["payload"] for event in ended.of_type("event") if event["event_type"] == "input_failed"]
    assert sorted(each["code"] for each in failed) == sorted(codes)
    assert all(f"{each['code']}.csv" in each["message"] for each in failed)
    assert len(ended.outputs) == 1


def test_examples_without_a_class(tmp_path: Path) -> None:
    ended = classify(tmp_path, config(), HELD_BACK, examples=[*EXAMPLES, Given(MOTIONS / "nshot-running.csv")])
    assert ended.error["code"] == "class_missing"
    assert "nshot-running.csv" in ended.error["message"]


def test_examples_of_one_class_only(tmp_path: Path) -> None:
    ended = classify(tmp_path, config(), HELD_BACK, examples=EXAMPLES[:1])
    assert ended.error["code"] == "too_few_classes"


def test_fewer_example_windows_than_neighbours(tmp_path: Path) -> None:
    ended = classify(tmp_path, config(n_neighbors=33), HELD_BACK)
    assert ended.error["code"] == "too_few_examples"
    assert ended.error["details"]["windows"] == dict.fromkeys(ACTIVITIES, 8)
    assert "n_neighbors is 33, but there are 32" in ended.error["message"]


def test_a_class_that_can_seldom_win_is_warned_of(tmp_path: Path) -> None:
    ended = classify(tmp_path, config(n_neighbors=9), HELD_BACK)
    assert ended.status == 0
    assert [event["level"] for event in ended.of_type("event")] == ["INFO", "WARN"]


def test_a_step_beyond_the_window(tmp_path: Path) -> None:
    asked = config()
    asked["reader_config"]["step_size"] = 51
    assert classify(tmp_path, asked, HELD_BACK).error["code"] == "step_larger_than_window"


def test_a_config_without_the_defaults_is_not_guessed(tmp_path: Path) -> None:
    line = work_line(KEY, {"worker.inference": [HELD_BACK], "worker.n_shots": EXAMPLES}, config(), tmp_path)
    ended = finish(start(PIPELINES / KEY / "worker.py", tmp_path), line)
    assert ended.error["code"] == "config_incomplete"
    assert "'model_type'" in ended.error["message"]


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {**config(), "model_tpye": "omega_1_4_base"},
        {**config(), "model_type": "omega_9"},
        {**config(), "model_type": "omega_1_3_surface"},  # takes nine columns
        {**config(), "batch_size": 0},
        config(window=15),
        config(window=1025),
        config(columns=[]),
        config(columns=["a", "a"]),
        config(time="Score"),
        config(n_neighbors=2),
        config(metric="chebyshev"),
        config(weights="far"),
        config(normalize_embeddings="yes"),
    ],
)
def test_the_schema_refuses(wrong: dict[str, Any]) -> None:
    schema = definition(KEY)["user_config_schema"]
    Draft202012Validator.check_schema(schema)
    validator = Draft202012Validator(schema)
    assert validator.is_valid(config())
    assert validator.is_valid({**config(columns=list("abcdefghi")), "model_type": "omega_1_3_surface"})
    assert not validator.is_valid(wrong)
