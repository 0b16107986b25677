"""What the platform would see of a spec."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable
from typing import Any

import pytest

from reconciler.check import Checker
from reconciler.errors import Diagnostic, Location
from reconciler.job import DesiredJob, Policy, Upload
from reconciler.pipeline import Pipeline
from reconciler.resolve import Taken, WrittenSpec, fingerprint, open_versions, read
from reconciler.resolve import resolve as resolve_read
from reconciler.spec import JobSpec


def resolve(
    specs: Iterable[WrittenSpec], invalid: Collection[str] = ()
) -> tuple[dict[str, DesiredJob], list[Diagnostic]]:
    return resolve_read(map(read, specs), invalid)


BASE = {"name": "a", "pipeline_type": "batch", "pipeline_key": "k"}


def written(line: int = 1, uploads: dict[str, Upload] | None = None, **changes: Any) -> WrittenSpec:
    raw = {**BASE, **changes}
    return WrittenSpec(
        JobSpec.model_validate(raw),
        raw,
        Location("specs/a.yaml", line, 1),
        {path: (upload,) for path, upload in (uploads or {}).items()},
    )


def upload(name: str, content: str) -> Upload:
    return Upload(f"specs/{name}", f"{name}.{content}", f"sha256:{content}", 1, "text/csv")


def test_the_request_is_the_document_without_name_and_policies() -> None:
    jobs, _ = resolve([written(pipeline_version="1", parameters={"w": {"parallelism": 2}}, reconcile={})])
    assert jobs["a"].request == {
        "pipeline_type": "batch",
        "pipeline_key": "k",
        "pipeline_version": "1",
        "parameters": {"w": {"parallelism": 2}},
    }


def test_the_fingerprint_is_pinned() -> None:
    # A value that ever changed would submit every job of every user once more.
    jobs, _ = resolve([written(inputs={"p": [{"file_id": "ä.csv", "metadata": {"weight": 1.0}}]})])
    assert jobs["a"].fingerprint == "sha256:13bfb23d0377fe4dd76c58d5fd20365629c5b7a51356951927e344f8d73704c5"


def test_a_local_file_is_sent_by_its_content_not_its_path() -> None:
    one = written(
        uploads={"x.csv": upload("x.csv", "1")}, inputs={"p": [{"path": "x.csv", "metadata": {"class": "c"}}]}
    )
    two = written(
        uploads={"./x.csv": upload("x.csv", "1")}, inputs={"p": [{"path": "./x.csv", "metadata": {"class": "c"}}]}
    )
    changed = written(
        uploads={"x.csv": upload("x.csv", "2")}, inputs={"p": [{"path": "x.csv", "metadata": {"class": "c"}}]}
    )
    first, second, third = (resolve([spec])[0]["a"] for spec in (one, two, changed))
    assert first.request["inputs"] == {"p": [{"file_id": "x.csv.1", "metadata": {"class": "c"}}]}
    assert first.fingerprint == second.fingerprint != third.fingerprint
    assert [u.file_id for u in first.uploads] == ["x.csv.1"]


def test_a_file_used_twice_is_uploaded_once() -> None:
    both = {"x.csv": upload("x.csv", "1"), "./x.csv": upload("x.csv", "1")}
    jobs, _ = resolve([written(uploads=both, inputs={"p": [{"path": "x.csv"}], "q": [{"path": "./x.csv"}]})])
    assert len(jobs["a"].uploads) == 1


def test_policies_are_the_tools_own() -> None:
    jobs, _ = resolve([written(reconcile={"retry": {"attempts": 3}, "on_change": "keep"})])
    assert jobs["a"].policy == Policy(attempts=3, on_change="keep")
    assert resolve([written()])[0]["a"].policy == Policy(attempts=1, on_change="cancel")


def test_a_name_that_is_taken_names_both_places_and_keeps_the_first() -> None:
    jobs, faults = resolve([written(1), written(5, pipeline_key="other"), written(9)])
    assert jobs["a"].request["pipeline_key"] == "k"
    assert [(str(f.location), f.code) for f in faults] == [
        ("specs/a.yaml:5:1", "duplicate-name"),
        ("specs/a.yaml:9:1", "duplicate-name"),
    ]
    assert all("specs/a.yaml:1:1" in f.summary for f in faults)


def test_names_that_only_look_alike_are_two_jobs() -> None:
    jobs, faults = resolve([written(name="caf\u00e9"), written(name="cafe\u0301")])
    assert len(jobs) == 2
    assert faults == []


def test_fingerprints_are_of_canonical_json() -> None:
    assert fingerprint({"b": 1.0, "a": "\u00e9"}) == fingerprint({"a": "\u00e9", "b": 1})
    assert fingerprint({}) == "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"


def chained(
    name: str, takes: str | None = None, needs: list[str] | None = None, line: int = 1, **more: Any
) -> WrittenSpec:
    """A job that takes the port `out` of another job, or only needs others."""
    changes = dict(more)
    if takes:
        changes["inputs"] = {"p": [{"from": {"job": takes, "port": "out"}, "metadata": {"class": "c"}}]}
    if needs:
        changes["reconcile"] = {"needs": needs}
    spec = written(line, name=name, **changes)
    places = {
        n: Location("specs/a.yaml", line, i + 5) for i, n in enumerate(([takes] if takes else []) + (needs or []))
    }
    return dataclasses.replace(spec, needs=places)


def test_a_job_is_changed_with_what_it_takes_from_another_one_however_far_away() -> None:
    def prints(value: int, first: str = "a") -> dict[str, str]:
        specs = [
            chained("c", takes="b"),
            chained("b", takes=first),
            chained(first, parameters={"w": {"parallelism": value}}),
            chained("after", needs=[first]),
        ]
        jobs, faults = resolve(specs)
        assert faults == []
        return {name: job.fingerprint for name, job in jobs.items()}

    before, after = prints(1), prints(2)
    assert {n for n in before if before[n] != after[n]} == {"a", "b", "c"}
    renamed = prints(1, first="z")
    assert (renamed["b"], renamed["c"]) == (before["b"], before["c"])


def test_what_a_job_needs_is_known() -> None:
    jobs, _ = resolve([chained("b", takes="a", needs=["x"]), chained("a"), chained("x")])
    assert jobs["b"].needs == {"a", "x"}


@pytest.mark.parametrize(
    ("specs", "code", "place", "says"),
    [
        ([chained("b", takes="prepaer", line=3), chained("prepare")], "unknown-job", "3:5", "did you mean 'prepare'?"),
        ([chained("b", needs=["x"], line=3)], "unknown-job", "3:5", "name jobs of these specs"),
        ([chained("a", needs=["a"], line=2)], "circular-needs", "2:5", "a → a"),
        ([chained("a", takes="b", line=2), chained("b", needs=["a"], line=4)], "circular-needs", "2:5", "a → b → a"),
    ],
)
def test_what_cannot_be_needed_is_a_fault_at_its_place(
    specs: list[WrittenSpec], code: str, place: str, says: str
) -> None:
    _, (fault,) = resolve(specs)
    assert (fault.code, str(fault.location)) == (code, f"specs/a.yaml:{place}")
    assert says in f"{fault.summary}; {fault.hint}"


def test_a_job_whose_spec_has_faults_is_not_missing() -> None:
    jobs, faults = resolve([chained("b", takes="a"), chained("c", needs=["b"])], invalid={"a"})
    assert (set(jobs), faults) == ({"b", "c"}, [])


SNAPSHOT = Pipeline("k", "1.1", {}, ["w"], {}, Checker({}), outputs=["worker.text", "worker.log"])


def takes(name: str, job: str, port: str | None, line: int = 1) -> WrittenSpec:
    spec = chained(name, takes=job, line=line)
    return dataclasses.replace(spec, takes=(Taken(job, port, Location("specs/a.yaml", line, 9)),))


@pytest.mark.parametrize(
    ("port", "maker", "says"),
    [
        ("worker.txt", {"pipeline": SNAPSHOT}, "k 1.1, which 'a' runs, has no output port 'worker.txt'; did you mean"),
        ("x", {"pipeline": SNAPSHOT}, "output ports: worker.text, worker.log"),
        (None, {}, "'a' makes no checkpoints: it is a batch job"),
    ],
)
def test_an_output_that_the_other_job_does_not_make_is_a_fault(port: str | None, maker: Any, says: str) -> None:
    _, (fault,) = resolve([dataclasses.replace(written(), **maker), takes("b", "a", port, line=7)])
    assert (fault.code, str(fault.location)) == ("no-such-output", "specs/a.yaml:7:9")
    assert says in f"{fault.summary}; {fault.hint}"


def test_an_output_of_a_pipeline_that_is_not_known_may_be_there() -> None:
    known_without_outputs = dataclasses.replace(SNAPSHOT, outputs=None)
    for pipeline in (None, known_without_outputs):
        assert resolve([dataclasses.replace(written(), pipeline=pipeline), takes("b", "a", "x")])[1] == []
    assert resolve([dataclasses.replace(written(), pipeline=SNAPSHOT), takes("b", "a", "worker.log")])[1] == []
    training = written(pipeline_type="training")
    assert resolve([training, takes("b", "a", None)])[1] == []


def test_a_version_that_is_left_open_is_a_warning_once_a_file() -> None:
    other = dataclasses.replace(written(name="z"), location=Location("specs/b.yaml", 1, 1))
    specs = [written(1, name="p", pipeline_version="1"), written(5, name="q"), written(9, name="r"), other]
    found = open_versions([read(dataclasses.replace(spec, pipeline=SNAPSHOT)) for spec in specs])
    assert [(str(d.location), d.severity) for d in found] == [
        ("specs/a.yaml:5:1", "warning"),
        ("specs/b.yaml:1:1", "warning"),
    ]
    assert found[0].hint == "write pipeline_version: 1.1"
    assert "pipelines list" in (open_versions([read(written())])[0].hint or "")
    assert open_versions([read(specs[0])]) == []
