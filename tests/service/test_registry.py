"""Pipeline folders: what is read from them and what is refused."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from service_client import PIPELINES

from reconciler.service import registry
from reconciler.service.errors import ServiceError

GOOD = """
pipeline_key: demo
pipeline_version: 1.0.0
pipeline_type: batch
name: Demo
components: {worker: {command: [python, worker.py, --flag]}}
user_config_schema: {type: object}
inputs: {}
outputs: {}
"""


def write(root: Path, text: str, name: str = "demo") -> Path:
    (root / name).mkdir(parents=True)
    (root / name / "pipeline.yaml").write_text(text)
    return root


def test_the_bundled_pipelines_can_be_loaded() -> None:
    known = registry.load([registry.BUNDLED, PIPELINES])
    found = known.find("image-classifier", None)
    assert found is not None
    assert registry.snapshot(found).items() >= registry.schema_document(found).items()
    assert registry.snapshot(found)["components"] == ["classifier"]
    assert registry.snapshot(found)["pipeline_type"] == "batch"


def test_the_newest_version_counts_numbers_as_numbers(tmp_path: Path) -> None:
    for version in ("1.9.0", "1.10.0", "1.10.0-rc1", "1.2"):
        write(tmp_path, GOOD.replace("1.0.0", f"'{version}'"), version)
    known = registry.load([tmp_path])
    order = [p.definition.pipeline_version for p in known.versions("demo")]
    assert order == ["1.10.0", "1.10.0-rc1", "1.9.0", "1.2"]
    newest = known.find("demo", None)
    assert newest is not None
    assert newest.definition.pipeline_version == "1.10.0"
    assert known.find("demo", "1.2") is not None
    assert known.find("demo", "1.3") is None


def test_ids_are_the_same_in_every_process_and_differ_by_version(tmp_path: Path) -> None:
    first = registry.load([write(tmp_path / "a", GOOD)]).pipelines
    second = registry.load([write(tmp_path / "b", GOOD)]).pipelines
    other = registry.load([write(tmp_path / "c", GOOD.replace("1.0.0", "1.0.1"))]).pipelines
    assert list(first) == list(second) != list(other)


def test_a_command_is_found_wherever_the_worker_starts(tmp_path: Path) -> None:
    write(tmp_path, GOOD)
    (tmp_path / "demo" / "worker.py").touch()
    (pipeline,) = registry.load([tmp_path]).pipelines.values()
    assert pipeline.command() == (sys.executable, str((tmp_path / "demo" / "worker.py").resolve()), "--flag")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (GOOD.replace("name: Demo", ""), "name: Field required"),
        (GOOD + "colour: red\n", "colour: Extra"),
        (GOOD.replace("1.0.0", "1.0"), "pipeline_version: Input should be a valid string"),
        (GOOD.replace("{type: object}", "{type: nothing}"), "no JSON Schema"),
        (GOOD + "default_config: {other: {}}\n", "'other', which is no component"),
        (GOOD.replace("{worker:", "{a: {command: [b]}, worker:"), "at most 1"),
        ("a: [", "cannot be read"),
        ("", "not a pipeline"),
    ],
)
def test_a_pipeline_that_cannot_be_used_is_named_with_the_reason(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(ServiceError) as caught:
        registry.load([write(tmp_path, text)])
    assert str(tmp_path / "demo" / "pipeline.yaml") in caught.value.message
    assert says in caught.value.message


def test_two_folders_with_one_pipeline_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ServiceError, match="the same pipeline"):
        registry.load([write(tmp_path / "a", GOOD), write(tmp_path / "b", GOOD)])
    with pytest.raises(ServiceError, match="does not exist"):
        registry.load([tmp_path / "none"])
