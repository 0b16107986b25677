"""A working directory with many realistic specs, and with a state that matches them: the same for the same seed.

    python -m benchmarks.fleet FOLDER --number 10000 --recorded completed

One job a file, a hundred files a folder, about 1 kB each: what a team writes that watches a fleet of machines. Seven in
ten classify the states of a machine, two in ten detect activity in videos, one in ten classifies images.
"""

from __future__ import annotations

import argparse
import random
import shutil
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import yaml

from reconciler.job import PlatformFile, RecordedJob, Source, State
from reconciler.resolve import fingerprint
from reconciler.state import dumps

Recorded: TypeAlias = Literal["nothing", "completed", "in-flight"]
ENDPOINT = "http://127.0.0.1:8750/v0.5"
FOLDER_SIZE = 100
SNAPSHOTS = Path(__file__).parents[1] / "schemas" / "pipelines"
_SITES = "aachen bergen cadiz delft esbjerg faro gdansk haifa izmir jena kiel lyon malmo nantes oulu porto".split()
_KINDS = "pump fan mill press lathe conveyor chiller turbine compressor extruder".split()
_COLUMNS = "current_a voltage_v vibration_x vibration_y vibration_z temperature_c pressure_bar flow_l_min rpm".split()
_STATES = "idle running worn blocked cavitating overheated unbalanced".split()


@dataclass(frozen=True, slots=True)
class Spec:
    """One spec: its file, its text, and what the platform would see of it. `options`: what `reconcile` holds."""

    path: str
    name: str
    text: str
    request: dict[str, Any]


def specs(number: int, seed: int = 1, *, shared: bool = False) -> Iterator[Spec]:
    """The first `number` specs of the fleet `seed`; a larger fleet begins with the smaller one. `shared`: all look at
    the same few recordings, with other parameters each time; else each job has its own.
    """
    for index in range(number):
        yield _spec(index, random.Random(f"{seed}:{index}"), shared=shared)


def _spec(index: int, dice: random.Random, *, shared: bool) -> Spec:
    site, kind = _SITES[index // FOLDER_SIZE % len(_SITES)], dice.choice(_KINDS)
    name = f"{site}-{kind}-{index:06}-2026w{dice.randrange(1, 53):02}"
    make = (_states, _activity, _images)[(0, 0, 0, 1, 0, 0, 1, 0, 0, 2)[index % 10]]
    stem, each = ("recording", "reference") if shared else (name, f"reference-{dice.randrange(20):02}")
    request, about = make(stem, each, dice)
    policy = dice.choice([{}, {"retry": {"attempts": 3, "backoff": "5m"}}, {"timeout": "6h", "on_change": "keep"}])
    head = (
        "# yaml-language-server: $schema=../../schemas/spec.schema.json\n"
        f"# {kind.capitalize()} {index % FOLDER_SIZE} in {site.capitalize()}, line {dice.randrange(1, 9)}: {about}\n"
        f"# Asked for by the shift lead of hall {dice.randrange(1, 30)}; the recording is of the week before.\n"
    )
    body = {"name": name, **request, **({"reconcile": policy} if policy else {})}
    text = head + yaml.dump(body, Dumper=yaml.CSafeDumper, sort_keys=False, width=110)
    return Spec(f"specs/{site}-{index // FOLDER_SIZE:04}/{name}.yaml", name, text, request)


def _request(
    key: str, version: str, inputs: dict[str, Any], component: str, config: dict[str, Any], workers: int
) -> Any:
    return {
        "pipeline_type": "batch",
        "pipeline_key": key,
        "pipeline_version": version,
        "inputs": inputs,
        "parameters": {component: {"parallelism": workers, "config": config}},
    }


def _states(stem: str, reference: str, dice: random.Random) -> tuple[dict[str, Any], str]:
    states = dice.sample(_STATES, dice.randrange(2, 4))
    window = dice.choice([32, 64, 128])
    inputs = {
        "worker.inference": [{"file_id": f"{stem}-part-{part}.csv"} for part in range(dice.randrange(1, 4))],
        "worker.n_shots": [{"file_id": f"{reference}-{state}.csv", "metadata": {"class": state}} for state in states],
    }
    config = {
        "model_type": dice.choice(["omega_1_4_base", "omega_1_5_base"]),
        "batch_size": dice.choice([16, 32, 64]),
        "reader_config": {
            "data_columns": sorted(dice.sample(_COLUMNS, dice.randrange(3, 6))),
            "timestamp_column": "timestamp",
            "window_size": window,
            "step_size": window // dice.choice([1, 2, 4]),
        },
        "classifier_config": {
            "n_neighbors": dice.choice([3, 5, 7]),
            "metric": dice.choice(["euclidean", "cosine", "manhattan"]),
            "weights": "distance",
            "normalize_embeddings": dice.random() < 0.5,
        },
    }
    request = _request("machine-state-classification", "1.1.1", inputs, "worker", config, dice.randrange(1, 5))
    return request, f"which of {len(states)} states was it in?"


def _activity(stem: str, reference: str, dice: random.Random) -> tuple[dict[str, Any], str]:
    parts = dice.randrange(6, 14)
    inputs = {"worker.data": [{"file_id": f"{stem}-camera-{part:02}.mp4"} for part in range(parts)]}
    config = {
        "model_variant": "newton/c:2.5.1-8b-base",
        "batch_size": dice.choice([4, 8]),
        "max_video_frames": dice.choice([16, 32]),
        "generation": {
            "max_new_tokens": dice.choice([128, 256, 512]),
            "temperature": round(dice.uniform(0.1, 1.0), 2),
            "top_p": 0.95,
            "do_sample": True,
        },
    }
    return _request("activity-detection", "0.0.20", inputs, "worker", config, dice.randrange(1, 3)), "who works on it?"


def _images(stem: str, reference: str, dice: random.Random) -> tuple[dict[str, Any], str]:
    inputs = {"images": [{"file_id": f"{stem}-{part:03}.png"} for part in range(dice.randrange(10, 16))]}
    config = {"model": dice.choice(["resnet50", "efficientnet-b0"]), "threshold": round(dice.uniform(0.3, 0.9), 2)}
    return _request(
        "image-classifier", "1.2.0", inputs, "classifier", config, 2
    ), "photos of the surface, part by part."


def job_id(index: int, seed: int = 1) -> str:
    """The id of the platform job of the spec `index`."""
    return f"job_{random.Random(f'id {seed}:{index}').getrandbits(128):026x}"


def platform_job(spec: Spec, job: str, status: str) -> dict[str, Any]:
    """The job object that the platform shows."""
    began = None if status == "PENDING" else "2026-11-20T08:01:00Z"
    return {
        "id": job,
        "org_id": "org_fleet",
        "name": spec.name,
        **{k: v for k, v in spec.request.items() if k != "inputs"},
        "status": status,
        "retry_count": 0,
        "preemption_count": 0,
        "queue_position": None,
        "queue_depth": None,
        "input_progress": {"pending": 0, "processing": 0, "completed": 1, "failed": 0},
        "created_at": "2026-11-20T08:00:00.120001Z",
        "updated_at": "2026-11-20T08:02:11Z",
        "started_at": began,
        "completed_at": "2026-11-20T08:02:11Z" if status == "COMPLETED" else None,
        "failed_at": None,
        "cancelled_at": None,
        "error": None,
    }


def file_row(file_id: str) -> dict[str, Any]:
    """What the platform says of a file."""
    return {"file_id": file_id, "file_uid": f"fil_{file_id}", "num_bytes": len(file_id), "is_valid": True}


def files(request: dict[str, Any]) -> list[str]:
    """What a request names by its `file_id`."""
    return [item["file_id"] for items in request["inputs"].values() for item in items]


def state(
    number: int, recorded: Recorded, endpoint: str = ENDPOINT, seed: int = 1, *, with_files: bool = False
) -> State:
    """The state in which every spec has its job: all COMPLETED, or all RUNNING. `with_files`: it is recorded which
    contents their inputs had.
    """
    status = "COMPLETED" if recorded == "completed" else "RUNNING"
    source = Source(commit="4b825dc642cb6eb9a060e54bf8d69288fbee4904", branch="main", dirty=False, tool_version="0.1.0")
    jobs = {}
    for index, spec in enumerate(specs(number, seed)):
        job = platform_job(spec, job_id(index, seed), status)
        jobs[spec.name] = RecordedJob(
            job_id=job["id"],
            fingerprint=fingerprint(spec.request),
            request=spec.request,
            spec_path=spec.path,
            line=4,
            pipeline_version=spec.request["pipeline_version"],
            status=status,
            submitted_at="2026-11-20T08:00:00Z",
            observed_at="2026-11-20T08:02:30Z",
            commit=source.commit,
            source=source,
            why="new",
            observed=job,
            files={f: PlatformFile.model_validate(file_row(f)) for f in files(spec.request)} if with_files else {},
        )
    generations = dict.fromkeys(jobs, 1)
    lineage = str(uuid.UUID(int=random.Random(seed).getrandbits(128), version=4))
    return State(lineage=lineage, serial=1, endpoint=endpoint, jobs=jobs, generations=generations)


def write(
    folder: Path,
    number: int,
    recorded: Recorded = "nothing",
    *,
    endpoint: str = ENDPOINT,
    seed: int = 1,
    shared: bool = False,
) -> None:
    """Make `folder`, which must be new or empty, a working directory with so many specs."""
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copytree(SNAPSHOTS, folder / "schemas" / "pipelines")
    made: set[Path] = set()
    for spec in specs(number, seed, shared=shared):
        path = folder / spec.path
        if path.parent not in made:
            path.parent.mkdir(parents=True)
            made.add(path.parent)
        path.write_text(spec.text)
    (folder / "reconciler.yaml").write_text(f"endpoint: {endpoint}\n")
    if recorded != "nothing":
        write_state(folder, number, recorded, endpoint=endpoint, seed=seed)


def write_state(
    folder: Path,
    number: int,
    recorded: Recorded,
    *,
    endpoint: str = ENDPOINT,
    seed: int = 1,
    with_files: bool = False,
) -> None:
    """Put the state that belongs to the specs into `folder`, in place of the one that is there."""
    path = folder / ".reconciler" / "state.json"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(dumps(state(number, recorded, endpoint, seed, with_files=with_files)))
    path.chmod(0o600)


def changed_one(folder: Path, number: int, *, seed: int = 1) -> tuple[str, Path]:
    """The spec in the middle with one parameter changed, as a person would do it, and where it is."""
    spec = next(s for index, s in enumerate(specs(number, seed)) if index == number // 2)
    return spec.text.replace("parallelism: ", "parallelism: 1", 1), folder / spec.path


def main() -> None:
    parser = argparse.ArgumentParser(description="Write a working directory with many specs.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--number", type=int, default=1000)
    parser.add_argument("--recorded", choices=("nothing", "completed", "in-flight"), default="nothing")
    parser.add_argument("--endpoint", default=ENDPOINT)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    write(options.folder, options.number, options.recorded, endpoint=options.endpoint, seed=options.seed)


if __name__ == "__main__":
    main()
