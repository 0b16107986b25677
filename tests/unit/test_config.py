"""`reconciler.yaml`: what it may say, and what its faults look like."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.config import read_config
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
        ("max_submissions: -1\nmax_cancellations: 0%\n", [("2:20", "invalid-value"), ("1:18", "out-of-range")]),
        ("max_submissions: true\nmax_cancellations: [1]\n", [("2:20", "wrong-type"), ("1:18", "wrong-type")]),
        ("max_submissions: 1.5\nmax_cancellations: many\n", [("2:20", "invalid-value"), ("1:18", "wrong-type")]),
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
