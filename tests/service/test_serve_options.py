"""The options of `reconciler serve` reach the service."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from service_client import DEADLINE

KEY = "sk_options_0123456789"


def command(folder: Path, *options: str, key: str = KEY) -> subprocess.Popen[str]:
    line = [sys.executable, "-m", "reconciler", "serve", "--port", "0", "--data", str(folder / "data"), *options]
    environment = {"PATH": os.environ["PATH"], "HOME": str(folder), "ATAI_API_KEY": key}
    return subprocess.Popen(line, stderr=subprocess.PIPE, text=True, env=environment, cwd=folder)


@pytest.mark.network
def test_a_limit_and_a_log_in_json(tmp_path: Path) -> None:
    with command(tmp_path, "--rate-limit", "0.1", "--log-format", "json") as process:
        try:
            assert process.stderr is not None
            said = [json.loads(process.stderr.readline())]
            while not said[-1]["message"].startswith("Stop with"):
                said.append(json.loads(process.stderr.readline()))
            url = said[0]["message"].split()[-1]
            headers = {"Authorization": f"Bearer {KEY}"}
            with httpx.Client(headers=headers, trust_env=False) as http:
                assert [http.get(f"{url}/batch/jobs").status_code for _ in range(2)] == [200, 429]
                for path in ("/healthz", "/metrics"):
                    assert http.get(url.replace("/v0.5", path)).status_code == 200
            process.terminate()
            process.wait(timeout=DEADLINE)
            logged = [json.loads(line) for line in process.stderr.read().splitlines()]
            assert [record.get("status") for record in logged] == [200, 429, 200, 200]
        finally:
            process.kill()


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        (["--rate-limit", "0"], "0"),
        (["--log-format", "xml"], "xml"),
        (["--faults", "missing.json"], "missing.json"),
        (["--host", "0.0.0.0"], "other machines"),
        (["--data", ""], "--data is empty"),
    ],
)
def test_options_that_do_not_do_are_refused(tmp_path: Path, options: list[str], fault: str) -> None:
    with command(tmp_path, *options, key="sk_short") as process:
        said = process.communicate(timeout=DEADLINE)[1]
    assert process.returncode != 0
    assert fault in said
    assert not (tmp_path / "data").exists()


def test_each_fault_of_a_pipeline_has_a_line_of_its_own(tmp_path: Path) -> None:
    folder = tmp_path / "mine" / "shout"
    folder.mkdir(parents=True)
    (folder / "pipeline.yaml").write_text("pipeline_key: shout\ncolour: red\n")
    with command(tmp_path, "--pipelines", "mine") as process:
        lines = process.communicate(timeout=DEADLINE)[1].splitlines()
    assert process.returncode == 1
    assert lines[0] == "error: the pipelines cannot be used"
    assert any(line.startswith("       mine/shout/pipeline.yaml:2:1: colour") for line in lines)
    assert not any("\\u000a" in line for line in lines)
