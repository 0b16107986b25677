"""Runs a pipeline's worker the way the service does: a process of its own that talks JSON lines."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator

ROOT = Path(__file__).parents[2]
PIPELINES = ROOT / "reconciler" / "service" / "pipelines"
SPECS = ROOT / "specs"

Json = dict[str, Any]


@dataclass(frozen=True)
class Given:
    """One input of a port."""

    path: Path
    file_id: str = ""
    metadata: Json = field(default_factory=dict)


@dataclass(frozen=True)
class Ended:
    """What a worker left behind."""

    status: int
    lines: list[Json]
    stderr: str
    output_dir: Path

    def of_type(self, kind: str) -> list[Json]:
        return [line for line in self.lines if line["type"] == kind]

    @property
    def error(self) -> Json:
        """Why the job or an input failed, whichever the worker said."""
        errors = self.of_type("error")
        errors += [{"error": e["payload"]} for e in self.of_type("event") if e["event_type"] == "input_failed"]
        assert len(errors) == 1, self.stderr
        error: Json = errors[0]["error"]
        return error

    @property
    def outputs(self) -> list[Path]:
        return [self.output_dir / line["path"] for line in self.of_type("output")]


def definition(pipeline: str) -> Json:
    loaded: Json = yaml.safe_load((PIPELINES / pipeline / "pipeline.yaml").read_text())
    return loaded


def resolved(pipeline: str, config: Mapping[str, Any]) -> Json:
    """The config under the pipeline's defaults; it must satisfy the pipeline's own schema."""
    known = definition(pipeline)
    (defaults,) = known["default_config"].values()
    merged = merge(defaults["config"], config)
    Draft202012Validator(known["user_config_schema"]).validate(merged)
    return merged


def merge(below: Mapping[str, Any], above: Mapping[str, Any]) -> Json:
    both = {**below, **above}
    for key in below.keys() & above.keys():
        if isinstance(below[key], dict) and isinstance(above[key], dict):
            both[key] = merge(below[key], above[key])
    return both


def work_line(
    pipeline: str,
    inputs: Mapping[str, Sequence[Given]],
    config: Mapping[str, Any],
    folder: Path,
    *,
    index: int = 0,
    parallelism: int = 1,
) -> Json:
    known = definition(pipeline)
    (component,) = known["components"]
    output_dir = folder / "outputs"
    output_dir.mkdir(parents=True)
    return {
        "protocol": 1,
        "job": {"id": "job_1", "name": "test", "pipeline_key": pipeline, "pipeline_version": known["pipeline_version"]},
        "component": component,
        "index": index,
        "parallelism": parallelism,
        "config": dict(config),
        "inputs": {
            port: [
                {
                    "id": f"inp_{index}x{number}{port[-5:]}",
                    "file_id": given.file_id or given.path.name,
                    "filename": given.file_id or given.path.name,
                    "path": str(given.path),
                    "num_bytes": given.path.stat().st_size,
                    "file_type": "application/octet-stream",
                    "metadata": given.metadata,
                }
                for number, given in enumerate(items)
            ]
            for port, items in inputs.items()
        },
        "output_dir": str(output_dir),
    }


def start(program: Path, folder: Path) -> subprocess.Popen[bytes]:
    """Starts a program in an empty working folder and with the service's small environment."""
    home = folder / "home"
    home.mkdir(parents=True)
    places = {"PATH": os.environ["PATH"], "HOME": str(home), "TMPDIR": str(home), "LANG": "C.UTF-8"}
    environment = {**places, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [sys.executable, str(program)], stdin=pipe, stdout=pipe, stderr=pipe, cwd=home, env=environment
    )


def finish(process: subprocess.Popen[bytes], line: Json) -> Ended:
    """Sends the line of work and reads all that comes; stdin stays open until the worker has ended."""
    assert process.stdin
    assert process.stdout
    assert process.stderr
    with process:
        process.stdin.write(json.dumps(line).encode() + b"\n")
        process.stdin.flush()
        # The workers write little on stderr: it cannot fill its pipe and block them.
        lines = [json.loads(text) for text in process.stdout]
        status = process.wait(timeout=60)
        return Ended(status, lines, process.stderr.read().decode(), Path(line["output_dir"]))


def run_worker(
    pipeline: str,
    inputs: Mapping[str, Sequence[Given]],
    config: Mapping[str, Any],
    folder: Path,
    *,
    index: int = 0,
    parallelism: int = 1,
) -> Ended:
    asked = resolved(pipeline, config)
    line = work_line(pipeline, inputs, asked, folder, index=index, parallelism=parallelism)
    return finish(start(PIPELINES / pipeline / "worker.py", folder), line)
