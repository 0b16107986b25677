"""A fingerprint follows what the platform would see, and nothing else: it decides whether money is spent again."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable
from itertools import combinations
from pathlib import Path
from typing import Any

import rfc8785
from hypothesis import given
from hypothesis import strategies as st

from reconciler.errors import Location
from reconciler.load import load
from reconciler.resolve import WrittenSpec, read, resolve
from reconciler.spec import JobSpec
from reconciler.yaml12 import parse

PRINTABLE = st.characters(codec="utf-8", exclude_categories=["C", "Zl", "Zp"])
WORDS = st.sampled_from(["alpha", "no", "12", "1.0", "null", "2026-01-01", "# not a comment", "it's", "a: b", " x "])
TEXTS = WORDS | st.text(PRINTABLE, max_size=8)
SCALARS = st.none() | st.booleans() | st.integers(-1000, 1000) | st.floats(-1e30, 1e30, allow_nan=False) | TEXTS
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
INPUTS = st.fixed_dictionaries(
    {"file_id": st.text(PRINTABLE, min_size=1, max_size=8)},
    optional={"metadata": st.dictionaries(TEXTS, VALUES, max_size=2)},
)
COMPONENTS = st.fixed_dictionaries(
    {}, optional={"parallelism": st.integers(1, 9), "config": st.dictionaries(TEXTS, VALUES, max_size=3)}
)
SPECS = st.fixed_dictionaries(
    {"name": st.just("a"), "pipeline_type": st.just("batch"), "pipeline_key": st.just("demo")},
    optional={
        "pipeline_version": st.sampled_from(["1.0.0", "2"]),
        "inputs": st.dictionaries(TEXTS, st.lists(INPUTS, max_size=3), max_size=2),
        "parameters": st.dictionaries(TEXTS, COMPONENTS, max_size=2),
        "reconcile": st.just({"on_change": "keep"}),
    },
)


def fingerprint_of(value: Any) -> str:
    jobs, faults = resolve([read(WrittenSpec(JobSpec.model_validate(value), value, Location("a.yaml", 1, 1), {}))])
    assert not faults
    (job,) = jobs.values()
    return job.fingerprint


class Scribe:
    """Writes one value as YAML in any of the ways that people may choose."""

    def __init__(self, choose: Callable[[list[Any]], Any]) -> None:
        self._choose = choose
        self._anchors: dict[bytes, str] = {}

    def document(self, value: Any) -> str:
        start = self._choose(["", "---\n", "# first a comment\n\n--- # and one more\n"])
        text = f"{start}{self._block(value, '')}\n"
        return text.replace("\n", "\r\n") if self._choose([False, True]) else text

    def _block(self, value: Any, pad: str) -> str:
        if not isinstance(value, dict | list) or not value or self._choose([False, False, True]):
            return f"{pad}{self._flow(value)}{self._choose(['', ' # a comment'])}"
        lines = [pad + "# a comment"] if self._choose([False, True]) else []
        if isinstance(value, list):
            lines += [f"{pad}-{self._below(item, pad)}" for item in value]
        else:
            lines += [f"{pad}{self._text(key)}:{self._below(value[key], pad)}" for key in self._shuffled(value)]
        return "\n".join(lines)

    def _below(self, value: Any, pad: str) -> str:
        if not isinstance(value, dict | list) or not value:
            return " " + self._flow(value)
        known = rfc8785.dumps(value)
        if known in self._anchors and self._choose([True, False]):
            return f" *{self._anchors[known]}"
        body = self._block(value, pad + self._choose([" ", "   "]))
        if known in self._anchors:
            return "\n" + body
        self._anchors[known] = f"a{len(self._anchors)}"
        return f" &{self._anchors[known]}\n{body}"

    def _flow(self, value: Any) -> str:
        gap = self._choose(["", " "])
        if isinstance(value, list):
            return f"[{gap}" + f",{gap}".join(self._flow(item) for item in value) + f"{gap}]"
        if isinstance(value, dict):
            pairs = [f"{self._text(key)} : {self._flow(value[key])}" for key in self._shuffled(value)]
            return f"{{{gap}" + f" ,{gap}".join(pairs) + f"{gap}}}"
        if isinstance(value, str):
            return self._text(value)
        if value is None:
            return str(self._choose(["null", "~", "Null"]))
        if isinstance(value, int) and not isinstance(value, bool):
            return str(self._choose([str(value), f"{value}.0", f"{value}e0"]))
        return json.dumps(value)

    def _text(self, text: str) -> str:
        ways = [json.dumps(text, ensure_ascii=False), "'" + text.replace("'", "''") + "'"]
        if re.fullmatch("[a-z]{3,}_?[a-z]*", text) and text not in ("null", "true", "false", "yes", "off"):
            ways.append(text)
        return str(self._choose(ways))

    def _shuffled(self, value: dict[str, Any]) -> list[str]:
        keys = list(value)
        return [keys.pop(self._choose(list(range(len(keys))))) for _ in range(len(keys))]


@given(SPECS, st.data())
def test_the_way_a_spec_is_written_does_not_count(spec: dict[str, Any], data: st.DataObject) -> None:
    text = Scribe(lambda options: data.draw(st.sampled_from(options))).document(spec)
    (document,), diagnostics = parse(text, "a.yaml")
    assert [d for d in diagnostics if d.severity == "error"] == []
    assert fingerprint_of(document.value) == fingerprint_of(spec)


@given(SPECS, st.booleans(), st.sampled_from([None, 2, "\t"]))
def test_json_and_yaml_are_the_same(spec: dict[str, Any], ascii_only: bool, indent: int | str | None) -> None:
    (document,), _ = parse(json.dumps(spec, ensure_ascii=ascii_only, indent=indent), "a.json")
    assert fingerprint_of(document.value) == fingerprint_of(spec)


@given(SPECS)
def test_name_and_policies_do_not_count(spec: dict[str, Any]) -> None:
    other = {**spec, "name": "another", "reconcile": {"retry": {"attempts": 5}, "on_change": "cancel"}}
    assert fingerprint_of(other) == fingerprint_of(spec)


@given(SPECS, st.sampled_from(["inputs", "parameters"]))
def test_null_absent_and_empty_are_the_same(spec: dict[str, Any], section: str) -> None:
    absent = {k: v for k, v in spec.items() if k != section}
    assert fingerprint_of(absent) == fingerprint_of({**spec, section: None}) == fingerprint_of({**spec, section: {}})


def places(value: Any) -> list[tuple[Any, Any]]:
    """Every (container, key) within `value`."""
    if not isinstance(value, dict | list):
        return []
    keys = list(value) if isinstance(value, dict) else list(range(len(value)))
    return [(value, key) for key in keys] + [place for key in keys for place in places(value[key])]


def with_free_parts(spec: dict[str, Any]) -> dict[str, Any]:
    """A copy that has something to change: metadata and a config."""
    spec = copy.deepcopy(spec)
    spec.setdefault("inputs", {}).setdefault("port", []).append({"file_id": "x", "metadata": {"class": "c"}})
    spec.setdefault("parameters", {}).setdefault("worker", {}).setdefault("config", {})["list"] = [1, 2]
    return spec


@given(SPECS, st.data())
def test_any_change_that_the_platform_would_see_counts(spec: dict[str, Any], data: st.DataObject) -> None:
    spec = with_free_parts(spec)
    before = fingerprint_of(spec)
    free = [item["metadata"] for items in spec["inputs"].values() for item in items if "metadata" in item]
    free += [component["config"] for component in spec["parameters"].values() if "config" in component]
    container, key = data.draw(st.sampled_from([place for root in free for place in places(root)]))
    old = container[key]
    kind = data.draw(st.sampled_from(["replace", "remove", "add"]))
    if kind == "replace":
        container[key] = data.draw(VALUES.filter(lambda new: rfc8785.dumps(new) != rfc8785.dumps(old)))
    elif kind == "remove":
        del container[key]
    elif isinstance(container, list):
        container.insert(key, data.draw(VALUES))
    else:
        container[data.draw(TEXTS.filter(lambda new: new not in container))] = data.draw(VALUES)
    assert fingerprint_of(spec) != before


def test_each_field_counts_and_so_does_the_order_of_a_list() -> None:
    base: dict[str, Any] = {
        "name": "a",
        "pipeline_type": "batch",
        "pipeline_key": "demo",
        "pipeline_version": "1",
        "inputs": {"p": [{"file_id": "x"}, {"file_id": "y"}]},
        "parameters": {"w": {"parallelism": 1, "config": {"n": 1}}},
    }
    changes: list[dict[str, Any]] = [
        {},
        {"pipeline_type": "training"},
        {"pipeline_key": "other"},
        {"pipeline_version": "1.0"},
        {"pipeline_version": None},
        {"inputs": {"p": [{"file_id": "y"}, {"file_id": "x"}]}},
        {"inputs": {"q": [{"file_id": "x"}, {"file_id": "y"}]}},
        {"inputs": {"p": [{"file_id": "x"}, {"file_id": "y"}, {"file_id": "y"}]}},
        {"inputs": {"p": [{"file_id": "x"}, {"checkpoint_id": "y"}]}},
        {"inputs": {"p": [{"file_id": "x"}, {"file_id": "y", "metadata": {"class": "c"}}]}},
        {"parameters": {"w": {"parallelism": 2, "config": {"n": 1}}}},
        {"parameters": {"v": {"parallelism": 1, "config": {"n": 1}}}},
        {"parameters": {"w": {"parallelism": 1, "config": {"n": "1"}}}},
        {"parameters": {"w": {"parallelism": 1, "config": {"n": True}}}},
        {"parameters": {"w": {"parallelism": 1, "config": {"n": None}}}},
        {"parameters": {"w": {"parallelism": 1, "config": {"n": [1]}}}},
    ]
    prints = [fingerprint_of({**base, **each}) for each in changes]
    assert all(one != two for one, two in combinations(prints, 2))


def test_the_layout_of_files_does_not_count(tmp_path: Path) -> None:
    texts = [
        f"name: job-{n}\npipeline_type: batch\npipeline_key: demo\nparameters: {{w: {{parallelism: {n}}}}}\n"
        for n in (1, 2)
    ]
    together, apart = tmp_path / "together", tmp_path / "apart"
    (apart / "deep").mkdir(parents=True)
    together.mkdir()
    (together / "all.yaml").write_text("---\n".join(reversed(texts)))
    (apart / "one.yml").write_bytes(b"\xef\xbb\xbf" + texts[0].replace("\n", "\r\n").encode())
    (apart / "deep" / "two.json").write_text(json.dumps(parse(texts[1], "a.yaml")[0][0].value))
    prints = []
    for folder in (together, apart):
        jobs, faults = resolve(load([folder], root=tmp_path).specs)
        assert not faults
        prints.append({name: job.fingerprint for name, job in sorted(jobs.items())})
    assert prints[0] == prints[1]
    assert len(set(prints[0].values())) == 2
