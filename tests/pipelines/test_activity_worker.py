"""The activity detection worker as a process: a line in, a line out, and a bad line is an error of its own."""

import base64
import json
from pathlib import Path
from typing import Any

from worker_process import Ended, Given, run_worker

KEY = "activity-detection"


def answers(folder: Path, lines: list[Any], **generation: Any) -> tuple[Ended, list[dict[str, Any]]]:
    texts = [line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines]
    folder.mkdir(exist_ok=True)
    (folder / "data.jsonl").write_bytes(b"\n".join(texts) + b"\n")
    given = {"worker.data": [Given(folder / "data.jsonl")]}
    ended = run_worker(KEY, given, {"generation": generation}, folder / "run")
    return ended, [json.loads(line) for path in ended.outputs for line in path.read_text().splitlines()]


def text(data: str, **more: Any) -> dict[str, Any]:
    return {"inputs": [{"type": "text", "format": "plain", "data": data, **more}]}


def test_each_line_is_summed_up_and_says_that_the_vendors_model_did_not_run(tmp_path: Path) -> None:
    lines = [
        text("Motion: 1, 2, 3, 10.5. More."),
        {"instruction": "What happens?", "prompt": "The door opens. The door closes.", "inputs": []},
        text(base64.b64encode("Größe 5, 4".encode()).decode(), format="base64"),
        {"inputs": [{"type": "image", "format": "base64", "data": "AA=="}, {"type": "video", "data": "AA=="}]},
        {},
    ]
    ended, told = answers(tmp_path, lines)
    assert ended.status == 0, ended.stderr
    assert [line["line_index"] for line in told] == [0, 1, 2, 3, 4]
    assert told[0]["prediction"] == "4 numbers from 1 to 10.5, mean 4.125, rising. Motion: 1, 2, 3, 10.5."
    assert told[1]["prediction"] == "The door opens. Often: door."
    assert told[2]["prediction"].startswith("2 numbers from 4 to 5, mean 4.5, falling. Größe 5, 4.")
    assert told[3]["prediction"] == "1 image, not looked at. 1 video, not looked at."
    assert told[4]["prediction"] == "Nothing to go by."
    assert {line["model_used"] for line in told} == {"summary-rules-v1 (local stand-in for Newton)"}
    assert {line["model_requested"] for line in told} == {"newton/c:2.5.1-8b-base"}
    assert "is not part of this service and does not run" in ended.of_type("event")[0]["message"]


def test_a_line_that_cannot_be_read_is_an_error_of_its_own(tmp_path: Path) -> None:
    bad: list[Any] = [
        b"{",
        b"\xff",
        b"[" * 100_000,
        ["a"],
        {"inputs": "a"},
        {"inputs": [{"type": "sound", "data": "a"}]},
        {"inputs": [{"type": "text", "format": "base64", "data": "?"}]},
        {"prompt": 5},
        {"line_index": 3, "prediction": None, "error": "parse error"},
    ]
    ended, told = answers(tmp_path, [text("good"), *bad, b"", text("good")])
    assert ended.status == 0
    assert [line["prediction"] is None for line in told] == [False, *[True] * len(bad), False]
    assert {line["error"] for line in told[1:5]} == {"parse error"}
    assert told[-1]["line_index"] == len(bad) + 2  # blank lines count, and have no answer
    assert [line["status"] for line in ended.of_type("input")] == ["processing", "completed"]
    assert any(f"{len(bad)} of {len(bad) + 2} lines failed" in e["message"] for e in ended.of_type("event"))


def test_answers_can_be_summed_up_again_in_fewer_words(tmp_path: Path) -> None:
    first, told = answers(tmp_path / "a", [text("Levels 5, 6 and 7 in the hall.")])
    (result,) = first.outputs
    again = run_worker(KEY, {"worker.data": [Given(result)]}, {"generation": {"max_new_tokens": 3}}, tmp_path / "b")
    (line,) = again.outputs[0].read_text().splitlines()
    assert told[0]["prediction"].startswith("3 numbers from 5 to 7")
    assert len(json.loads(line)["prediction"].split()) == 3


def test_an_empty_file_fails_alone(tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").write_text("\n\n")
    (tmp_path / "good.jsonl").write_text('{"prompt": "a"}')
    files = [Given(tmp_path / "empty.jsonl"), Given(tmp_path / "good.jsonl")]
    ended = run_worker(KEY, {"worker.data": files}, {}, tmp_path / "run")
    assert ended.error["code"] == "empty_file"
    assert len(ended.outputs) == 1
