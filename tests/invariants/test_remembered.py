"""What is remembered of specs never changes a result: not a finding, a position, a fingerprint or a byte of a plan."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from reconciler import specfile
from reconciler.actions import Plan
from reconciler.errors import SpecError, StateError
from reconciler.facts import PlanOptions
from reconciler.job import DesiredJob, RecordedJob, State
from reconciler.load import Loaded, Memory, load
from reconciler.reconcile import PlanRequest, Settings, desired_jobs, plan
from reconciler.report.plans import plan_json, plan_text
from reconciler.resolve import open_versions, resolve
from reconciler.state import dumps
from reconciler.yaml12 import parse

HEAD = "pipeline_type: batch\npipeline_key: k\n"
SNAPSHOT: dict[str, Any] = {
    "pipeline_key": "k",
    "pipeline_version": "1.0",
    "inputs": {"p": {}},
    "outputs": {"out": {}},
    "components": ["w"],
    "default_config": {"w": {}},
    "user_schema": {"properties": {"n": {"type": "integer"}}},
}
FILES = ("a.yaml", "b.yaml", "deep/c.yml", "d.json")
DOCUMENTS = (
    "name: plain\n" + HEAD + "pipeline_version: '1.0'\n",
    "name: plain  # the same, written otherwise\n" + HEAD + 'pipeline_version: "1.0"\nreconcile: {on_change: keep}\n',
    "name: open\n" + HEAD,
    "name: local\n" + HEAD + "inputs: {p: [{path: data.csv}, {path: 'more/*.csv'}]}\n",
    "name: lost\n" + HEAD + "inputs: {p: [{path: none.csv}]}\n",
    "name: vars\n" + HEAD + "parameters: {w: {config: {n: '${{ vars.n }}'}}}\n",
    "name: git\n" + HEAD + "parameters: {w: {config: {commit: '${{ git.commit }}'}}}\n",
    "name: env\n" + HEAD + "parameters: {w: {config: {key: '${{ env.KEY }}'}}}\n",
    "name: '${{ matrix.x }}-${{ vars.n }}'\n" + HEAD + "reconcile: {matrix: {x: [a, b]}, rerun: again}\n",
    "name: first\n" + HEAD,
    "name: second\n" + HEAD + "inputs: {p: [{from: {job: first, port: out}}]}\n",
    "name: third\n" + HEAD + "reconcile: {needs: [first], retry: {attempts: 3}}\n",
    "name: plain\npipeline_type: batchh\npipeline_key: k\n",
    "name: typo\n" + HEAD + "parametres: {}\n",
    "name: wrong\n" + HEAD + "parameters: {w: {config: {n: many}}}\n",
    "name: warned\n" + HEAD + "parameters: {w: {config: {on: yes}}}\n",
    "name: moved\n" + HEAD + "reconcile: {moved_from: gone, protect: true, timeout: 5m}\n",
    "a: [\n",
    "a: 1\na: 1\n",
    "",
    "---\n---\n",
    '{"name": "json", "pipeline_type": "batch", "pipeline_key": "kk"}',
)
VALID = tuple(d for d in DOCUMENTS if "name" in d and not any(f"name: {n}\n" in d for n in ("typo", "wrong", "lost")))[
    :-1
]
EDITS = st.one_of(
    st.tuples(st.just("spec"), st.sampled_from(FILES), st.lists(st.sampled_from(DOCUMENTS), min_size=1, max_size=2)),
    st.tuples(st.just("spec"), st.sampled_from(FILES), st.lists(st.sampled_from(VALID), min_size=1, max_size=1)),
    st.tuples(st.just("remove"), st.sampled_from(FILES), st.none()),
    st.tuples(st.just("data"), st.sampled_from(["data.csv", "more/1.csv", "more/2.csv"]), st.sampled_from("xy")),
    st.tuples(st.just("snapshot"), st.sampled_from([None, "integer", "string", "broken"]), st.none()),
    st.tuples(st.just("vars"), st.sampled_from([1, 2, "1"]), st.none()),
    st.tuples(st.just("policies"), st.sampled_from([{}, {"protect": True}]), st.none()),
    st.tuples(st.just("environ"), st.sampled_from([(), ("KEY",)]), st.none()),
    st.tuples(st.just("commit"), st.sampled_from(["c1", "c2"]), st.none()),
)


# Most folders are valid, and then something changes.
STARTS = st.lists(st.sampled_from(VALID), min_size=2, max_size=5, unique=True)


class Work:
    """A working directory that changes, and what is remembered of it."""

    def __init__(self, root: Path) -> None:
        self.root = root / "work"
        self.cache = root / "cache"
        self.vars: dict[str, Any] = {"n": 1}
        self.policies: dict[str, Any] = {}
        self.environ: tuple[str, ...] = ()
        self.commit = "c1"
        for folder in ("specs/deep", "specs/more", "schemas/pipelines"):
            (self.root / folder).mkdir(parents=True)
        self.edit("data", "data.csv", "x")
        self.edit("data", "more/1.csv", "x")

    def begin(self, documents: Sequence[str]) -> None:
        for number, document in enumerate(documents):
            self.edit("spec", f"s{number}.yaml", [document])

    def edit(self, kind: str, what: Any, how: Any) -> None:
        snapshot = self.root / "schemas/pipelines/k@1.0.json"
        match kind:
            case "spec":
                text = how[0] if what.endswith(".json") else "---\n".join(how)
                (self.root / "specs" / what).write_text(text)
            case "remove":
                (self.root / "specs" / what).unlink(missing_ok=True)
            case "data":
                (self.root / "specs" / what).write_text(how)
            case "snapshot" if what is None:
                snapshot.unlink(missing_ok=True)
            case "snapshot":
                schema = {"properties": {"n": {"type": "integer" if what == "broken" else what}}}
                snapshot.write_text("{" if what == "broken" else json.dumps({**SNAPSHOT, "user_schema": schema}))
            case "vars":
                self.vars = {"n": what}
            case _:
                setattr(self, kind, what)

    def load(self, enough: Callable[[str, str], bool] | None) -> Loaded:
        return load(
            [self.root / "specs"],
            root=self.root,
            pipelines=self.root / "schemas/pipelines",
            scopes={"vars": lambda: self.vars, "git": lambda: {"commit": self.commit}},
            policies=self.policies,
            environ=self.environ,
            memory=None if enough is None else Memory(self.cache, enough),
        )


def _known(job: DesiredJob) -> DesiredJob:
    """What is known of a job whether it was read or remembered."""
    keys = ("pipeline_type", "pipeline_key", "pipeline_version")
    return replace(job, request={k: v for k, v in job.request.items() if k in keys}, partial=False)


def _told(loaded: Loaded) -> Any:
    desired, faults = resolve(loaded.specs)
    return (
        {name: _known(job) for name, job in desired.items()},
        faults,
        loaded.diagnostics,
        loaded.files,
        loaded.unchecked,
    )


@contextmanager
def _work() -> Any:
    with TemporaryDirectory() as folder:
        yield Work(Path(folder))


@pytest.mark.slow
@settings(max_examples=40)
@given(STARTS, st.lists(EDITS, min_size=1, max_size=8))
def test_specs_say_the_same_remembered_or_read(start: Sequence[str], edits: Sequence[tuple[str, Any, Any]]) -> None:
    with _work() as work:
        work.begin(start)
        for edit in [("commit", "c1", None), *edits]:
            work.edit(*edit)
            fresh = work.load(None)
            for _ in range(2):  # the first may remember, the second has what it remembered
                assert _told(work.load(lambda name, fingerprint: True)) == _told(fresh)
            whole = work.load(lambda name, fingerprint: False)
            assert resolve(whole.specs) == resolve(fresh.specs), "what is not enough is read"


N = "name: n\n" + HEAD + "pipeline_version: '1.0'\nparameters: {w: {config: {n: 1}}}\n"


@pytest.mark.parametrize(
    ("documents", "edit"),
    [
        ([DOCUMENTS[3]], ("data", "data.csv", "y")),
        ([DOCUMENTS[3]], ("data", "more/2.csv", "x")),
        ([DOCUMENTS[5]], ("vars", 2, None)),
        ([DOCUMENTS[6]], ("commit", "c2", None)),
        ([DOCUMENTS[7]], ("environ", (), None)),
        ([DOCUMENTS[8]], ("vars", 2, None)),
        ([DOCUMENTS[9], DOCUMENTS[10]], ("spec", "s0.yaml", [DOCUMENTS[9] + "pipeline_version: '2'\n"])),
        ([DOCUMENTS[9], DOCUMENTS[11]], ("remove", "s0.yaml", None)),
        ([DOCUMENTS[0]], ("policies", {"protect": True}, None)),
        ([DOCUMENTS[0]], ("spec", "s1.yaml", [DOCUMENTS[0]])),
        ([DOCUMENTS[0]], ("spec", "s1.yaml", [DOCUMENTS[12]])),
        ([N], ("snapshot", "string", None)),
        ([N], ("snapshot", "broken", None)),
        ([DOCUMENTS[2]], ("snapshot", None, None)),
    ],
)
def test_whatever_a_spec_depends_on_makes_a_difference(
    tmp_path: Path, documents: Sequence[str], edit: tuple[str, Any, Any]
) -> None:
    work = Work(tmp_path)
    work.environ = ("KEY",)
    work.edit("snapshot", "integer", None)
    work.begin(documents)
    before = _view(work, remembering=True)
    assert _view(work, remembering=True) == before
    work.edit(*edit)
    after = _view(work, remembering=False)
    assert after != before
    assert _view(work, remembering=True) == after
    assert _view(work, remembering=True) == after


def _view(work: Work, *, remembering: bool) -> Any:
    loaded = work.load((lambda name, fingerprint: True) if remembering else None)
    return _told(loaded), open_versions(loaded.specs)


def _state(work: Work, recorded: Sequence[str], desired: dict[str, DesiredJob]) -> None:
    jobs = {}
    for name in sorted({*desired, "gone"}):
        job = desired.get(name)
        if name not in recorded and name != "gone":
            continue
        jobs[name] = RecordedJob(
            job_id=f"job_{name}",
            fingerprint=job.fingerprint if job else "sha256:" + "0" * 64,
            request=job.request if job else {"pipeline_key": "k"},
            spec_path="specs/old.yaml",
            status="COMPLETED",
            attempts=1,
        )
    state = State(lineage="l", serial=1, endpoint="https://e/v0.5", jobs=jobs)
    (work.root / "state.json").write_bytes(dumps(state))


def _plan(work: Work, options: PlanOptions, *, remembering: bool) -> Any:
    where = Settings(
        root=work.root,
        state=work.root / "state.json",
        endpoint="https://e/v0.5",
        vars=work.vars,
        policies=work.policies,
        environ=dict.fromkeys(work.environ, "value"),
        cache=work.cache if remembering else None,
    )
    request = PlanRequest(paths=(work.root / "specs",), options=options, refresh=False, allow_empty=True)
    try:
        made, warnings = plan(where, request, _not_asked)
    except SpecError as error:
        return error.diagnostics
    return json.dumps(plan_json(made)), plan_text(made), warnings


def _not_asked(asking: Any) -> Plan:
    asking.close()
    raise AssertionError("a plan that asks nothing needs no event loop")


@settings(max_examples=40)
@given(st.data())
def test_a_plan_is_the_same_byte_for_byte(data: st.DataObject) -> None:
    with _work() as work:
        work.begin(data.draw(STARTS))
        desired, _ = resolve(work.load(None).specs)
        names = sorted(desired)
        chosen = st.lists(st.sampled_from(names), unique=True) if names else st.just([])
        _state(work, data.draw(chosen), desired)
        for edit in [None, *data.draw(st.lists(EDITS, max_size=4))]:
            if edit is not None:
                work.edit(*edit)
            now, _ = resolve(work.load(None).specs)
            again = data.draw(st.lists(st.sampled_from(sorted(now)), unique=True, max_size=2)) if now else []
            options = PlanOptions(replace=frozenset(again), prune=data.draw(st.booleans()))
            fresh = _plan(work, options, remembering=False)
            assert _plan(work, options, remembering=True) == fresh
            assert _plan(work, options, remembering=True) == fresh


@pytest.fixture
def known(tmp_path: Path) -> Work:
    """A working directory with two specs that are recorded, and remembered."""
    work = Work(tmp_path)
    work.edit("spec", "a.yaml", [N.replace("name: n", "name: plain")])
    work.edit("spec", "b.yaml", [DOCUMENTS[2]])
    work.edit("data", "data.csv", "x")
    desired, _ = resolve(work.load(None).specs)
    _state(work, list(desired), desired)
    _plan(work, PlanOptions(), remembering=True)
    return work


def _is_remembered(work: Work) -> bool:
    parsed = []

    def noticed(text: str, path: str) -> Any:
        parsed.append(path)
        return parse(text, path)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(specfile, "parse", noticed)
        work.load(lambda name, fingerprint: True)
    return not parsed


def test_what_is_submitted_is_read_from_its_spec(known: Work) -> None:
    assert _is_remembered(known)
    text, _, _ = _plan(known, PlanOptions(replace=frozenset({"plain"})), remembering=True)
    (action,) = [a for a in json.loads(text)["actions"] if a["action"] == "replace"]
    assert action["request"]["parameters"] == {"w": {"config": {"n": 1}}}


def test_nothing_of_a_request_is_written_down(tmp_path: Path) -> None:
    work = Work(tmp_path)
    secret = "name: a\n" + HEAD + "parameters: {w: {config: {key: TOPSECRET}}}\n"
    work.edit("spec", "a.yaml", [secret])
    work.load(lambda name, fingerprint: True)
    files = list(work.cache.iterdir())
    assert files
    assert not any(b"TOPSECRET" in path.read_bytes() for path in files)
    assert all(path.stat().st_mode & 0o077 == 0 for path in [work.cache, *files])


@pytest.mark.parametrize("harm", ["cut", "flip", "empty", "other", "hostile", "link", "folder", "writable"])
def test_a_damaged_or_foreign_file_is_taken_for_none(known: Work, harm: str) -> None:
    (path,) = known.cache.glob("*.specs")
    data = path.read_bytes()
    match harm:
        case "cut":
            path.write_bytes(data[:-7])
        case "flip":
            path.write_bytes(data[:-7] + bytes([data[-7] ^ 1]) + data[-6:])
        case "empty":
            path.write_bytes(b"")
        case "other":
            path.write_bytes(b"reconciler specs 0\n" + data[19:])
        case "hostile":
            path.write_bytes(data[: 19 + 32] + b"\x91" * 100_000)
        case "link":
            path.rename(known.root / "elsewhere")
            path.symlink_to(known.root / "elsewhere")
        case "folder":
            path.unlink()
            path.mkdir()
        case "writable":
            path.chmod(0o666)
    assert not _is_remembered(known)
    assert _plan(known, PlanOptions(), remembering=True) == _plan(known, PlanOptions(), remembering=False)


def test_a_folder_that_others_can_write_is_not_used(known: Work) -> None:
    known.cache.chmod(0o777)
    assert not _is_remembered(known)
    assert not _is_remembered(known)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_no_fault(known: Work) -> None:
    known.edit("spec", "a.yaml", [DOCUMENTS[1]])
    known.cache.chmod(0o500)
    assert _plan(known, PlanOptions(), remembering=True) == _plan(known, PlanOptions(), remembering=False)


def test_what_is_remembered_can_be_deleted(known: Work) -> None:
    for path in known.cache.iterdir():
        path.unlink()
    assert _plan(known, PlanOptions(), remembering=True) == _plan(known, PlanOptions(), remembering=False)
    assert _is_remembered(known)


def test_one_new_spec_has_not_all_written_anew(tmp_path: Path) -> None:
    work = Work(tmp_path)
    for number in range(20):
        work.edit("spec", f"s{number}.yaml", [f"name: n{number}\n{HEAD}"])
    work.load(lambda name, fingerprint: True)
    (most,) = work.cache.iterdir()
    before = most.read_bytes()
    for number in range(2):
        work.edit("spec", f"s{number}.yaml", [f"name: n{number}\n{HEAD}pipeline_version: '2'\n"])
        assert _told(work.load(lambda name, fingerprint: True)) == _told(work.load(None))
        assert most.read_bytes() == before
        assert _is_remembered(work)
    work.edit("spec", "s3.yaml", ["name: n3\n" + HEAD + "pipeline_version: '2'\n"])
    assert _told(work.load(lambda name, fingerprint: True)) == _told(work.load(None))
    assert most.read_bytes() != before
    assert _is_remembered(work)


@pytest.mark.slow
def test_it_does_not_grow_without_end(tmp_path: Path) -> None:
    work = Work(tmp_path)
    for number in range(130):
        work.vars = {"n": number}
        work.edit("spec", "a.yaml", [DOCUMENTS[0]])
        work.load(lambda name, fingerprint: True)
    assert len(list(work.cache.iterdir())) <= 101
    work.vars = {}
    for number in range(3000):
        (work.root / "specs" / "a.yaml").write_text(f"name: a\n{HEAD}# {number}\n")
        if number % 10 == 0:
            work.load(lambda name, fingerprint: True)
    newest = max(work.cache.glob("*.specs"), key=lambda path: path.stat().st_mtime_ns)
    assert newest.stat().st_size < 1_000_000


def test_a_broken_state_is_refused_although_a_whole_one_is_known(known: Work) -> None:
    path = known.root / "state.json"
    whole = path.read_bytes()
    path.write_bytes(whole.replace(b'"serial": 1', b'"serial": 1, "serial": 2'))
    for _ in range(2):
        with pytest.raises(StateError, match="twice"):
            _plan(known, PlanOptions(), remembering=True)
    path.write_bytes(whole)
    assert "up to date" in _plan(known, PlanOptions(), remembering=True)[1]


def test_broken_specs_are_told_before_a_broken_state(known: Work) -> None:
    (known.root / "state.json").write_text("{")
    known.edit("spec", "a.yaml", ["a: ["])
    (diagnostic,) = _plan(known, PlanOptions(), remembering=True)
    assert diagnostic.code == "yaml-syntax"


def test_other_commands_take_nothing_from_earlier_runs(known: Work) -> None:
    where = Settings(root=known.root, state=known.root / "state.json", endpoint="e", cache=known.cache)
    desired, _ = desired_jobs(where, PlanRequest(paths=(known.root / "specs",)))
    assert not any(job.partial for job in desired.values())
