"""Talking to GitHub's API: what is sent again, what is waited for, and where the token goes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from github_stand_in import BOT, READ_ONLY, TOKEN, StandIn, github

from reconciler.ci.commenting import marker
from reconciler.ci.github import ApiError, GitHub, Unclear
from reconciler.errors import UsageError

pytestmark = pytest.mark.network


@pytest.fixture
def api() -> Iterator[StandIn]:
    with github() as stand_in:
        yield stand_in


def client(api: StandIn, slept: list[float] | None = None, token: str = TOKEN) -> GitHub:
    return GitHub(api.url, token, "octo/jobs", (slept if slept is not None else []).append, timeout=5)


def test_every_page_is_read(api: StandIn) -> None:
    for number in range(250):
        api.add("ann", f"comment {number}")
    with client(api) as github:
        assert [c.body for c in github.comments(7)] == [f"comment {n}" for n in range(250)]
    assert len(api.asked) == 3


@pytest.mark.parametrize("fault", [500, 502, 429, "lost"])
def test_what_does_no_harm_is_sent_again_after_a_growing_pause(api: StandIn, fault: int | str) -> None:
    comment = api.add(BOT, "old")
    api.faults += [("PATCH", fault)] * 2
    slept: list[float] = []
    with client(api, slept) as github:
        github.update(comment["id"], "new")
    assert api.by(BOT) == ["new"]
    assert slept == [1.0, 2.0]


@pytest.mark.parametrize("fault", [500, "lost"])
def test_a_comment_is_not_created_twice(api: StandIn, fault: int | str) -> None:
    api.faults.append(("POST", fault))
    with client(api) as github, pytest.raises(Unclear):
        github.create(7, "body")
    assert len(api.asked) == 1


def test_a_refusal_is_told_with_its_status(api: StandIn) -> None:
    slept: list[float] = []
    with client(api, slept, READ_ONLY) as github, pytest.raises(ApiError, match="Resource not accessible") as told:
        github.create(7, "body")
    assert told.value.status == 403
    with client(api, slept) as github, pytest.raises(ApiError, match="422"):
        github.create(7, "x" * 65_537)
    with client(api, slept, "wrong") as github, pytest.raises(ApiError, match="401"):
        list(github.comments(7))
    assert slept == []


def test_it_gives_up_in_the_end(api: StandIn) -> None:
    api.faults += [("GET", 503)] * 9
    slept: list[float] = []
    with client(api, slept) as github, pytest.raises(ApiError, match="503"):
        list(github.comments(7))
    assert len(slept) == 4


def test_the_token_goes_to_its_host_only(api: StandIn) -> None:
    for number in range(150):
        api.add("ann", f"comment {number}")
    with github() as other:
        real, api.url = api.url, other.url  # the link to the next page leads elsewhere
        with GitHub(real, TOKEN, "octo/jobs") as client, pytest.raises(ApiError, match="another host"):
            list(client.comments(7))
        with GitHub(real, TOKEN, "octo/jobs") as client:
            assert client.viewer(f"{other.url}/graphql") is None
        assert other.asked == []


def test_the_token_is_not_sent_without_encryption() -> None:
    with pytest.raises(UsageError, match="without encryption"):
        GitHub("http://github.example/api/v3", TOKEN, "octo/jobs")
    GitHub("https://github.example/api/v3", TOKEN, "octo/jobs").__exit__()


@pytest.mark.parametrize(
    "parts", [(".", "", ""), ("a/b", "specs", "local"), ("-->", "<script>", "--"), ("x" * 999, "\n", "é")]
)
def test_a_marker_is_a_comment_whatever_it_is_made_of(parts: tuple[str, ...]) -> None:
    mark = marker(*parts)
    assert mark.startswith("<!-- reconciler:")
    assert mark.endswith(" -->")
    assert "--" not in mark[4:-3]
    assert "\n" not in mark
    assert len(mark) < 300


def test_markers_of_other_parts_differ() -> None:
    made: list[Any] = [marker("a b", "c"), marker("a", "b c"), marker("a-b", "c"), marker("a b c"), marker("", "c")]
    assert len(set(made)) == len(made)
