"""What `--state` may say, and what each of it means."""

from __future__ import annotations

import pytest

from reconciler.address import Address, is_address, of_environment, parse_address
from reconciler.errors import UsageError


@pytest.mark.parametrize(
    ("text", "environment", "means"),
    [
        ("git:", None, Address("git", "origin", "refs/reconciler/default")),
        ("git:", "staging", Address("git", "origin", "refs/reconciler/staging")),
        ("git:upstream", "staging", Address("git", "upstream", "refs/reconciler/staging")),
        ("git:refs/reconciler/eu/prod", "staging", Address("git", "origin", "refs/reconciler/eu/prod")),
        ("git:upstream#refs/x/y", None, Address("git", "upstream", "refs/x/y")),
        ("git:git@host:team/jobs.git#refs/x/y", None, Address("git", "git@host:team/jobs.git", "refs/x/y")),
        ("git:/a folder/jobs.git#refs/x/y", None, Address("git", "/a folder/jobs.git", "refs/x/y")),
        ("s3://bucket/team/state.json", None, Address("s3", "bucket", "team/state.json")),
        ("gs://bucket/state.json", "staging", Address("gs", "bucket", "state.json")),
        ("az://container/state.json", None, Address("az", "container", "state.json")),
        ("https://host/state/x?y=z", None, Address("https", "https://host/state/x?y=z")),
    ],
)
def test_an_address_is_read(text: str, environment: str | None, means: Address) -> None:
    assert is_address(text)
    assert parse_address(text, environment) == means


@pytest.mark.parametrize(
    ("text", "told", "hint"),
    [
        ("s3://B/k?x=y", "the state 's3://B/k' has a '?' or '#' behind it", "write s3://B/k: credentials, region"),
        ("s3://B/k?", "the state 's3://B/k' has a '?' or '#' behind it", "write s3://B/k: credentials, region"),
        ("gs://B/k#x", "the state 'gs://B/k' has a '?' or '#' behind it", "write gs://B/k: credentials, region"),
        ("s3://B", "the state 's3://B' names a bucket, and no object in it", "write for example s3://B/state.json"),
        ("s3://key:secret@B/k", "the state's address holds credentials, which", "credentials, region and endpoint"),
    ],
)
def test_what_is_wrong_with_the_address_of_an_object_is_told(text: str, told: str, hint: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_address(text, None)
    assert caught.value.message.startswith(told)
    assert str(caught.value.hint).startswith(hint)
    assert "secret" not in caught.value.message


@pytest.mark.parametrize("text", ["state.json", "./git/state.json", "C/s3/x", "./git", "a:b/state.json", "/x/https/y"])
def test_everything_else_is_a_file(text: str) -> None:
    assert not is_address(text)
    assert parse_address(text, "staging") is None


@pytest.mark.parametrize(
    "text",
    [
        "git:refs/heads/main",
        "git:refs/tags/v1",
        "git:refs/x/../y",
        "git:refs/x y",
        "git:refs/x.lock",
        "git:#main",
        "git:--upload-pack=touch x",
        "git:ext::sh -c x#refs/x/y",
        "git:a\nb#refs/x/y",
        "s3://bucket",
        "s3://bucket/",
        "s3://key:secret@bucket/x",
        "gs:///x",
        "http://user:password@host/x",
        "https://host:port/x",
        "https://",
        "gcs://bucket/x",
        "S3://bucket/x",
        "s3:/bucket/x",
        "https:/host/x",
        "ftp://host/x",
        "GIT:",
        "git :",
        "git;",
        " git:",
        "git: ",
        " state.json",
        "git",
        "azure://container/x",
        "ssh://host/x",
    ],
)
def test_what_is_no_place_is_refused_and_repeats_no_password(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_address(text, None)
    assert "password@" not in str(caught.value)


def test_a_place_is_shown_without_its_credentials() -> None:
    address = parse_address("git:https://ann:secret@host/jobs.git#refs/x/y", None)
    assert str(address) == "git:https://host/jobs.git#refs/x/y"
    assert str(parse_address("https://host/state?token=secret", None)) == "https://host/state"


@pytest.mark.parametrize(
    ("text", "name", "means"),
    [
        ("git:", "prod", "git:origin#refs/reconciler/prod"),
        ("git:upstream", "prod", "git:upstream#refs/reconciler/prod"),
        ("git:refs/reconciler/eu", "prod", "git:refs/reconciler/eu-prod"),
        ("git:upstream#refs/x/y", "prod", "git:upstream#refs/x/y-prod"),
        ("s3://bucket/a/state.json", "prod", "s3://bucket/a/state.prod.json"),
        ("https://host/api/v4/projects/1/terraform/state/jobs", "prod",
         "https://host/api/v4/projects/1/terraform/state/jobs.prod"),
    ],
)  # fmt: skip
def test_environments_never_share_a_state_by_accident(text: str, name: str, means: str) -> None:
    assert of_environment(text, name) == means
    assert parse_address(means, None)
