"""A fault points at the very key or item that is wrong. `^ code` marks where it must, in the line above it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from reconciler.load import load
from reconciler.resolve import resolve

PIPELINE: dict[str, Any] = {
    "pipeline_key": "demo",
    "pipeline_version": "1.0.0",
    "inputs": {
        "data": {"mode": "plain_file_list", "required": True},
        "shots": {"mode": "n_shot_file_list", "required": False},
    },
    "components": ["worker"],
    "default_config": {"worker": {"config": {"model": "a"}}},
    "user_schema": {
        "type": "object",
        "additionalProperties": False,
        "properties": {
            "model": {"enum": ["a", "b"]},
            "columns": {"type": "array", "items": {"type": "string"}, "uniqueItems": True},
            "reader": {
                "type": "object",
                "additionalProperties": False,
                "required": ["size"],
                "properties": {"size": {"type": "integer", "maximum": 9}, "steps": {"type": "array"}},
                "propertyNames": {"maxLength": 8},
            },
        },
    },
}
HEAD = "name: a\npipeline_type: batch\npipeline_key: demo\n"
DATA = "inputs: {data: [{file_id: x}]}\n"
MARK = re.compile(r"( *)\^ ([a-z0-9-]+)$")


def at(piece: str, code: str, line: str) -> str:
    """`line`, and a mark under the place where `piece` begins."""
    return f"{line}\n{' ' * line.index(piece)}^ {code}\n"


CASES = {
    "a key at the top": HEAD + DATA + at("modle", "unknown-field", "modle: x"),
    "a value at the top": "name: a\npipeline_key: demo\n" + at("bacth", "not-allowed", "pipeline_type: bacth") + DATA,
    "an empty value": "name:\n     ^ wrong-type\npipeline_type: batch\npipeline_key: demo\n" + DATA,
    "a number for a name": at("5", "wrong-type", "name: 5") + HEAD[8:] + DATA,
    "inputs that are a list": HEAD + "inputs:\n" + at("-", "wrong-type", "  - file_id: x"),
    "a port that is no list": HEAD + "inputs:\n" + at("x", "wrong-type", "  data: x"),
    "an item that is no mapping": HEAD + "inputs:\n  data:\n    - file_id: x\n" + at("y", "wrong-type", "    - y"),
    "the second item": HEAD + "inputs:\n  data:\n    - file_id: x\n" + at("5", "wrong-type", "    - file_id: 5"),
    "a key of an item": HEAD + "inputs:\n  data:\n    - file_id: x\n" + at("label", "unknown-field", "      label: 1"),
    "an item without a source": HEAD
    + "inputs:\n  data:\n    - file_id: x\n"
    + at("metadata", "missing-field", "    - metadata: {}"),
    "an item with two": HEAD
    + "inputs:\n  data:\n"
    + at("{", "conflicting-fields", "    - {file_id: x, checkpoint_id: y}"),
    "a local file": HEAD
    + "inputs:\n  data:\n    - file_id: x\n"
    + at("nowhere", "no-such-file", "    - path: nowhere.csv"),
    "a port": HEAD + at("dta", "unknown-port", "inputs: {data: [{file_id: x}], dta: []}"),
    "a port without files": HEAD + "inputs:\n  shots: []\n" + at("data", "missing-port", "  data: []"),
    "a port that is not there": HEAD + at("inputs", "missing-port", "inputs:") + "  shots: []",
    "a label": HEAD
    + DATA[:-2]
    + "\n"
    + at("{file_id: w", "missing-class", " , shots: [{file_id: y, metadata: {class: z}}, {file_id: w}]}"),
    "a label of the wrong kind": HEAD
    + "inputs:\n  data: [{file_id: x}]\n  shots:\n  - file_id: w\n"
    + at("5", "missing-class", "    metadata: {class: 5}"),
    "a component": HEAD + DATA + "parameters:\n" + at("wroker", "unknown-component", "  wroker: {}"),
    "a field of a component": HEAD + DATA + "parameters:\n  worker:\n" + at("confg", "unknown-field", "    confg: {}"),
    "parallelism": HEAD + DATA + at("0", "out-of-range", "parameters: {worker: {parallelism: 0}}"),
    "a key of a config": HEAD
    + DATA
    + "parameters:\n  worker:\n    config:\n"
    + at("modle", "unknown-field", "      modle: a")
    + at("c", "not-allowed", "      model: c"),
    "deep in a config": HEAD
    + DATA
    + at("10", "out-of-range", "parameters: {worker: {config: {reader: {size: 10,")
    + at("sise", "unknown-field", " sise: 1}}}}"),
    "a mapping without its field": HEAD
    + DATA
    + at("{steps", "missing-field", "parameters: {worker: {config: {reader: {steps: []}}}}"),
    "a name that is not allowed": HEAD
    + DATA
    + "parameters:\n  worker:\n    config:\n      reader:\n        size: 1\n"
    + at("much", "invalid-value", "        much_too_long: 1")
    + "        ^ unknown-field\n",
    "items of a list in a config": HEAD
    + DATA
    + "parameters:\n  worker:\n    config:\n      columns:\n        - a\n"
    + at("5", "wrong-type", "        - 5")
    + at("a", "invalid-value", "        - a"),
    "a retry": HEAD + DATA + "reconcile:\n  retry:\n" + at("101", "out-of-range", "    attempts: 101"),
    "a key written twice": HEAD + DATA + "parameters:\n  worker: {}\n" + at("worker", "duplicate-key", "  worker: {}"),
    "a tag": HEAD + DATA + "parameters:\n" + at("!!", "yaml-tag", "  worker: !!map {}"),
    "a doubtful word": HEAD + at("no}", "ambiguous-scalar", "inputs: {data: [{file_id: x, metadata: {a: no}}]}"),
    "a merge key": HEAD + DATA + "parameters:\n" + at("<<", "yaml-merge-key", "  <<: {}"),
    "the second document": HEAD
    + DATA
    + "---\nname: b\npipeline_type: batch\npipeline_key: demo\ninputs:\n  data:\n"
    + at("file", "unknown-field", "    - file: x"),
    "a name that is taken": HEAD + DATA + "--- # again\nname: a\n      ^ duplicate-name\n" + HEAD[8:] + DATA,
    "text behind an alias, at its anchor": HEAD
    + "inputs:\n  data: &files\n    - file_id: x\n"
    + at("file", "unknown-field", "    - file: y")
    + "      ^ unknown-field\n  extra: *files\n  ^ unknown-port\n",
    "an alias that is wrong itself": HEAD
    + "inputs: {data: [{file_id: &five five}]}\nparameters:\n  worker:\n"
    + at("*", "wrong-type", "    parallelism: *five"),
    "what an aliased mapping lacks, at the alias": HEAD
    + "inputs: {data: [{file_id: x, metadata: &m {steps: []}}]}\nparameters:\n  worker:\n    config:\n"
    + at("*", "missing-field", "      reader: *m"),
    "after letters beyond ASCII": HEAD
    + at("x: 1", "unknown-field", "inputs: {data: [{file_id: é, metadata: {ü: 日本, 😀: é}, x: 1}]}"),
    "after a quoted key": HEAD + DATA + at('"2"', "wrong-type", '"par\\u0061meters": {"worker": {"parallelism": "2"}}'),
    "below a block scalar": HEAD
    + "inputs:\n  data:\n  - file_id: |\n      x\n"
    + at("chekpoint", "not-allowed", "    kind: chekpoint"),
    "a question-mark key": HEAD
    + DATA
    + "parameters:\n  ? worker\n"
    + at("many", "wrong-type", "  : parallelism: many"),
}
IN_JSON = {
    "nested, on lines": '{"name": "a", "pipeline_type": "batch", "pipeline_key": "demo",\n'
    ' "inputs": {\n  "data": [\n   {"file_id": "x"},\n' + at('"file"', "unknown-field", '   {"file": "y"}') + "  ]}}",
    "in one line": at(
        "5",
        "wrong-type",
        '{"name": "a", "pipeline_type": "batch", "pipeline_key": "demo", "inputs": {"data": [{"file_id": 5}]}}',
    ),
    "after an escaped pair": at(
        '"bach"', "not-allowed", '{"name": "\\ud83d\\ude00 \\ud83d\\ude01", "pipeline_type": "bach",'
    )
    + '"pipeline_key": "demo", "inputs": {"data": [{"file_id": "x"}]}}',
    "after what YAML refuses": '{"name": "a", "pipeline_key": "demo",\n'
    + at('"bach"', "not-allowed", '"inputs": {"data": [{"file_id": "\x7f\ufeff"}]}, "pipeline_type": "bach"}'),
    "broken after an escaped pair": at('"batch"', "yaml-syntax", '{"name": "\\ud83d\\ude00", "pipeline_type" "batch"}'),
}


def split(marked: str) -> tuple[str, list[tuple[int, int, str]]]:
    lines: list[str] = []
    marks: list[tuple[int, int, str]] = []
    for line in marked.split("\n"):
        if match := MARK.fullmatch(line):
            marks.append((len(lines), len(match[1]) + 1, match[2]))
        else:
            lines.append(line)
    return "\n".join(lines) + "\n", sorted(marks)


def found(folder: Path, name: str, text: str) -> list[tuple[int, int, str]]:
    (folder / "pipelines").mkdir()
    (folder / "pipelines" / "demo.json").write_text(json.dumps(PIPELINE))
    (folder / name).write_bytes(text.encode())
    loaded = load([folder / name], root=folder, pipelines=folder / "pipelines")
    _, clashes = resolve(loaded.specs)
    places = [(d.location, d.code) for d in (*loaded.diagnostics, *clashes)]
    return sorted((where.line, where.column, code) for where, code in places if where)


@pytest.mark.parametrize("marked", CASES.values(), ids=list(CASES))
@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"], ids=["LF", "CRLF", "CR"])
def test_a_fault_points_at_what_is_wrong(tmp_path: Path, marked: str, ending: str) -> None:
    text, marks = split(marked)
    assert marks
    assert found(tmp_path, "a.yaml", text.replace("\n", ending)) == marks


@pytest.mark.parametrize("marked", IN_JSON.values(), ids=list(IN_JSON))
def test_a_fault_in_json_points_at_what_is_wrong(tmp_path: Path, marked: str) -> None:
    text, marks = split(marked)
    assert marks
    assert found(tmp_path, "a.json", text) == marks


def test_bytes_that_are_no_text_are_located_whatever_ends_the_lines(tmp_path: Path) -> None:
    for number, ending in enumerate((b"\n", b"\r\n", b"\r")):
        path = tmp_path / f"{number}.yaml"
        path.write_bytes(ending.join([b"a: 1", b"b: \xff"]))
        (fault,) = load([path], root=tmp_path).diagnostics
        assert (str(fault.location), fault.code) == (f"{number}.yaml:2:4", "not-utf8")
