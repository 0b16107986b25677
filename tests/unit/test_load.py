"""Folders, files and what surrounds a spec: every fault is found in one run, and none is an exception."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from reconciler.load import Loaded, load
from reconciler.resolve import resolve

SPEC = "name: {name}\npipeline_type: batch\npipeline_key: demo\n"
SNAPSHOT: dict[str, Any] = {
    "pipeline_key": "demo",
    "pipeline_version": "1.0.0",
    "inputs": {
        "data": {"mode": "plain_file_list", "required": True, "description": "The data."},
        "shots": {"mode": "n_shot_file_list", "required": False},
        "tuned": {"mode": "checkpoint"},
        "odd": {"mode": "something_new"},
    },
    "parallelism": {"worker": {"minimum": 1, "maximum": 8}},
    "components": ["worker"],
    "default_config": {"worker": {"parallelism": 1, "config": {"model": "a", "reader": {"column": "time"}}}},
    "user_schema": {
        "type": "object",
        "additionalProperties": False,
        "required": ["model", "reader"],
        "properties": {
            "model": {"enum": ["a", "b"]},
            "reader": {
                "type": "object",
                "required": ["column", "size"],
                "properties": {"column": {"type": "string"}, "size": {"type": "integer"}},
            },
        },
    },
}
GOOD = SPEC.format(name="a") + "inputs: {data: [{file_id: x}]}\nparameters: {worker: {config: {reader: {size: 1}}}}\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "specs").mkdir()
    return tmp_path / "specs"


def read(folder: Path, *paths: str) -> Loaded:
    return load([Path(p) for p in paths or ("specs",)], root=folder.parent, pipelines=Path("pipelines"))


def told(loaded: Loaded) -> list[tuple[str, str]]:
    return [(str(d.location), d.code) for d in loaded.diagnostics]


def names(loaded: Loaded) -> list[str]:
    return [spec.job.name for spec in loaded.specs]


def snapshot(folder: Path, content: Any = None, name: str = "demo.json", **changes: Any) -> None:
    (folder.parent / "pipelines").mkdir(exist_ok=True)
    text = content if isinstance(content, str) else json.dumps({**SNAPSHOT, **changes} if content is None else content)
    (folder.parent / "pipelines" / name).write_text(text)


def moves(folder: Path, text: str) -> list[str]:
    """The faults of `moved_from` in a file of the specs, as `validate` has them."""
    (folder / "a.yaml").write_text(text)
    _, diagnostics = resolve(read(folder).specs)
    return [f"{d.location} {d.severity} {d.code}: {d.summary}" for d in diagnostics]


MOVED = SPEC + "reconcile: {{moved_from: {old}}}\n"


def test_a_record_goes_on_under_one_name_only(folder: Path) -> None:
    one, two = MOVED.format(name="one", old="u"), MOVED.format(name="two", old="u")
    assert moves(folder, f"{one}---\n{two}") == [
        "specs/a.yaml:9:25 error duplicate-move: moved_from: 'u' stands at specs/a.yaml:4:25 too"
    ]
    cells = SPEC.format(name="a-${{ matrix.k }}") + "reconcile: {moved_from: u, matrix: {k: [1, 2, 3]}}\n"
    assert moves(folder, cells) == [
        "specs/a.yaml:4:25 error duplicate-move: moved_from: 'u' is the same for jobs of the matrix"
    ]
    each = SPEC.format(name="a-${{ matrix.k }}")
    each += 'reconcile: {moved_from: "b-${{ matrix.k }}", matrix: {k: [1, 2, 3]}}\n'
    assert moves(folder, each) == []


def test_an_old_name_that_is_a_spec_is_pointed_out(folder: Path) -> None:
    """It is no error: when the rename is done, another job may have the old name."""
    new, old = MOVED.format(name="new", old="old"), SPEC.format(name="old")
    assert moves(folder, f"{new}---\n{old}") == [
        "specs/a.yaml:4:25 warning move-from-spec: moved_from: 'old' is the name of a spec that is there "
        "(specs/a.yaml:6:7), so its record stays with that"
    ]
    assert moves(folder, MOVED.format(name="new", old="new")) == [
        "specs/a.yaml:4:25 warning move-from-spec: moved_from: 'new' is its own name"
    ]


# -- which files ----------------------------------------------------------------------------------


def test_a_folder_is_walked_and_what_is_hidden_is_not(folder: Path) -> None:
    for name in (
        "b.yaml",
        "a.yml",
        "deep/er/c.json",
        ".hidden.yaml",
        "_part.yaml",
        ".git/d.yaml",
        "_old/e.yaml",
        "f.txt",
    ):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(SPEC.format(name=Path(name).stem))
    loaded = read(folder)
    assert names(loaded) == ["a", "b", "c"]
    assert told(loaded) == []
    assert [str(s.job.location) for s in loaded.specs][2] == "specs/deep/er/c.json:1:1"


def test_an_empty_folder_is_a_fault(folder: Path) -> None:
    (folder / "README.md").write_text("no spec")
    assert told(read(folder)) == [("specs", "no-specs")]


@pytest.mark.parametrize(
    ("path", "code"), [("nowhere", "no-such-path"), ("x" * 5000, "unreadable"), ("a\0b", "unreadable")]
)
def test_a_path_that_cannot_be(folder: Path, path: str, code: str) -> None:
    assert told(read(folder, path)) == [(path, code)]


def test_a_file_named_twice_is_read_once(folder: Path) -> None:
    (folder / "a.yaml").write_text(SPEC.format(name="a"))
    loaded = read(folder, "specs", "specs/a.yaml", "specs/../specs")
    assert names(loaded) == ["a"]
    assert told(loaded) == []


def test_the_order_is_that_of_the_names_whatever_the_disk_says(folder: Path) -> None:
    for name in "dbca":
        (folder / f"{name}.yaml").write_text(SPEC.format(name=name) + "nonsense: 1\n")
    assert [place for place, _ in told(read(folder))] == [f"specs/{n}.yaml:4:1" for n in "abcd"]


def test_a_file_name_that_is_no_text_can_still_be_shown(folder: Path) -> None:
    Path(os.fsdecode(os.fsencode(folder) + b"/\xff.yaml")).write_text("- no spec\n")
    ((place, code),) = told(read(folder))
    assert (place, code) == ("specs/\\xff.yaml:1:1", "not-a-spec")
    place.encode()


# -- links and odd files --------------------------------------------------------------------------


def test_links_out_of_the_folder_are_refused(folder: Path) -> None:
    (folder.parent / "secret.yaml").write_text(SPEC.format(name="secret"))
    (folder.parent / "other").mkdir()
    (folder / "file.yaml").symlink_to("../secret.yaml")
    (folder / "etc").symlink_to("../other")
    loaded = read(folder)
    assert names(loaded) == []
    assert {("specs/file.yaml", "link-outside"), ("specs/etc", "link-outside")} <= set(told(loaded))


def test_links_within_the_folder_are_followed_for_files_and_told_for_folders(folder: Path) -> None:
    (folder / "_parts").mkdir()
    (folder / "_parts" / "real.yaml").write_text(SPEC.format(name="a"))
    (folder / "link.yaml").symlink_to("_parts/real.yaml")
    (folder / "up").symlink_to(".")
    loaded = read(folder)
    assert names(loaded) == ["a"]
    assert [(str(d.location), d.code, d.severity) for d in loaded.diagnostics] == [
        ("specs/up", "linked-folder", "warning")
    ]


def test_what_is_no_readable_file_is_told_and_does_not_hang(folder: Path) -> None:
    os.mkfifo(folder / "pipe.yaml")
    (folder / "loop.yaml").symlink_to("loop.yaml")
    (folder / "gone.yaml").symlink_to("nowhere.yaml")
    (folder / "folder.yaml").mkdir()
    assert told(read(folder)) == [(f"specs/{n}.yaml", "unreadable") for n in ("gone", "loop", "pipe")]
    assert told(read(folder, "/dev/zero")) == [("/dev/zero", "unreadable")]


# -- text -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "place", "byte"),
    [
        (b"name: \xe4\n", "1:7", "0xe4"),
        ("# ü\nname: ü".encode() + b"\xff", "2:8", "0xff"),
        (b"\xef\xbb\xbfname: \xe4", "1:7", "0xe4"),
        ("name: a".encode("utf-16"), "1:1", "0xff"),
    ],
)
def test_text_that_is_not_utf8_is_located(folder: Path, data: bytes, place: str, byte: str) -> None:
    (folder / "a.yaml").write_bytes(data)
    (fault,) = read(folder).diagnostics
    assert (str(fault.location), fault.code) == (f"specs/a.yaml:{place}", "not-utf8")
    assert byte in fault.summary


def test_a_byte_order_mark_and_windows_line_ends_are_fine(folder: Path) -> None:
    (folder / "a.yaml").write_bytes(b"\xef\xbb\xbf" + SPEC.format(name="a").replace("\n", "\r\n").encode())
    loaded = read(folder)
    assert (names(loaded), told(loaded)) == (["a"], [])


def test_a_file_may_have_a_mebibyte_and_not_more(folder: Path) -> None:
    text = SPEC.format(name="a") + "#"
    (folder / "a.yaml").write_text(text + "x" * ((1 << 20) - len(text)))
    assert names(read(folder)) == ["a"]
    (folder / "a.yaml").write_text(text + "x" * (1 << 20))
    assert told(read(folder)) == [("specs/a.yaml", "too-large")]


def test_no_spec_of_a_broken_file_is_used(folder: Path) -> None:
    (folder / "a.yaml").write_text(SPEC.format(name="a") + "---\n" + SPEC.format(name="b") + "---\n{\n")
    loaded = read(folder)
    assert names(loaded) == []
    assert [code for _, code in told(loaded)] == ["yaml-syntax"]


def test_one_bad_file_hides_no_fault_of_another(folder: Path) -> None:
    (folder / "a.yaml").write_bytes(b"\xff")
    (folder / "b.yaml").write_text("[" * 1000)
    (folder / "c.yaml").write_text(SPEC.format(name="c") + "nonsense: 1\n")
    (folder / "d.yaml").write_text(SPEC.format(name="d"))
    loaded = read(folder)
    assert names(loaded) == ["d"]
    assert [code for _, code in told(loaded)] == ["not-utf8", "too-deep", "unknown-field"]


def test_a_name_taken_by_an_invalid_spec_of_another_file_is_told_in_the_same_run(folder: Path) -> None:
    (folder / "a.yaml").write_text(SPEC.format(name="same") + "nonsense: 1\n")
    (folder / "b.yaml").write_text("# here\n" + SPEC.format(name="same"))
    first, second = read(folder).diagnostics
    assert first.code == "unknown-field"
    assert (str(second.location), second.code) == ("specs/b.yaml:2:7", "duplicate-name")
    assert "specs/a.yaml:1:7" in second.summary


def test_a_line_break_at_the_end_of_a_name_is_seen(folder: Path) -> None:
    (folder / "a.yaml").write_text(SPEC.format(name='"a\\n"'))
    assert told(read(folder)) == [("specs/a.yaml:1:7", "invalid-value")]


# -- local files ----------------------------------------------------------------------------------


def with_paths(folder: Path, *paths: str) -> Loaded:
    items = "".join(f"    - path: {json.dumps(p)}\n" for p in paths)
    (folder / "a.yaml").write_text(SPEC.format(name="a") + "inputs:\n  data:\n" + items)
    return read(folder)


def test_a_local_file_becomes_an_upload_named_by_its_content(folder: Path) -> None:
    (folder / "my data.csv").write_text("a,b\n")
    (folder.parent / "copy.csv").write_text("a,b\n")
    loaded = with_paths(folder, "my data.csv", "./my data.csv", "../copy.csv", "my data.csv")
    assert told(loaded) == []
    uploads = loaded.specs[0].files
    assert uploads["my data.csv"] == uploads["./my data.csv"]
    (first,), (copy,) = uploads["my data.csv"], uploads["../copy.csv"]
    assert (first.path, first.num_bytes, first.media_type) == ("specs/my data.csv", 4, "text/csv")
    assert first.file_id == f"my_data.{first.digest.removeprefix('sha256:')[:16]}.csv"
    assert copy.digest == first.digest
    (folder / "my data.csv").write_text("a,c\n")
    assert with_paths(folder, "my data.csv").specs[0].files["my data.csv"][0].file_id != first.file_id


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("dtaa.csv", "no-such-file"),
        (".", "no-such-file"),
        ("loop", "no-such-file"),
        ("pipe", "no-such-file"),
        ("a\0b", "no-such-file"),
        ("a\0/b", "no-such-file"),
        ("x" * 5000, "no-such-file"),
        ("data.csv/x", "no-such-file"),
        ("/etc/hostname", "file-outside"),
        ("../../outside.csv", "file-outside"),
        ("link-out", "file-outside"),
        ("../.git/config", "hidden-file"),
        ("link-in", "hidden-file"),
    ],
)
def test_a_file_that_cannot_be_uploaded(folder: Path, path: str, code: str) -> None:
    (folder / "data.csv").write_text("x")
    (folder.parent.parent / "outside.csv").write_text("x")
    (folder.parent / ".git").mkdir()
    (folder.parent / ".git" / "config").write_text("token")
    (folder / "loop").symlink_to("loop")
    (folder / "link-out").symlink_to("/etc/hostname")
    (folder / "link-in").symlink_to("../.git/config")
    os.mkfifo(folder / "pipe")
    loaded = with_paths(folder, "data.csv", path)
    assert names(loaded) == []
    assert told(loaded) == [("specs/a.yaml:7:13", code)]
    if path == "dtaa.csv":
        assert loaded.diagnostics[0].hint == "did you mean 'data.csv'?"


@pytest.mark.parametrize(
    ("path", "summary", "hint"),
    [
        ("nord", "'nord' is a folder", "for the files in it write path: nord/*"),
        ("nord/", "'nord/' is a folder", "for the files in it write path: nord/*"),
        ("gone.csv", "'gone.csv' is a link to 'nowhere/x.csv', which is not there", "mend the link, or remove it"),
        ("gone*", "'specs/gone.csv', which 'gone*' matches, is a link to 'nowhere/x.csv', which is not there", "mend"),
    ],
)
def test_what_is_no_file_is_called_what_it_is(folder: Path, path: str, summary: str, hint: str) -> None:
    (folder / "nord").mkdir()
    (folder / "gone.csv").symlink_to("nowhere/x.csv")
    (fault,) = with_paths(folder, path).diagnostics
    assert fault.summary == summary
    assert (fault.hint or "").startswith(hint)


# -- pipeline snapshots ---------------------------------------------------------------------------


def test_a_spec_that_its_pipeline_takes_passes_with_the_defaults_below_it(folder: Path) -> None:
    snapshot(folder)
    (folder / "a.yaml").write_text(GOOD)
    assert told(read(folder)) == []


@pytest.mark.parametrize(
    ("body", "place", "code"),
    [
        ("inputs: {dat: []}\n", "4:10", "unknown-port"),
        ("inputs: {data: []}\n", "4:10", "missing-port"),
        ("pipeline_version: 1.0.0\n", "1:1", "missing-port"),
        ("inputs:\n  shots: [{file_id: x}]\n", "5:11", "missing-class"),
        ("inputs:\n  shots: [{file_id: x, metadata: {class: 5}}]\n", "5:42", "missing-class"),
        ('inputs:\n  shots: [{file_id: x, metadata: {class: ""}}]\n', "5:42", "missing-class"),
        ("inputs:\n  shots: [{file_id: x, metadata: {klass: a}}]\n", "5:35", "missing-class"),
        ("parameters:\n  wroker: {}\n", "5:3", "unknown-component"),
        ("parameters:\n  worker: {config: {modle: a}}\n", "5:21", "unknown-field"),
        ("parameters:\n  worker: {config: {model: c}}\n", "5:28", "not-allowed"),
        ("parameters:\n  worker: {config: {reader: {column: 1}}}\n", "5:38", "wrong-type"),
        ("parameters:\n  worker: {config: {reader: {column: x}}}\n", "5:29", "missing-field"),
        ("parameters: {worker: {parallelism: 2}}\n", "4:22", "missing-field"),
        ("parameters: {worker: {parallelism: 9}}\n", "4:36", "out-of-range"),
        ("inputs:\n  data: [{checkpoint_id: c}]\n", "5:11", "wrong-kind"),
        ("inputs:\n  data: [{from: {job: b, checkpoint: last}}]\n", "5:11", "wrong-kind"),
        ("inputs:\n  tuned: [{file_id: c}]\n", "5:12", "wrong-kind"),
        ("inputs:\n  tuned: [{path: c}]\n", "5:12", "wrong-kind"),
        ("inputs:\n  tuned: [{from: {job: b, port: c}}]\n", "5:12", "wrong-kind"),
    ],
)
def test_what_the_pipeline_would_refuse_is_told(folder: Path, body: str, place: str, code: str) -> None:
    snapshot(folder)
    (folder / "a.yaml").write_text(SPEC.format(name="a") + body)
    assert (f"specs/a.yaml:{place}", code) in told(read(folder))


@pytest.mark.parametrize(
    ("metadata", "summary", "hint"),
    [
        (
            "{class: 3}",
            "the class of a file on the n-shot port 'shots' must be text, not 3",
            'put it in quotes: {class: "3"}',
        ),
        ("{class: true}", "must be text, not true", 'put it in quotes: {class: "true"}'),
        ("{class: }", "a file on the n-shot port 'shots' needs its class", "write metadata: {class: NAME}"),
        ("{klass: idle}", "a file on the n-shot port 'shots' needs its class", "'klass': did you mean 'class'?"),
        ("{size: 3}", "a file on the n-shot port 'shots' needs its class", "write metadata: {class: NAME}"),
    ],
)
def test_what_is_wrong_about_the_class_of_an_example(folder: Path, metadata: str, summary: str, hint: str) -> None:
    snapshot(folder)
    shots = f"inputs:\n  data: [{{file_id: y}}]\n  shots: [{{file_id: x, metadata: {metadata}}}]\n"
    (folder / "a.yaml").write_text(SPEC.format(name="a") + shots)
    fault = next(d for d in read(folder).diagnostics if d.code == "missing-class")
    assert fault.summary.endswith(summary)
    assert fault.hint == hint


def test_what_ports_take_passes_and_of_modes_that_are_not_known_nothing_is_said(folder: Path) -> None:
    snapshot(folder)
    takes = "tuned: [{checkpoint_id: c}, {from: {job: b, checkpoint: last}}], odd: [{file_id: x}, {checkpoint_id: c}]"
    (folder / "a.yaml").write_text(GOOD.replace("inputs: {", f"inputs: {{{takes}, "))
    loaded = read(folder)
    assert told(loaded) == []
    ((taken,),) = (written.takes for written in loaded.specs)
    assert (taken.job, taken.port, str(taken.location)) == ("b", None, "specs/a.yaml:4:66")


def test_a_pipeline_of_another_type_is_told(folder: Path) -> None:
    snapshot(folder, pipeline_type="training")
    (folder / "a.yaml").write_text(GOOD)
    assert told(read(folder)) == [("specs/a.yaml:2:16", "not-allowed")]


def test_a_draft_that_is_here_is_nobodys_latest(folder: Path) -> None:
    snapshot(folder, pipeline_version="1.0.0")
    snapshot(folder, name="draft.json", pipeline_version="2.0.0", status="draft", user_schema={"not": {}})
    (folder / "a.yaml").write_text(GOOD)
    assert told(read(folder)) == []


def test_faults_of_files_pipeline_and_schema_are_told_together(folder: Path) -> None:
    snapshot(folder)
    (folder / "a.yaml").write_text(
        SPEC.format(name="5") + "inputs: {data: [{path: nope}], x: []}\nparameters: {y: {}}\nreconcile: {retry: 3}\n"
    )
    codes = sorted(code for _, code in told(read(folder)))
    assert codes == ["missing-field", "no-such-file", "unknown-component", "unknown-port", "wrong-type", "wrong-type"]


def test_a_misspelt_section_is_one_fault(folder: Path) -> None:
    snapshot(folder)
    (folder / "a.yaml").write_text(GOOD.replace("inputs", "input"))
    assert [code for _, code in told(read(folder))] == ["unknown-field"]


def test_a_pinned_version_is_checked_by_its_own_snapshot_and_another_by_the_newest(folder: Path) -> None:
    for version, model in (("9.0.0", "nine"), ("10.0.0", "ten"), ("10.0.0-rc1", "rc"), ("²", "odd")):
        schema = {"properties": {"model": {"const": model}}}
        snapshot(folder, name=f"{model}.json", pipeline_version=version, user_schema=schema)
    for version, model in (("9.0.0", "nine"), ("10.0.0-rc1", "rc"), ("null", "ten"), ("8.0.0", "unknown here")):
        text = SPEC.format(name="a") + f"inputs: {{data: [{{file_id: x}}]}}\npipeline_version: {version}\n"
        (folder / "a.yaml").write_text(text + f"parameters: {{worker: {{config: {{model: {model}}}}}}}\n")
        assert told(read(folder)) == []
    (folder / "a.yaml").write_text(GOOD)
    assert [code for _, code in told(read(folder))] == ["not-allowed"]


BROKEN: dict[str, Any] = {
    "not JSON": "{",
    "deep": "[" * 100_000,
    "5000 digits": "9" * 5000,
    "list": [],
    "without keys": {},
    "key is a list": {**SNAPSHOT, "pipeline_key": []},
    "version is a number": {**SNAPSHOT, "pipeline_version": 1},
    "inputs is a list": {**SNAPSHOT, "inputs": ["data"]},
    "port is null": {**SNAPSHOT, "inputs": {"data": None}},
    "components is a string": {**SNAPSHOT, "components": "worker"},
    "defaults are null": {**SNAPSHOT, "default_config": None},
    "config is a list": {**SNAPSHOT, "default_config": {"worker": {"config": [1]}}},
    "schema is null": {**SNAPSHOT, "user_schema": None},
    "schema is wrong": {**SNAPSHOT, "user_schema": {"type": "objct"}},
    "schema has a bad pattern": {**SNAPSHOT, "user_schema": {"properties": {"a": {"pattern": "("}}}},
}


@pytest.mark.parametrize("content", BROKEN.values(), ids=list(BROKEN))
def test_a_broken_snapshot_is_told_with_its_file(folder: Path, content: Any) -> None:
    snapshot(folder, content)
    (folder / "a.yaml").write_text(GOOD)
    ((place, code),) = told(read(folder))
    assert (place, code) == ("pipelines/demo.json", "bad-snapshot")


def test_snapshots_that_are_no_files_do_not_hang(folder: Path) -> None:
    snapshot(folder)
    os.mkfifo(folder.parent / "pipelines" / "pipe.json")
    (folder.parent / "pipelines" / "folder.json").mkdir()
    (folder / "a.yaml").write_text(GOOD)
    assert told(read(folder)) == [(f"pipelines/{n}.json", "bad-snapshot") for n in ("folder", "pipe")]


@pytest.mark.parametrize("ref", ["http://127.0.0.1:9/schema", "file:///etc/hostname", "#/$defs/missing", "#"])
def test_a_snapshot_cannot_make_validate_fetch_anything(folder: Path, ref: str) -> None:
    snapshot(folder, user_schema={"$ref": ref})
    (folder / "a.yaml").write_text(GOOD)
    assert [code for _, code in told(read(folder))] == ["bad-schema"]


JUNK: tuple[Any, ...] = (
    None,
    True,
    1,
    0.5,
    "",
    "x",
    [],
    {},
    [{}],
    [None],
    [["a"]],
    {"x": 1},
    {"file_id": "a"},
    {"path": 5},
    {"config": 1},
)


@pytest.mark.parametrize(
    "name", ["inputs", "parameters", "reconcile", "data", "worker", "config", "reader", "metadata"]
)
@pytest.mark.parametrize("junk", JUNK, ids=repr)
def test_nothing_that_stands_in_a_wrong_place_is_an_exception(folder: Path, name: str, junk: Any) -> None:
    """The pipeline is asked about what the spec's own schema finds faulty, as far as its shape is clear."""
    snapshot(folder)

    def put(value: Any) -> Any:
        if isinstance(value, list):
            return [put(item) for item in value]
        return {k: junk if k == name else put(v) for k, v in value.items()} if isinstance(value, dict) else value

    item = {"file_id": "x", "metadata": {"class": "a"}}
    worker = {"parallelism": "2", "config": {"reader": {"size": 1}}}
    whole = {"name": "a", "pipeline_type": "x", "pipeline_key": "demo", "inputs": {"data": [item], "shots": [item]}}
    spec = put({**whole, "parameters": {"worker": worker}, "reconcile": {"retry": {"attempts": 2}}})
    (folder / "a.json").write_text(json.dumps(spec))
    loaded = read(folder)
    assert names(loaded) == []
    assert "not-allowed" in [code for _, code in told(loaded)]


@pytest.mark.parametrize(
    "written", ["${{ vars.key }}", '"${{ vars.key }}"', '"\\x24{{ vars.key }}"', '"\\u0024\\\n  {{ vars.key }}"']
)
def test_an_expression_is_filled_in_however_it_is_written(folder: Path, written: str) -> None:
    (folder / "a.yaml").write_text(f"name: a\npipeline_type: batch\npipeline_key: {written}\n")
    (spec,) = load([Path("specs")], root=folder.parent, scopes={"vars": lambda: {"key": "filled"}}).specs
    assert spec.job.request["pipeline_key"] == "filled"
