"""The command line that overrides a refusal is the one that was typed, and works when it is pasted."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from reconciler.cli.main import run

SPEC = """\
name: {name}
pipeline_type: batch
pipeline_key: image-classifier
inputs: {{images: [{{path: picture.png}}]}}
parameters: {{classifier: {{config: {{threshold: 0.{value}}}}}}}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two specs; `-rf` has a name that looks like an option."""
    monkeypatch.chdir(tmp_path)
    for folder in ("specs", "my specs"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "picture.png").write_bytes(b"not looked at: no job runs here")
        (tmp_path / folder / "a.yaml").write_text(SPEC.format(name="a", value=1))
        (tmp_path / folder / "b.yaml").write_text(SPEC.format(name='"-rf $(b)"', value=2))
    return tmp_path


def planned(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    code = run([*words, "--format", "json"])
    printed = capsys.readouterr()
    assert code == 0, printed.err
    return json.loads(printed.out)


def override(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    (refusal,) = planned(capsys, *words)["refusals"]
    return str(refusal["override"])


PLAN = ("--endpoint", "local", "plan", "--no-adopt")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ([*PLAN, "--max-submissions", "1"], "--endpoint local apply --no-adopt --max-submissions 2"),
        (
            [*PLAN, "--max-submissions", "1", "--out", "x.json", "my specs"],
            "--endpoint local apply 'my specs' --no-adopt --max-submissions 2",
        ),
        (
            [*PLAN, "--prune", "--replace=-rf $(b)", "--max-submissions=1", "--max-cancellations", "5"],
            "--endpoint local apply --prune '--replace=-rf $(b)' --no-adopt --max-submissions 2 --max-cancellations 5",
        ),
        (
            [
                "-q",
                "plan",
                "--no-adopt",
                "--no-refresh",
                "--endpoint",
                "local",
                "--lock-timeout",
                "2m",
                "--max-submissions=1",
            ],
            "--quiet apply --no-adopt --max-submissions 2 --endpoint local --lock-timeout 120",
        ),
    ],
)
def test_it_has_the_options_of_the_plan(
    folder: Path, capsys: pytest.CaptureFixture[str], words: list[str], expected: str
) -> None:
    assert override(capsys, *words) == f"reconciler {expected}"


def test_what_a_plan_was_told_by_the_environment_is_typed_for_apply(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECONCILER_PLAN_PRUNE", "1")
    monkeypatch.setenv("RECONCILER_MAX_SUBMISSIONS", "1")
    monkeypatch.setenv("RECONCILER_ENDPOINT", "local")
    assert override(capsys, "plan", "--no-adopt") == "reconciler apply --prune --no-adopt --max-submissions 2"


def test_what_is_typed_wins_over_the_environment_and_that_over_the_settings(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "reconciler.yaml").write_text("max_submissions: 0\nendpoint: local\n")
    assert planned(capsys, "plan", "--no-adopt")["refusals"][0]["limit"] == "0"
    monkeypatch.setenv("RECONCILER_MAX_SUBMISSIONS", "1")
    assert planned(capsys, "plan", "--no-adopt")["refusals"][0]["limit"] == "1"
    assert not planned(capsys, "plan", "--no-adopt", "--max-submissions", "2")["refusals"]
    assert not planned(capsys, "plan", "--no-adopt", "--max-submissions", "none")["refusals"]


def test_only_what_was_typed_goes_with_a_saved_plan(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECONCILER_MAX_SUBMISSIONS", "7")
    made = planned(capsys, *PLAN, "--max-cancellations", "3")
    assert (made["options"]["max_submissions"], made["options"]["max_cancellations"]) == (None, "3")


def save(capsys: pytest.CaptureFixture[str], *words: str) -> None:
    planned(capsys, *PLAN, *words, "--out", "plan.json")


def carried_out(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str]:
    code = run(["--endpoint", "local", "apply", "--plan", "plan.json", *words])
    return code, capsys.readouterr().err


def test_a_saved_plan_meets_the_limits_of_the_apply(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    save(capsys)
    monkeypatch.setenv("RECONCILER_MAX_SUBMISSIONS", "1")
    code, printed = carried_out(capsys)
    assert code == 1
    assert "to do it all the same: reconciler --endpoint local apply --max-submissions 2 --plan plan.json" in printed
    assert not (folder / ".reconciler" / "state.json").exists()
    assert carried_out(capsys, "--max-submissions", "2")[0] == 0


def test_a_limit_that_was_typed_for_the_plan_is_that_of_its_apply(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    save(capsys, "--max-submissions", "2")
    monkeypatch.setenv("RECONCILER_MAX_SUBMISSIONS", "1")
    assert carried_out(capsys, "--max-submissions", "0")[0] == 1
    assert carried_out(capsys)[0] == 0


@pytest.mark.parametrize("limit", ["lots", -1, [1], {"a": 1}])
def test_a_plan_file_with_a_broken_limit_is_refused(
    folder: Path, capsys: pytest.CaptureFixture[str], limit: Any
) -> None:
    save(capsys)
    made = json.loads((folder / "plan.json").read_text())
    made["options"]["max_submissions"] = limit
    (folder / "plan.json").write_text(json.dumps(made))
    code, printed = carried_out(capsys)
    assert (code, "does not say how it was made" in printed) == (1, True)


def test_the_override_of_a_command_in_a_group_has_all_its_names(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for spec in (folder / "specs").glob("*.yaml"):
        spec.write_text(spec.read_text() + "reconcile: {protect: true}\n")
    assert run(["--endpoint", "local", "apply", "--yes"]) == 0
    capsys.readouterr()
    assert run(["--endpoint", "local", "-q", "state", "rm", "--yes", "--", "a", "-rf $(b)"]) == 1
    lines = [line for line in capsys.readouterr().out.splitlines() if "to do it all the same" in line][:2]
    typed = "reconciler --endpoint local --quiet state rm a '[-]rf $(b)' --yes"
    assert [line.partition(": ")[2] for line in lines] == [
        f"{typed} '--unprotect=-rf $(b)'",
        f"{typed} --unprotect a",
    ]
    assert run(shlex.split(lines[0].partition("reconciler ")[2])) == 1  # the other one is still protected
    assert list(json.loads((folder / ".reconciler" / "state.json").read_text())["jobs"]) == ["a"]


def test_the_override_works_when_it_is_pasted(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--endpoint", "local", "apply", "my specs", "--yes", "--no-adopt", "--target=-rf $(b)", "--target", "a"]
    assert run([*words, "--max-submissions", "1"]) == 1
    printed = capsys.readouterr().err
    _, _, line = printed.partition("to do it all the same: ")
    program, *pasted = shlex.split(line.splitlines()[0])
    assert program == "reconciler"
    assert run(pasted) == 0
    assert len(json.loads((folder / ".reconciler" / "state.json").read_text())["jobs"]) == 2


def test_the_limits_of_an_environment_hold_in_it(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "reconciler.yaml").write_text("environments: {prod: {max_submissions: 1}, test: {}}\n")
    words = ("--endpoint", "local", "plan", "--no-refresh")
    assert "2 jobs would be submitted" in planned(capsys, "--environment", "prod", *words)["refusals"][0]["reason"]
    assert planned(capsys, "--environment", "test", *words)["refusals"] == []


def test_an_environment_does_not_take_over_the_jobs_of_another_one(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "reconciler.yaml").write_text("endpoint: local\nenvironments: {dev: {}, prod: {}}\n")
    assert run(["--environment", "dev", "apply", "--yes"]) == 0
    capsys.readouterr()
    assert planned(capsys, "--environment", "prod", "plan")["summary"] == {"create": 2}
    (folder / ".reconciler" / "state.dev.json").unlink()
    assert planned(capsys, "--environment", "prod", "plan")["summary"] == {"adopt": 2}  # nobody says that they are his


def test_the_hint_of_a_saved_plan_goes_to_the_same_place(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "reconciler.yaml").write_text("endpoint: local\nenvironments: {prod: {}}\n")
    assert run(["--environment", "prod", "plan", "--out", "plan.json"]) == 0
    line = capsys.readouterr().err.strip().splitlines()[-1]
    assert line == "Saved. Carry it out with: reconciler --environment prod apply --plan plan.json"
