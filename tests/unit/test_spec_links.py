"""Links to spec lines lead to the commit that was read, or nowhere."""

from __future__ import annotations

from typing import Any

import pytest

from reconciler.job import Source
from reconciler.links import spec_link


@pytest.mark.parametrize(
    ("repository", "address"),
    [
        ("https://github.com/team/jobs", "https://github.com/team/jobs/blob/c0ffee1/ml/specs/a.yaml#L3"),
        ("https://gitlab.example/g/s/jobs", "https://gitlab.example/g/s/jobs/-/blob/c0ffee1/ml/specs/a.yaml#L3"),
        ("https://bitbucket.org/team/jobs", "https://bitbucket.org/team/jobs/src/c0ffee1/ml/specs/a.yaml#lines-3"),
        (None, None),
    ],
)
def test_each_kind_of_host_has_its_form(repository: str | None, address: str | None) -> None:
    source = Source(commit="c0ffee1", dirty=False, folder="ml", repository=repository)
    assert spec_link(source, "specs/a.yaml", 3) == address


def test_a_gitlab_of_any_name_is_known_by_its_run() -> None:
    run = "https://code.example/team/jobs/-/jobs/9"
    source = Source(commit="c0ffee1", dirty=False, repository="https://code.example/team/jobs", run_url=run)
    assert spec_link(source, "a.yaml") == "https://code.example/team/jobs/-/blob/c0ffee1/a.yaml"


@pytest.mark.parametrize(
    ("folder", "path", "inside"),
    [
        ("", "..a.yaml", "..a.yaml"),
        ("", "a b#c?.yaml", "a%20b%23c%3F.yaml"),
        ("ml", "../specs/é.yaml", "specs/%C3%A9.yaml"),
        ("", '\x1b[31m<&".yaml', "%1B%5B31m%3C%26%22.yaml"),
        ("ml", "../../outside.yaml", None),
        ("", "/etc/specs.yaml", None),
    ],
)
def test_a_path_is_written_so_that_it_leads_to_its_file(folder: str, path: str, inside: str | None) -> None:
    source = Source(commit="c0ffee1", dirty=False, folder=folder, repository="https://github.com/team/jobs")
    assert spec_link(source, path) == (inside and f"https://github.com/team/jobs/blob/c0ffee1/{inside}")


@pytest.mark.parametrize(
    "less",
    [
        {"commit": None},
        {"commit": "\x1b[31m"},
        {"repository": None},
        {"repository": "javascript:alert(1)"},
        {"dirty": True},
        {"dirty": None},
    ],
)
def test_a_link_that_could_show_another_text_is_none(less: dict[str, Any]) -> None:
    whole = Source(commit="c0ffee1", dirty=False, repository="https://github.com/team/jobs")
    assert spec_link(whole, "a.yaml", 1)
    assert spec_link(whole.model_copy(update=less), "a.yaml", 1) is None
    assert spec_link(None, "a.yaml", 1) is None
