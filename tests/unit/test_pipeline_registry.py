"""The registry's rows: which version is the latest, what is pulled, and what a snapshot holds."""

from __future__ import annotations

import random
from typing import Any

import pytest

from reconciler.errors import PlatformError
from reconciler.registry import Version, chosen, file_name, latest, snapshot, versions


def row(version: Any, key: Any = "k", status: Any = "published", **more: Any) -> dict[str, Any]:
    return {"pipeline_key": key, "pipeline_version": version, "status": status, **more}


def latest_of(*rows: dict[str, Any]) -> str | None:
    shuffled = list(rows)
    random.Random(1).shuffle(shuffled)
    found = latest(versions(shuffled), "k")
    return found.version if found else None


def test_numbers_count_as_numbers_and_only_what_is_published_is_the_latest() -> None:
    assert latest_of(row("1.9.0"), row("1.10.0"), row("2.0.0", status="draft"), row("3", status="deactivated")) == (
        "1.10.0"
    )
    assert latest_of(row("v1.2"), row("1.1.9")) == "v1.2"
    assert latest_of(row("9", key="other")) is None


def test_versions_that_are_not_all_numbers_go_by_when_they_were_made() -> None:
    rev5 = row("v1.1.1-409-e749ac0-rev5", created_at="2026-05-02T00:00:00Z")
    assert latest_of(rev5, row("1.1.1", created_at="2026-05-01T00:00:00.5Z")) == rev5["pipeline_version"]
    assert latest_of(rev5, row("1.1.1", created_at="2026-05-03T00:00:00Z")) == "1.1.1"
    assert latest_of(row("1.2-rc1"), row("1.2")) == "1.2"  # nothing tells when


def test_a_platform_that_tells_no_status_has_published_it() -> None:
    assert latest_of(row("1", status=None)) == "1"


def test_rows_that_name_no_version_are_passed_over() -> None:
    rows = [row(1), row(""), row("1", key=None), row("x" * 1000), {}, row("1"), row("1", status="draft")]
    assert [(v.key, v.version, v.status) for v in versions(rows)] == [("k", "1", "published")]


KNOWN = versions(
    [
        row("1"),
        row("2"),
        row("3", status="draft"),
        row("0", status="deactivated"),
        row("1", key="other"),
        row("5", key="k@9"),
    ]
)


@pytest.mark.parametrize(
    ("wanted", "drafts", "found"),
    [
        ([], False, ["k 1", "k 2", "k@9 5", "other 1"]),
        ([], True, ["k 1", "k 2", "k 3", "k@9 5", "other 1"]),
        (["k"], False, ["k 1", "k 2"]),
        (["k"], True, ["k 1", "k 2", "k 3"]),
        (["k@3", "k@0"], False, ["k 3", "k 0"]),
        (["k", "k@1"], False, ["k 1", "k 2"]),
        (["k@9"], False, ["k@9 5"]),
    ],
)
def test_what_is_named_is_pulled(wanted: list[str], drafts: bool, found: list[str]) -> None:
    assert [str(v) for v in chosen(KNOWN, wanted, drafts=drafts)] == found


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("kk", "no pipeline 'kk'"),
        ("k@7", "no pipeline version 'k@7'; its versions: 0 (deactivated), 1 (published), 2 (published), 3 (draft)"),
        ("othr", "did you mean 'other'?"),
    ],
)
def test_what_is_not_there_is_said_with_what_is(name: str, says: str) -> None:
    with pytest.raises(PlatformError) as caught:
        chosen(KNOWN, [name], drafts=False)
    assert says in f"{caught.value.message}; {caught.value.hint}"


def version(**more: Any) -> Version:
    return versions([row("1", inputs={"p": {}}, outputs={"o": {}}, components={"b": "x", "a": "y"}, **more)])[0]


def test_the_schema_wins_over_the_row_and_the_row_does_without_it() -> None:
    whole = snapshot(version(user_config_schema={"a": 1}), None)
    assert whole is not None
    assert (whole["components"], whole["inputs"], whole["user_schema"]) == (["a", "b"], {"p": {}}, {"a": 1})
    other = snapshot(version(), {"inputs": {"q": {}}, "user_schema": {"b": 2}})
    assert other is not None
    assert (other["inputs"], other["outputs"], other["user_schema"]) == ({"q": {}}, {"o": {}}, {"b": 2})


def test_without_ports_there_is_no_snapshot() -> None:
    assert snapshot(versions([row("1")])[0], {"user_schema": {}}) is None


@pytest.mark.parametrize(
    ("schema", "bounds"),
    [
        (
            {"properties": {"a": {"properties": {"parallelism": {"minimum": 1, "maximum": 4}}}}},
            {"a": {"minimum": 1, "maximum": 4}},
        ),
        ({"properties": {"parallelism": {"maximum": 4, "default": 1}}}, {"a": {"maximum": 4}, "b": {"maximum": 4}}),
        ({"properties": {"a": {"properties": {"parallelism": {"maximum": "4"}}}}}, {}),
        ({"properties": [1]}, {}),
        (None, {}),
    ],
)
def test_limits_of_the_parallelism_come_from_the_full_schema(schema: Any, bounds: Any) -> None:
    made = snapshot(version(), {"config_schema": schema})
    assert made is not None
    assert made["parallelism"] == bounds


def test_file_names_are_harmless_and_never_the_same_for_two() -> None:
    names = ["1", "../1", ".._1", "a/b", "a_b", "ä", "x" * 190]
    files = [file_name(Version("k", name, "published", {})) for name in names]
    assert files[0] == "k@1.json"
    assert len(set(files)) == len(files)
    assert all("/" not in name and len(name.encode()) < 220 for name in files)
