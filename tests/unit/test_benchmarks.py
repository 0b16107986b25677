"""The performance suite does not rot: its specs are valid, its states match them, and all of it runs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run(*arguments: str | Path, folder: Path = ROOT) -> str:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"  # a pipeline of the service runs sleep
    environ = {"PATH": path, "PYTHONPATH": str(ROOT), "HOME": str(folder)}
    done = subprocess.run(
        [sys.executable, "-m", *map(str, arguments)], cwd=folder, env=environ, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_fleet_is_valid_and_all_of_it_is_as_its_state_says(tmp_path: Path) -> None:
    run("benchmarks.fleet", tmp_path / "fleet", "--number", "30", "--recorded", "completed")
    files = list((tmp_path / "fleet" / "specs").rglob("*.yaml"))
    assert len(files) == 30
    assert 700 < sum(file.stat().st_size for file in files) / 30 < 1500
    assert run("benchmarks.floor", tmp_path / "fleet" / "specs").split()[0] == "30"
    told = json.loads(run("reconciler", "plan", "--format", "json", folder=tmp_path / "fleet"))
    assert told["summary"] == {"keep": 30}
    assert told["warnings"] == []


def test_the_same_seed_makes_the_same_fleet(tmp_path: Path) -> None:
    texts = []
    for folder, seed in (("a", "1"), ("b", "1"), ("c", "2")):
        run("benchmarks.fleet", tmp_path / folder, "--number", "12", "--seed", seed)
        texts.append("".join(path.read_text() for path in sorted((tmp_path / folder / "specs").rglob("*.yaml"))))
    assert texts[0] == texts[1] != texts[2]


@pytest.mark.slow
@pytest.mark.network
def test_all_of_the_suite_runs_and_tells_every_part(tmp_path: Path) -> None:
    said = run("benchmarks", "--size", "tiny", "--no-peers", "--results", tmp_path)
    assert "reached" in said
    told = json.loads((tmp_path / "results.json").read_text())
    bars = [bar for part in told["parts"].values() for bar in part["bars"]]
    assert {bar["part"] for bar in bars} == {"start-up", "plan", "requests", "apply", "service"}
    by_what = {bar["what"]: bar["reached"] for bar in bars if bar["part"] == "requests"}
    assert by_what == {"a plan over 20 jobs in flight": 1, "a plan over 20 jobs that have ended": 0}
    for name in ("plan", "apply", "service"):
        assert (tmp_path / f"{name}.svg").read_text().startswith("<svg")
