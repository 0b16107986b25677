"""`validate` as CI runs it: what each format writes to stdout for every fault that there is test data for."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft4Validator

from reconciler.cli.main import run

DATA = Path(__file__).parents[1] / "data"
SARIF = Draft4Validator(
    json.loads((DATA / "sarif" / "sarif-schema-2.1.0.json").read_bytes()),
    format_checker=Draft4Validator.FORMAT_CHECKER,
)
HOSTILE = "::error file=x,line=1::a\n::add-mask::b%0A##[group]c.yaml"


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder `ml` of a repository, with every broken spec, and one whose name is hostile."""
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    shutil.copytree(DATA / "specs" / "fail", tmp_path / "ml" / "specs")
    (tmp_path / "ml" / "specs" / HOSTILE).write_text(f"name: {json.dumps(HOSTILE)}\n{json.dumps(HOSTILE)}: 1\n")
    monkeypatch.chdir(tmp_path / "ml")
    return tmp_path / "ml"


def validate(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = run(["validate", *arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def sarif(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, Any]:
    code, out, _ = validate(capsys, "--format", "sarif", *arguments)
    document = json.loads(out)
    SARIF.validate(document)
    return code, document["runs"][0]


def test_sarif_has_every_fault_that_json_has(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, run_ = sarif(capsys)
    assert code == 3
    _, out, _ = validate(capsys, "--format", "json")
    found = json.loads(out)["diagnostics"]
    assert len(run_["results"]) == len(found) > 80
    places = [r["locations"][0]["physicalLocation"] for r in run_["results"]]
    assert sorted((p["region"]["startLine"], p["region"].get("startColumn", 0)) for p in places) == sorted(
        (d["line"] or 1, d["column"] or 0) for d in found
    )
    assert all(p["artifactLocation"]["uri"].startswith("ml/specs/") for p in places)


def test_annotations_are_all_that_stdout_has(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = validate(capsys, "--format", "github")
    lines = out.splitlines()
    assert code == 3
    assert sum(line.startswith("::error file=ml/specs/") for line in lines) == 10
    assert lines[-1].startswith("::notice title=Not all is shown::")
    assert len(lines) <= 21
    assert "errors in" in err


@pytest.mark.parametrize("form", ["text", "json", "github", "sarif"])
def test_a_hostile_file_makes_no_command_in_the_log(work: Path, capsys: pytest.CaptureFixture[str], form: str) -> None:
    code, out, err = validate(capsys, "--format", form, f"specs/{HOSTILE}")
    assert code == 3
    for line in [*out.splitlines(), *err.splitlines()]:
        assert "##[" not in line or form in ("json", "sarif")
        assert not line.lstrip().startswith("::") or (form == "github" and line.startswith("::error file=ml/specs/%3A"))


@pytest.mark.parametrize(("form", "lines"), [("text", 0), ("json", 4), ("github", 0)])
def test_good_specs_are_no_faults(work: Path, capsys: pytest.CaptureFixture[str], form: str, lines: int) -> None:
    (work / "good.yaml").write_text("name: a\npipeline_type: batch\npipeline_key: k\npipeline_version: 1.0.0\n")
    code, out, _ = validate(capsys, "--format", form, "good.yaml")
    assert (code, len(out.splitlines())) == (0, lines)
    code, run_ = sarif(capsys, "good.yaml")
    assert (code, run_["results"]) == (0, [])


def test_no_specs_at_all_is_a_fault_in_each_format(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (work / "empty").mkdir()
    code, out, _ = validate(capsys, "--format", "github", "empty", "nowhere")
    assert code == 3
    assert [line.partition(",")[0] for line in out.splitlines()] == [
        "::error file=ml/empty",
        "::error file=ml/nowhere",
    ]
    code, run_ = sarif(capsys, "empty", "nowhere")
    assert (code, [r["ruleId"] for r in run_["results"]]) == (3, ["no-specs", "no-such-path"])


def test_broken_settings_are_told_in_the_format_that_was_asked_for(
    work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (work / "reconciler.yaml").write_text("endpont: local\n")
    code, run_ = sarif(capsys)
    assert code == 3
    (result,) = run_["results"]
    assert result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] == "ml/reconciler.yaml"
