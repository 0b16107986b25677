"""`reconciler.yaml`: what it may say, and what its faults look like."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from reconciler.config import _said, config_above, read_config
from reconciler.errors import SpecError, UsageError


def faults(folder: Path, text: str) -> list[tuple[str, str]]:
    (folder / "reconciler.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(SpecError) as caught:
        read_config(folder)
    return [(str(d.location), d.code) for d in caught.value.diagnostics]


def test_without_the_file_nothing_is_set(tmp_path: Path) -> None:
    assert read_config(tmp_path) == {}


@pytest.mark.parametrize("text", ["", "# only a comment\n", "---\n", "endpoint:\n"])
def test_an_empty_file_sets_nothing(tmp_path: Path, text: str) -> None:
    (tmp_path / "reconciler.yaml").write_text(text)
    assert read_config(tmp_path) == {}


def test_settings_are_read(tmp_path: Path) -> None:
    (tmp_path / "reconciler.yaml").write_bytes(b"\xef\xbb\xbfendpoint: local\r\nparallelism: 4.0\r\nstate: ~\r\n")
    settings = read_config(tmp_path)
    assert settings == {"endpoint": "local", "parallelism": 4}
    assert isinstance(settings["parallelism"], int)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("endpiont: local\nparallelism: many\n", [("1:1", "unknown-field"), ("2:14", "wrong-type")]),
        ("parallelism: 0\n", [("1:14", "out-of-range")]),
        ("max_submissions: -1\nmax_cancellations: 0%\n", [("1:18", "out-of-range"), ("2:20", "invalid-value")]),
        ("max_submissions: true\nmax_cancellations: [1]\n", [("1:18", "wrong-type"), ("2:20", "wrong-type")]),
        ("max_submissions: 1.5\nmax_cancellations: many\n", [("1:18", "wrong-type"), ("2:20", "invalid-value")]),
        ("api_key: secret\n", [("1:1", "unknown-field")]),
        ("- endpoint\n", [("1:1", "wrong-type")]),
        ("endpoint: a\n---\nendpoint: b\n", [("3:1", "not-settings")]),
        ("endpoint: a\nendpoint: b\n", [("2:1", "duplicate-key")]),
        ("endpoint: [\n", [("2:1", "yaml-syntax")]),
    ],
)
def test_faults_are_located(tmp_path: Path, text: str, expected: list[tuple[str, str]]) -> None:
    assert faults(tmp_path, text) == [(f"reconciler.yaml:{place}", code) for place, code in expected]


@pytest.mark.parametrize(
    ("text", "limit"), [("50", 50), ("50.0", 50), ("'50'", "50"), ("20%", "20%"), ("none", "none"), ("0", 0)]
)
def test_limits_are_read(tmp_path: Path, text: str, limit: int | str) -> None:
    (tmp_path / "reconciler.yaml").write_text(f"max_submissions: {text}\n")
    assert read_config(tmp_path) == {"max_submissions": limit}


def test_a_limit_that_is_none_of_them_is_told_how_to_be_written(tmp_path: Path) -> None:
    (tmp_path / "reconciler.yaml").write_text("max_submissions: lots\n")
    with pytest.raises(SpecError) as caught:
        read_config(tmp_path)
    (fault,) = caught.value.diagnostics
    assert fault.summary == 'max_submissions cannot be "lots"'
    assert "for example 50, 20%, none" in (fault.hint or "")


def test_a_file_that_cannot_be_read_is_wrong_usage(tmp_path: Path) -> None:
    path = tmp_path / "reconciler.yaml"
    path.write_bytes(b"endpoint: \xff\n")
    with pytest.raises(UsageError, match="cannot be read"):
        read_config(tmp_path)
    path.unlink()
    path.mkdir()
    with pytest.raises(UsageError, match="cannot be read"):
        read_config(tmp_path)


ENVIRONMENTS = """
vars: {model: base, depth: {a: 1}}
endpoint: https://platform.example/v0.5
reconcile: {on_change: keep, retry: {attempts: 3}}
environments:
  prod:
    vars: {model: large}
    state: prod.json
    reconcile: {on_change: cancel}
  test:
    endpoint: local
"""


def settings(folder: Path, environment: str | None, text: str = ENVIRONMENTS) -> dict[str, Any]:
    (folder / "reconciler.yaml").write_text(text, encoding="utf-8")
    return read_config(folder, environment)


def test_an_environment_is_laid_over_the_rest(tmp_path: Path) -> None:
    prod = settings(tmp_path, "prod")
    assert prod["vars"] == {"model": "large", "depth": {"a": 1}}
    assert prod["reconcile"] == {"on_change": "cancel", "retry": {"attempts": 3}}
    assert (prod["endpoint"], prod["state"]) == ("https://platform.example/v0.5", "prod.json")
    assert settings(tmp_path, None)["vars"]["model"] == "base"
    assert settings(tmp_path, None, "environment: prod\n" + ENVIRONMENTS)["vars"]["model"] == "large"


def test_environments_do_not_share_a_state(tmp_path: Path) -> None:
    assert settings(tmp_path, "test")["state"] == ".reconciler/state.test.json"
    assert settings(tmp_path, "test", "state: a/b.json\n" + ENVIRONMENTS)["state"] == "a/b.test.json"
    assert "state" not in settings(tmp_path, None)


@pytest.mark.parametrize(
    ("state", "prod", "others"),
    [
        ('"git:"', "git:origin#refs/reconciler/prod", {"git:", "git:origin#refs/reconciler/dev"}),
        ("s3://bucket/state.json", "s3://bucket/state.prod.json", {"s3://bucket/state.json", "s3://bucket/state.dev.json"}),
    ],
)  # fmt: skip
def test_nor_do_they_share_one_that_is_shared(tmp_path: Path, state: str, prod: str, others: set[str]) -> None:
    (tmp_path / "reconciler.yaml").write_text(f"state: {state}\nenvironments:\n  dev: {{}}\n  prod: {{}}\n")
    settings = read_config(tmp_path, "prod")
    assert settings["state"] == prod
    assert set(settings["siblings"]) == others


def test_an_environment_that_is_not_there_is_wrong_usage(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        settings(tmp_path, "prd")
    assert caught.value.hint == "did you mean 'prod'?"
    with pytest.raises(UsageError, match="no environment 'prod'"):
        settings(tmp_path, "prod", "endpoint: local")


@pytest.mark.parametrize(
    ("text", "place", "code"),
    [
        ("vars: {a.b: 1}", "1:8", "unknown-field"),
        ("vars: {a: ['${{ vars.b }}']}", "1:12", "bad-expression"),
        ("environments: {prod: {specs: other}}", "1:23", "unknown-field"),
        ("environments: {prod: {environments: {}}}", "1:23", "unknown-field"),
        ("reconcile: {matrix: {k: [1]}}", "1:13", "unknown-field"),
    ],
)
def test_faults_of_vars_and_environments_are_located(tmp_path: Path, text: str, place: str, code: str) -> None:
    assert faults(tmp_path, text) == [(f"reconciler.yaml:{place}", code)]


def test_the_settings_above_are_found_up_to_the_top_of_the_repository(tmp_path: Path) -> None:
    deep = tmp_path / "project" / "specs" / "pumps"
    deep.mkdir(parents=True)
    assert config_above(deep) is None
    (tmp_path / "reconciler.yaml").touch()
    assert config_above(deep) == "../../.."
    (tmp_path / "project" / ".git").touch()
    assert config_above(deep) is None
    (tmp_path / "project" / "reconciler.yaml").touch()
    assert config_above(deep) == "../.."
    (deep / "reconciler.yaml").touch()
    assert config_above(deep) is None


EVERYTHING = """\
endpoint: https://example.com
parallelism: 4
lock_timeout: 2m
max_cancellations: 20%
max_submissions: none
vars: {text: "ü\\u2028", number: 1.5, whole: 9007199254740991, list: [true, null, {deep: x}]}
reconcile: {retry: {attempts: 3, on: [failed]}, protect: true}
environments: {prod: {endpoint: local, vars: {text: other}}}
"""


def test_what_is_remembered_of_the_file_is_what_it_says(tmp_path: Path) -> None:
    (tmp_path / "reconciler.yaml").write_text(EVERYTHING)
    cache = tmp_path / "cache"
    for environment in (None, "prod"):
        anew = repr(read_config(tmp_path, environment))
        for _ in range(2):
            _said.cache_clear()
            assert repr(read_config(tmp_path, environment, cache)) == anew
    (kept,) = cache.iterdir()
    kept.write_bytes(kept.read_bytes()[:-1] + b" ")
    _said.cache_clear()
    assert repr(read_config(tmp_path, None, cache)) == repr(read_config(tmp_path))


def test_a_file_that_changed_is_read_anew_and_a_faulty_one_is_not_remembered(tmp_path: Path) -> None:
    file, cache = tmp_path / "reconciler.yaml", tmp_path / "cache"
    file.write_text("parallelism: 4\n")
    assert read_config(tmp_path, cache=cache) == {"parallelism": 4}
    file.write_text("parallelism: 5\n")
    assert read_config(tmp_path, cache=cache) == {"parallelism": 5}
    file.write_text("parallelism: none\n")
    for _ in range(2):
        with pytest.raises(SpecError):
            read_config(tmp_path, cache=cache)
