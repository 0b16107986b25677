"""A register keeps one document, and changes only from what somebody has seen: the same promises on every kind.

The servers are real ones on this machine: a bare git repository, a bucket, and Terraform's protocol in two dialects.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from shared_places import Place, behind_http, bucket, git, in_bucket, in_git, server

from reconciler.address import parse_address
from reconciler.backends.bucketfaults import fault
from reconciler.backends.lease import new_lease
from reconciler.backends.open import _register
from reconciler.backends.register import Document, Found, Lease, Limits, Lost, Occupied, Register, Unsure, limits
from reconciler.cli.main import run
from reconciler.client.patience import Timing
from reconciler.errors import StateError, StateUnavailable, UsageError
from reconciler.reconcile import Settings

pytestmark = pytest.mark.network
KINDS = ["git", "bucket", "gitlab", "terraform"]


@pytest.fixture(scope="module")
def ports(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, int]]:
    folder = tmp_path_factory.mktemp("servers")
    with bucket(folder) as one, server("terraform_server.py", folder) as other:
        yield one, other


@pytest.fixture
def place(request: pytest.FixtureRequest, ports: tuple[int, int], tmp_path: Path) -> Place:
    name = uuid.uuid4().hex
    match request.param:
        case "git":
            return in_git(tmp_path)
        case "bucket":
            return in_bucket(ports[0], name)
        case kind:
            return behind_http(ports[1], name, gitlab=kind == "gitlab")


@pytest.fixture
def register(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Register]:
    """Makes the register of another runner each time, in a clone of its own."""
    for name, value in place.environ.items():
        monkeypatch.setenv(name, value)

    def make() -> Register:
        folder = tmp_path / uuid.uuid4().hex
        place.clone(folder)
        return register_at(place.text, folder, {**os.environ, **place.environ})

    return make


Make = Callable[[], Register]


def register_at(text: str, folder: Path, environ: Mapping[str, str]) -> Register:
    """The register that `text` is, for a runner in `folder`."""
    address = parse_address(text, None)
    assert address is not None
    return _register(address, folder, environ)


def lease() -> Lease:
    return new_lease("apply", 60.0, None)


def taken(register: Register, by: Lease | None = None, **fields: str) -> Found:
    """The register with a lease, and other fields, put on what it holds."""
    found = register.read()
    update = {"lease": by or lease(), "serial": found.document.serial + 1, **fields}
    return register.swap(found, found.document.model_copy(update=update), "the lock")


def changed(register: Register, found: Found, message: str = "work", **fields: object) -> Found:
    update = {"serial": found.document.serial + 1, **fields}
    return register.swap(found, found.document.model_copy(update=update), message)


@pytest.mark.parametrize("place", KINDS, indirect=True)
def test_what_was_put_there_is_read_by_everybody(register: Make) -> None:
    one, other = register(), register()
    assert one.read().document == Document()
    text = '{"x": "ä\\u2028😀\\n"}\n' * 1000
    found = taken(one, state=text, journal="a\nb\n")
    assert other.read().document == found.document
    found = changed(one, found, journal="", late="c\n")
    assert (other.read().document.journal, other.read().document.late) == ("", "c\n")
    done = changed(one, found, lease=None)
    assert register().read().document.lease is None
    assert register().read().document.state == done.document.state == text


@pytest.mark.parametrize("place", KINDS, indirect=True)
def test_who_saw_an_older_version_is_refused_and_changes_nothing(register: Make) -> None:
    one, other = register(), register()
    before = other.read()
    found = taken(one, state="one")
    with pytest.raises((Lost, Occupied)):
        changed(other, before, lease=lease(), state="other")
    assert register().read().document.state == "one"
    changed(one, found, state="two")
    with pytest.raises((Lost, Occupied)):
        changed(other, before, lease=lease(), state="other")
    assert register().read().document.state == "two"


@pytest.mark.parametrize("place", KINDS, indirect=True)
def test_who_was_taken_over_is_refused_from_then_on(register: Make) -> None:
    one, other = register(), register()
    found = taken(one, state="one")
    taken(other, state="other")
    for _ in range(2):
        with pytest.raises((Lost, Occupied, Unsure)):
            found = changed(one, found, state="one again")
    assert register().read().document.state == "other"
    assert register().read().document.lease is not None


@pytest.mark.parametrize("place", KINDS, indirect=True)
def test_of_many_that_write_at_once_exactly_one_succeeds(register: Make) -> None:
    runners = [register() for _ in range(5)]
    seen = [runner.read() for runner in runners]
    won: list[int] = []
    together = threading.Barrier(len(runners))

    def write(n: int) -> None:
        together.wait()
        try:
            changed(runners[n], seen[n], lease=lease(), state=f"of {n}")
        except (Lost, Occupied, Unsure):
            return
        won.append(n)

    threads = [threading.Thread(target=write, args=(n,)) for n in range(len(runners))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [register().read().document.state] == [f"of {n}" for n in won]


@pytest.mark.parametrize("place", ["bucket", "gitlab"], indirect=True)
def test_what_is_no_document_is_refused_and_left_alone(place: Place, register: Make) -> None:
    one = register()
    found = taken(one)
    changed(one, found, lease=None)
    foreign = b'{"version": 4, "serial": 99, "terraform_version": "1.5.0", "document": "of somebody else"}'
    place.overwrite(foreign)
    with pytest.raises(StateError, match="holds no document of reconciler"):
        register().read()


# -- git --


def clone_and_register(tmp_path: Path) -> tuple[Place, Path, Register]:
    place = in_git(tmp_path)
    clone = tmp_path / "clone"
    place.clone(clone)
    return place, clone, register_at(place.text, clone, os.environ)


def log(place: Place) -> list[str]:
    return git("log", "--format=%s", place.text.removeprefix("git:"), folder=place.origin).splitlines()


def update_hook(place: Place, script: str) -> None:
    assert place.origin is not None
    hook = place.origin / "hooks" / "update"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(f"#!/bin/sh\n{script}\n")
    hook.chmod(0o755)


def test_a_command_is_one_commit_that_says_what_it_did(tmp_path: Path) -> None:
    place, _, register = clone_and_register(tmp_path)
    for n in range(2):
        found = taken(register)
        for journal in ("a\n", "a\nb\n"):
            found = changed(register, found, journal=journal)
        found = changed(register, found, journal="", state=f"{n}\n")
        changed(register, found, f"apply: {n}", lease=None)
    assert log(place) == ["apply: 1", "apply: 0"]


def test_a_command_that_changed_nothing_leaves_no_commit(tmp_path: Path) -> None:
    place, _, register = clone_and_register(tmp_path)
    changed(register, taken(register, state="x\n"), "apply: 1 new", lease=None)
    changed(register, taken(register), "status", lease=None)
    assert log(place) == ["apply: 1 new"]


def test_a_command_that_changed_nothing_where_there_was_nothing_leaves_no_ref(tmp_path: Path) -> None:
    place, _, register = clone_and_register(tmp_path)
    found = changed(register, taken(register), "apply: refused", lease=None)
    assert git("for-each-ref", "refs/reconciler", folder=place.origin) == ""
    assert register.read() == Found(Document())
    assert found.mark is None
    changed(register, taken(register, state="x\n"), "apply: 1 new", lease=None)
    assert log(place) == ["apply: 1 new"]


def test_a_server_that_lets_no_ref_go_away_has_a_commit_that_says_why(tmp_path: Path) -> None:
    place, _, register = clone_and_register(tmp_path)
    update_hook(place, "case $3 in 0000*) exit 1 ;; esac")
    changed(register, taken(register), "apply: refused", lease=None)
    assert log(place)[0] == "apply: refused"
    assert register.read().document.lease is None


def test_a_server_that_lets_no_ref_go_back_has_a_commit_for_every_change(tmp_path: Path) -> None:
    place, _, register = clone_and_register(tmp_path)
    update_hook(place, 'case $2 in 0000*) ;; *) git merge-base --is-ancestor "$2" "$3" ;; esac')
    found = changed(register, taken(register), state="x\n")
    changed(register, found, "apply: 1 new", lease=None)
    assert log(place)[0] == "apply: 1 new"
    assert len(log(place)) == 3


@pytest.mark.parametrize(
    "files",
    [
        {"README": b"somebody else's"},
        {"lease.json": b"[" * 100_000},
        {"lease.json": b"\xff"},
        {"lease.json": b'{"lease": {"holder": "x", "seconds": -1}}'},
        {"lease.json": b"{}", "state.json": b"\xff\xfe"},
        {"lease.json": b'{"document": 2}'},
    ],
)
def test_a_ref_that_holds_something_else_is_refused_and_left_alone(tmp_path: Path, files: dict[str, bytes]) -> None:
    place, clone, register = clone_and_register(tmp_path)
    for name, data in files.items():
        (clone / name).write_bytes(data)
    git("add", "--all", folder=clone)
    git("commit", "--quiet", "-m", "not a state", folder=clone)
    git("push", "--quiet", "origin", "HEAD:refs/reconciler/default", folder=clone)
    with pytest.raises(StateError, match="holds no document of reconciler"):
        register.read()
    assert log(place) == ["not a state"]


def test_neither_working_tree_nor_index_nor_branches_nor_hooks_have_to_do_with_it(tmp_path: Path) -> None:
    place, clone, register = clone_and_register(tmp_path)
    (clone / "work.txt").write_text("half done")
    git("add", "work.txt", folder=clone)
    hook = clone / ".git" / "hooks" / "pre-push"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\ntouch hooked\nexit 1\n")
    hook.chmod(0o755)
    before = git("status", "--porcelain=v2", "--branch", folder=clone), git("for-each-ref", folder=clone)
    changed(register, taken(register, state="x\n"), lease=None)
    assert (git("status", "--porcelain=v2", "--branch", folder=clone), git("for-each-ref", folder=clone)) == before
    assert not (clone / "hooked").exists()
    assert git("for-each-ref", "--format=%(refname)", folder=place.origin).split() == ["refs/reconciler/default"]


def test_a_shallow_clone_has_the_state_too(tmp_path: Path) -> None:
    place, clone, register = clone_and_register(tmp_path)
    git("commit", "--quiet", "--allow-empty", "-m", "one", folder=clone)
    git("commit", "--quiet", "--allow-empty", "-m", "two", folder=clone)
    git("push", "--quiet", "origin", "HEAD:refs/heads/main", folder=clone)
    changed(register, taken(register, state="x\n"), lease=None)
    shallow = tmp_path / "shallow"
    git("clone", "--quiet", "--depth=1", "--branch=main", f"file://{place.origin}", shallow)
    other = register_at(place.text, shallow, os.environ)
    changed(other, taken(other, state="y\n"), lease=None)
    assert register.read().document.state == "y\n"


def test_a_push_that_the_server_forbids_says_so_and_is_not_tried_for_ever(tmp_path: Path) -> None:
    place, _, register = clone_and_register(tmp_path)
    assert place.origin is not None
    hook = place.origin / "hooks" / "pre-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text("#!/bin/sh\necho 'refs below refs/reconciler are not for you' >&2\nexit 1\n")
    hook.chmod(0o755)
    with pytest.raises(StateError, match="are not for you") as caught:
        taken(register)
    assert not isinstance(caught.value, StateUnavailable)


def outside(folder: Path) -> dict[str, str]:
    return {**os.environ, "GIT_CEILING_DIRECTORIES": str(folder.parent)}


@pytest.mark.parametrize("text", ["git:", "git:https://git.example/x.git"])
def test_outside_of_a_repository_it_says_where_to_go(tmp_path: Path, text: str) -> None:
    (tmp_path / "no repository").mkdir()
    with pytest.raises(StateError, match="no repository is in none") as caught:
        register_at(text, tmp_path / "no repository", outside(tmp_path)).read()
    assert "run the command in the repository of the specs" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("remotes", "text", "told", "hint"),
    [
        ([], "git:", "this repository has no remote", "git remote add origin URL"),
        (["a", "b"], "git:main", "this repository has only a, b", "write a ref as git:refs/reconciler/main"),
    ],
)
def test_a_remote_that_is_not_there_is_told_with_those_that_are(
    tmp_path: Path, remotes: list[str], text: str, told: str, hint: str
) -> None:
    git("init", "--quiet", folder=tmp_path)
    for name in remotes:
        git("remote", "add", name, "/nowhere", folder=tmp_path)
    with pytest.raises(StateError, match=told) as caught:
        register_at(text, tmp_path, os.environ).read()
    assert str(caught.value.hint).startswith(hint)


# -- patience --


@pytest.mark.parametrize("kind", ["git", "http", "s3"])
def test_a_place_that_does_not_answer_is_given_up_after_the_time_that_was_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        url = f"http://127.0.0.1:{deaf.getsockname()[1]}"
        for name, value in {**in_bucket(9, "x").environ, "AWS_ENDPOINT_URL": url}.items():
            monkeypatch.setenv(name, value)
        git("init", "--quiet", folder=tmp_path)
        text = {"git": f"git:{url}/x.git", "http": f"{url}/state", "s3": "s3://states/x"}[kind]
        settings = Settings(tmp_path, tmp_path / "s", "local", address=parse_address(text, None), environ=os.environ,
                            timing=Timing(budget=1.5))  # fmt: skip
        began = time.monotonic()
        with pytest.raises(StateUnavailable) as caught:
            settings.store().snapshot()
    assert 1.4 <= time.monotonic() - began < 9
    assert "--timeout" in str(caught.value.hint)


def test_a_change_gives_up_in_time_for_another_try_within_the_lease() -> None:
    assert limits(300.0, 60.0) == Limits(300.0, 30.0)
    assert limits(5.0, 60.0) == Limits(5.0, 5.0)
    assert limits(60.0, 1.0) == Limits(60.0, 10.0)
    assert limits(0.0, 60.0).read > 0


# -- HTTP --


def of_http(port: int, name: str, **environ: str) -> Register:
    place = behind_http(port, name)
    return register_at(place.text, Path(), {**place.environ, **environ})


def test_a_wrong_password_is_told_and_is_in_no_message(ports: tuple[int, int]) -> None:
    with pytest.raises(StateError, match="HTTP 401") as caught:
        of_http(ports[1], "x", TF_HTTP_PASSWORD="wrong-secret").read()
    assert "wrong-secret" not in f"{caught.value} {caught.value.hint}"


def test_in_a_gitlab_job_its_token_is_used_for_its_own_server_only(ports: tuple[int, int]) -> None:
    from reconciler.backends.terraform import _credentials

    job = {"CI_JOB_TOKEN": "of-the-job", "CI_API_V4_URL": "https://gitlab.example/api/v4"}
    url = "https://gitlab.example/api/v4/projects/1/terraform/state/x"
    assert _credentials(job, url, gitlab=True) == ("gitlab-ci-token", "of-the-job")
    assert _credentials(job, url.replace("gitlab.example", "gitlab.example.evil"), gitlab=True) is None


def test_a_lock_that_terraform_holds_is_respected_and_named(ports: tuple[int, int]) -> None:
    name = uuid.uuid4().hex
    one, other = of_http(ports[1], name), of_http(ports[1], name)
    held = taken(one)
    with pytest.raises(Occupied, match="'apply' of"):
        changed(other, Found(Document(), (None, None)), lease=lease())
    changed(one, held, lease=None)
    taken(other)


def test_a_server_that_is_not_there_or_not_safe_is_told() -> None:
    with pytest.raises(StateUnavailable):
        _register_of("http://127.0.0.1:9/state").read()
    with pytest.raises(UsageError, match="without encryption"):
        _register_of("http://states.example/state")


def _register_of(text: str) -> Register:
    return register_at(text, Path(), {})


# -- buckets --


def of_bucket(monkeypatch: pytest.MonkeyPatch, text: str, environ: Mapping[str, str]) -> Register:
    """A register with nothing in the environment but `environ`."""
    for name in [name for name in os.environ if name.startswith(("AWS_", "GOOGLE_", "AZURE_"))]:
        monkeypatch.delenv(name)
    for name, value in {"AWS_METADATA_ENDPOINT": "http://127.0.0.1:9", **environ}.items():
        monkeypatch.setenv(name, value)
    return register_at(text, Path(), os.environ)


KEYS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")


@pytest.mark.parametrize(
    ("missing", "told", "hint"),
    [
        (KEYS, "there are no credentials for the state s3://states/x", "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS"),
        (KEYS[1:], "Missing SecretAccessKey", "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"),
        (("AWS_ALLOW_HTTP",), "without encryption, by AWS_ENDPOINT_URL", "set AWS_ALLOW_HTTP=true"),
    ],
)
def test_what_the_environment_must_say_for_a_bucket_is_told(
    ports: tuple[int, int], monkeypatch: pytest.MonkeyPatch, missing: tuple[str, ...], told: str, hint: str
) -> None:
    environ = {name: value for name, value in in_bucket(ports[0], "x").environ.items() if name not in missing}
    with pytest.raises(UsageError, match=told) as caught:
        of_bucket(monkeypatch, "s3://states/x", environ).read()
    assert hint in str(caught.value.hint)
    assert "secret-of-the-bucket" not in f"{caught.value} {caught.value.hint}"


def test_a_container_of_azure_needs_an_account(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="Account must be specified") as caught:
        of_bucket(monkeypatch, "az://states/x", {})
    assert "AZURE_STORAGE_ACCOUNT_NAME" in str(caught.value.hint)


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The port of a bucket that knows nobody's keys."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("INITIAL_NO_AUTH_ACTION_COUNT", "1")  # to make the bucket
        with bucket(tmp_path_factory.mktemp("strict")) as port:
            yield port


def test_credentials_that_the_bucket_refuses_are_told_before_the_platform_is_asked(
    strict: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(StateError, match="InvalidAccessKeyId") as caught:
        of_bucket(monkeypatch, "s3://states/x", in_bucket(strict, "x").environ).read()
    assert not isinstance(caught.value, StateUnavailable)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ATAI_API_KEY", "sk_x")
    Path("specs").mkdir()
    Path("specs", "a.yaml").write_text("name: a\npipeline_type: batch\npipeline_key: k\n")
    words = ["--endpoint", "http://127.0.0.1:9", "--timeout", "1s", "--state", "s3://states/x", "apply", "--yes"]
    assert run(words) == 1
    said = capsys.readouterr().err
    assert "the bucket does not take these credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY" in said
    assert "secret-of-the-bucket" not in said


@pytest.mark.parametrize(
    ("text", "kind", "hint"),
    [
        ("PUT http://169.254.169.254/latest/api/token - HTTP error", StateUnavailable, "again"),
        ("status code: 301: <Error><Code>PermanentRedirect</Code></Error>", StateError, "AWS_REGION"),
        ("status code: 400: <Error><Code>ExpiredToken</Code></Error>", StateError, "AWS_SESSION_TOKEN"),
        ("status code: 405 Method Not Allowed", StateError, "None"),
        ("status code: 429 Too Many Requests", StateUnavailable, "again"),
        ("status code: 503 Slow Down", StateUnavailable, "again"),
        ("HTTP error: error sending request", StateUnavailable, "--timeout"),
    ],
)
def test_what_may_be_over_in_a_minute_is_told_from_what_may_not(text: str, kind: type[StateError], hint: str) -> None:
    """Of a bucket that has answered before: then there were credentials."""
    address = parse_address("s3://states/x", None)
    assert address is not None
    found = fault(address, "read", RuntimeError(text), reached=True)
    assert type(found) is kind
    assert hint in str(found.hint)


def test_a_bucket_that_is_not_there_is_told(ports: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in in_bucket(ports[0], "x").environ.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(StateError, match="no such bucket") as caught:
        register_at("s3://no-such-bucket/state.json", Path(), os.environ).read()
    assert "secret-of-the-bucket" not in str(caught.value)


def test_without_the_extra_it_says_what_to_install(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['obstore'] = None\n"
        "from reconciler.cli.main import run\n"
        "sys.exit(run(['--endpoint', 'local', '--state', 's3://bucket/x', 'state', 'list']))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 64
    assert "pip install 'reconciler[buckets]'" in done.stderr
