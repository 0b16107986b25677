"""Pipeline folders: what is read from them and what is refused."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from service_client import PIPELINES

from reconciler.service import registry
from reconciler.service.errors import ServiceError

GOOD = """\
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
    (root / name / "worker.py").touch()
    return root


def test_the_bundled_pipelines_can_be_loaded() -> None:
    known = registry.load([registry.BUNDLED, PIPELINES])
    found = known.find("image-classifier", None, "")
    assert found is not None
    assert registry.snapshot(found).items() >= registry.schema_document(found).items()
    assert registry.snapshot(found)["components"] == ["classifier"]
    assert registry.snapshot(found)["pipeline_type"] == "batch"


def test_the_newest_version_counts_numbers_as_numbers(tmp_path: Path) -> None:
    for version in ("1.9.0", "1.10.0", "1.10.0-rc1", "1.2"):
        write(tmp_path, GOOD.replace("1.0.0", f"'{version}'"), version)
    known = registry.load([tmp_path])
    order = [p.definition.pipeline_version for p in known.versions("demo", "")]
    assert order == ["1.10.0", "1.10.0-rc1", "1.9.0", "1.2"]
    newest = known.find("demo", None, "")
    assert newest is not None
    assert newest.definition.pipeline_version == "1.10.0"
    assert known.find("demo", "1.2", "") is not None
    assert known.find("demo", "1.3", "") is None


def test_ids_are_the_same_in_every_process_and_differ_by_version(tmp_path: Path) -> None:
    first = registry.load([write(tmp_path / "a", GOOD)]).pipelines
    second = registry.load([write(tmp_path / "b", GOOD)]).pipelines
    other = registry.load([write(tmp_path / "c", GOOD.replace("1.0.0", "1.0.1"))]).pipelines
    assert list(first) == list(second) != list(other)


def test_a_command_is_found_wherever_the_worker_starts(tmp_path: Path) -> None:
    write(tmp_path, GOOD)
    (pipeline,) = registry.load([tmp_path]).pipelines.values()
    assert pipeline.command() == (sys.executable, str((tmp_path / "demo" / "worker.py").resolve()), "--flag")


NESTED = GOOD.replace("inputs: {}", "inputs:\n  data:\n    name: Data\n    mode: some\n    colour: red")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (GOOD.replace("name: Demo", ""), ":1:1: name: this key is required"),
        (GOOD + "colour: red\n", ":9:1: colour: unknown key"),
        (GOOD + "prioritty: 1\n", ":9:1: prioritty: unknown key (did you mean 'priority'?)"),
        (GOOD.replace("1.0.0", "1.0"), ":2:1: pipeline_version: it must be text: put it in quotes, '1.0'"),
        (GOOD.replace("{type: object}", "{type: nothing}"), ":6:22: user_config_schema.type: it is no JSON Schema"),
        (GOOD + "default_config: {other: {}}\n", ":9:18: default_config.other: it is no component"),
        (GOOD.replace("{worker:", "{a: {command: [python]}, worker:"), "at most 1"),
        (GOOD.replace("worker.py", "wroker.py"), ":5:41: components.worker.command.1: there is no file 'wroker.py'"),
        (GOOD.replace("[python", "[no-such-program"), ":5:33: components.worker.command.0: there is no program"),
        (NESTED, ":10:5: inputs.data.mode: Input should be"),
        (NESTED, ":11:5: inputs.data.colour: unknown key"),
        (GOOD + "name: Again\n", ":9:1: the key 'name' stands here twice"),
        (GOOD + "timeout_seconds: 0\n", ":9:1: timeout_seconds: Input should be greater than 0"),
        (
            GOOD.replace("--flag]", "--flag], max_parallelism: 2") + "default_config: {worker: {parallelism: 3}}\n",
            ":9:27: default_config.worker.parallelism: it is more than max_parallelism, which is 2",
        ),
        ("a: [", ":2:1: did not find"),
        ("- a", ":1:1: a pipeline is a mapping"),
        ("", ":1:1: a pipeline is a mapping"),
    ],
)
def test_a_pipeline_that_cannot_be_used_is_named_with_the_place_and_the_reason(
    tmp_path: Path, text: str, says: str
) -> None:
    with pytest.raises(ServiceError) as caught:
        registry.load([write(tmp_path, text)])
    assert f"{tmp_path / 'demo' / 'pipeline.yaml'}:" in str(caught.value)
    assert says in str(caught.value)


def test_all_faults_of_all_pipelines_are_said_at_once(tmp_path: Path) -> None:
    write(tmp_path, GOOD + "colour: red\n", "a")
    write(tmp_path, GOOD + "shape: round\n", "b")
    with pytest.raises(ServiceError, match=r"(?s)a/pipeline.yaml:9:1: colour.*b/pipeline.yaml:9:1: shape"):
        registry.load([tmp_path])


def test_only_published_versions_are_the_latest(tmp_path: Path) -> None:
    for version, status in (("3.0.0", "draft"), ("2.0.0", "deactivated"), ("1.0.0", "published")):
        write(tmp_path, GOOD.replace("1.0.0", version) + f"status: {status}\n", version)
    known = registry.load([tmp_path])
    latest = known.find("demo", None, "")
    assert latest is not None
    assert latest.definition.pipeline_version == "1.0.0"
    assert known.find("demo", "3.0.0", "") is not None


def test_a_pipeline_of_an_organisation_is_not_seen_by_others(tmp_path: Path) -> None:
    known = registry.load([write(tmp_path, GOOD + "organisation: team-a\n")]).owned(lambda name: f"org_{name}")
    assert known.find("demo", None, "org_team-b") is None
    assert known.find("demo", None, "org_team-a") is not None


def test_two_folders_with_one_pipeline_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ServiceError, match="the same pipeline"):
        registry.load([write(tmp_path / "a", GOOD), write(tmp_path / "b", GOOD)])
    with pytest.raises(ServiceError, match="does not exist"):
        registry.load([tmp_path / "none"])


def test_a_default_that_the_schema_refuses_is_found_at_the_start(tmp_path: Path) -> None:
    """Otherwise each job is refused for a value that nobody sent."""
    schema = "{properties: {seconds: {maximum: 300}, name: {}}, required: [name], additionalProperties: false}"
    text = GOOD.replace("{type: object}", schema) + "default_config: {worker: {config: {hidden: 1, seconds: 500}}}\n"
    with pytest.raises(ServiceError, match=r":9:47: default_config.worker.config.seconds: .*500 is greater than"):
        registry.load([write(tmp_path / "bad", text)])
    registry.load([write(tmp_path / "good", text.replace("500", "5"))])


def test_a_schema_that_refers_elsewhere_is_found_at_the_start(tmp_path: Path) -> None:
    schema = "{properties: {seconds: {$ref: 'https://elsewhere.example/x.json'}}}"
    text = GOOD.replace("{type: object}", schema) + "default_config: {worker: {config: {seconds: 5}}}\n"
    with pytest.raises(ServiceError, match=r":6:1: user_config_schema: it refers to what is not in it"):
        registry.load([write(tmp_path, text)])


def test_a_script_that_is_not_there_is_found_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(ServiceError, match=r":5:\d+: components.worker.command.1: there is no file 'wroker.sh'"):
        registry.load([write(tmp_path, GOOD.replace("python, worker.py", "bash, wroker.sh"))])


def test_faults_are_in_the_order_of_the_file(tmp_path: Path) -> None:
    with pytest.raises(ServiceError) as caught:
        registry.load([write(tmp_path, GOOD.replace("type: batch", "type: fast") + "colour: red\nname: Again\n")])
    assert [int(line.split(":")[1]) for line in caught.value.details] == [3, 9, 10]


@pytest.mark.parametrize("place", ["pipeline.yaml", "demo/pipeline.yml"])
def test_a_pipeline_that_would_be_overlooked_is_refused(tmp_path: Path, place: str) -> None:
    (tmp_path / "demo").mkdir()
    (tmp_path / place).write_text(GOOD)
    with pytest.raises(ServiceError, match="is not where a pipeline is looked for"):
        registry.load([tmp_path])
