"""The example specs: they are valid, their data can be made again, they run, and `score.py` counts them."""

import csv
import hashlib
import importlib.util
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator
from worker_process import PIPELINES, SPECS, Ended, Given, definition, resolved, run_worker

from reconciler.load import load
from reconciler.service.registry import load as load_pipelines

FIRST_LINE = "# yaml-language-server: $schema=../schemas/spec.schema.json"
DOCUMENTS = [document for path in sorted(SPECS.glob("*.yaml")) for document in yaml.safe_load_all(path.read_text())]


def program(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


def make_data(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SPECS / "data" / "make_data.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True)


def test_names_are_unique_and_each_document_names_its_schema() -> None:
    assert len({document["name"] for document in DOCUMENTS}) == len(DOCUMENTS) == 6
    for path in SPECS.glob("*.yaml"):
        for text in path.read_text().split("---\n"):
            assert text.splitlines()[0] == FIRST_LINE


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: str(document["name"]))
def test_each_spec_fits_its_pipeline(document: dict[str, Any]) -> None:
    known = definition(document["pipeline_key"])
    assert document["pipeline_version"] == known["pipeline_version"]
    assert document["inputs"].keys() == {name for name, port in known["inputs"].items() if port["required"]}
    (component,) = document["parameters"]
    assert component in known["components"]
    resolved(document["pipeline_key"], document["parameters"][component]["config"])
    for items in document["inputs"].values():
        assert all((SPECS / item["path"]).is_file() for item in items)


def test_the_tool_itself_finds_no_fault_in_them() -> None:
    loaded = load([SPECS], root=SPECS.parent)
    assert loaded.diagnostics == ()
    assert {read.job.name for read in loaded.specs} == {document["name"] for document in DOCUMENTS}


def test_the_service_takes_the_pipelines() -> None:
    found = load_pipelines([PIPELINES])
    for document in DOCUMENTS:
        assert found.find(document["pipeline_key"], document["pipeline_version"], "")


@pytest.mark.parametrize("key", [path.name for path in PIPELINES.iterdir() if path.is_dir()])
def test_defaults_are_those_of_the_schema(key: str) -> None:
    known = definition(key)
    assert known["pipeline_key"] == key

    def stated(schema: dict[str, Any]) -> dict[str, Any]:
        found = {}
        for name, part in schema.get("properties", {}).items():
            if "default" in part:
                found[name] = part["default"]
            elif below := stated(part):
                found[name] = below
        return found

    (defaults,) = known["default_config"].values()
    assert defaults == {"parallelism": 1, "config": stated(known["user_config_schema"])}
    Draft202012Validator.check_schema(known["user_config_schema"])


def test_the_digits_are_made_again_byte_for_byte(tmp_path: Path) -> None:
    make_data("--out", str(tmp_path), "digits")
    made = {path.name: path.read_bytes() for path in (tmp_path / "digits").iterdir()}
    kept = {path.name: path.read_bytes() for path in (SPECS / "data" / "digits").iterdir()}
    assert made == kept
    assert len(made) == 31


def test_the_digits_are_not_trained_on() -> None:
    text = (PIPELINES / "image-classifier" / "digits.py").read_text()
    held_back_from = program(SPECS / "data" / "make_data.py").HELD_BACK_FROM
    assert f"\nTRAINING_IMAGES = {held_back_from}\n" in text
    places = [int(path.stem.split("-")[1]) for path in (SPECS / "data" / "digits").glob("*.png")]
    assert min(places) >= held_back_from


def test_the_motions_are_cut_from_ts_files(tmp_path: Path) -> None:
    for split in ("TRAIN", "TEST"):
        lines = [
            ":".join(",".join(f"{split[1]}{c}{t}" for t in range(100)) for c in "abcdef") + f":{activity}"
            for activity in ("Walking", "Running")
            for _ in range(10)
        ]
        (tmp_path / f"BasicMotions_{split}.ts").write_text("#about\n@data\n" + "\n".join(lines) + "\n")
    make_data("--out", str(tmp_path), "motions", str(tmp_path))
    with (tmp_path / "motions" / "held-back-2.csv").open(newline="") as text:
        rows = list(csv.DictReader(text))
    assert len(rows) == 5 * 100
    assert rows[101] == {
        "time": "2026-01-13T09:01:00.100Z",
        **{name: f"E{c}1" for name, c in zip(list(rows[0])[1:7], "abcdef", strict=True)},
        "activity": "walking",
    }


def test_examples_and_held_back_recordings_have_no_reading_in_common() -> None:
    def recordings(pattern: str) -> set[str]:
        found = set()
        for path in (SPECS / "data" / "motions").glob(pattern):
            lines = [line.split(",", 1)[1] for line in path.read_text().splitlines()[1:]]
            assert len(lines) % 100 == 0
            found |= {
                hashlib.sha256("\n".join(lines[at : at + 100]).encode()).hexdigest() for at in range(0, len(lines), 100)
            }
        return found

    examples, held_back = recordings("nshot-*.csv"), recordings("held-back-*.csv")
    assert (len(examples), len(held_back)) == (16, 40)
    assert not examples & held_back


def run_spec(document: dict[str, Any], folder: Path, results: Path) -> None:
    """Runs one spec's indexes as the service would share them out, and gathers the results in one folder."""
    known = definition(document["pipeline_key"])
    ((_, asked),) = document["parameters"].items()
    count = asked.get("parallelism", 1)
    results.mkdir(parents=True)

    def run_index(index: int) -> Ended:
        ports = {}
        for port, items in document["inputs"].items():
            given = [Given(SPECS / item["path"], metadata=item.get("metadata", {})) for item in items]
            ports[port] = given[index::count] if known["inputs"][port]["distribute"] == "scatter" else given
        work = folder / document["name"] / str(index)
        return run_worker(document["pipeline_key"], ports, asked["config"], work, index=index, parallelism=count)

    with ThreadPoolExecutor(count) as indexes:
        all_ended = list(indexes.map(run_index, range(count)))
    for ended in all_ended:
        assert ended.status == 0, ended.stderr
        for output in ended.outputs:
            (results / output.name).write_bytes(output.read_bytes())


def score(results: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SPECS / "score.py"), str(results)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_the_examples_run_and_are_scored(tmp_path: Path) -> None:
    for document in DOCUMENTS:
        run_spec(document, tmp_path / "work", tmp_path / "results" / document["name"])
    scored = score(tmp_path / "results")
    assert (scored.returncode, scored.stderr) == (0, "")
    table = {line.split()[0]: line.split() for line in scored.stdout.splitlines()[1:]}
    assert table.keys() == {document["name"] for document in DOCUMENTS}
    assert table["motions-knn5-manhattan-all"][1:3] == ["windows", "80"]
    assert all(float(row[4]) >= 85 for row in table.values())
    missing = DOCUMENTS[0]["name"]
    (tmp_path / "results" / missing).rename(tmp_path / "elsewhere")
    again = score(tmp_path / "results")
    assert again.returncode == 1
    assert missing in again.stderr
    assert missing not in again.stdout


def test_scoring_nothing(tmp_path: Path) -> None:
    (tmp_path / "motions-knn5-euclidean").mkdir()
    scored = score(tmp_path)
    assert (scored.returncode, scored.stdout) == (1, "")
    assert "motions-knn5-euclidean: no *.csv" in scored.stderr
    assert "digits-resnet50-half: no folder" in scored.stderr


def test_scoring_wrong_answers(tmp_path: Path) -> None:
    folder = tmp_path / "motions-knn5-euclidean"
    folder.mkdir()
    rows = "2026-01-12T09:00:04.900Z,standing\n2026-01-12T09:00:09.900Z,running\n"
    (folder / "a.csv").write_text("time,Prediction\n" + rows)
    (line,) = score(tmp_path).stdout.splitlines()[1:]
    assert line.split()[:6] == ["motions-knn5-euclidean", "windows", "2", "1", "50.0", "%"]
    (folder / "b.csv").write_text("time,Prediction\n1999-01-01,standing\n")
    assert "1999-01-01, which is not in" in score(tmp_path).stderr
