"""Addresses of commits, and which addresses are linked at all. Those of specs are in test_spec_links.py."""

from __future__ import annotations

from typing import Any

import pytest
from report_samples import SOURCE

from reconciler.links import commit_link, https


@pytest.mark.parametrize(
    ("where", "page"),
    [
        ({}, "https://github.com/acme/pumps/commit/"),
        ({"repository": "https://gitlab.com/acme/sub/pumps"}, "https://gitlab.com/acme/sub/pumps/-/commit/"),
        ({"repository": "https://bitbucket.org/acme/pumps"}, "https://bitbucket.org/acme/pumps/commits/"),
        ({"dirty": True}, "https://github.com/acme/pumps/commit/"),
    ],
)
def test_the_page_of_a_commit(where: dict[str, Any], page: str) -> None:
    assert commit_link(SOURCE.model_copy(update=where)) == f"{page}{SOURCE.commit}"


@pytest.mark.parametrize(
    "where",
    [
        {"commit": None},
        {"commit": "main"},
        {"commit": "0123456789ab/../../evil"},
        {"repository": None},
        {"repository": "http://github.com/acme/pumps"},
        {"repository": "javascript:alert(1)"},
    ],
)
def test_a_commit_without_a_page_has_no_link(where: dict[str, Any]) -> None:
    assert commit_link(SOURCE.model_copy(update=where)) is None


@pytest.mark.parametrize(
    ("address", "safe"),
    [
        ("https://ci.example/run/7?a=b&c=d", "https://ci.example/run/7?a=b&c=d"),
        ("https://user:secret@ci.example:8443/x", "https://ci.example:8443/x"),
        ("https://ci.example/\"onclick='x", "https://ci.example/%22onclick%3D%27x".replace("%3D", "=")),
        ("http://ci.example/", None),
        ("javascript://ci.example/%0aalert(1)", None),
        ("https://ci.example:99999/", None),
        ("https://evil\\@ci.example/", None),
        ("https://", None),
        ("https://[::1", None),
        (None, None),
    ],
)
def test_only_https_addresses_are_linked_and_without_what_is_secret(address: str | None, safe: str | None) -> None:
    assert https(address) == safe
