"""A register keeps one document, and changes only from what somebody has seen: the same promises on every kind.

The servers are real ones on this machine: a bare git repository, a bucket, and Terraform's protocol in two dialects.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from shared_places import Place, behind_http, bucket, git, in_bucket, in_git, server

from reconciler.address import parse_address
from reconciler.backends.lease import new_lease
from reconciler.backends.open import _register
from reconciler.backends.register import Document, Found, Lease, Lost, Occupied, Register, Unsure
from reconciler.errors import StateError, StateUnavailable, UsageError

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
        address = parse_address(place.text, None)
        assert address is not None
        return _register(address, folder, {**os.environ, **place.environ})

    return make


Make = Callable[[], Register]


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
    address = parse_address(place.text, None)
    assert address is not None
    return place, clone, _register(address, clone, os.environ)


def log(place: Place) -> list[str]:
    return git("log", "--format=%s", place.text.removeprefix("git:"), folder=place.origin).splitlines()


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


def test_a_server_that_lets_no_ref_go_back_has_a_commit_for_every_change(tmp_path: Path) -> None:
    place, _, register = clone_and_register(tmp_path)
    assert place.origin is not None
    hook = place.origin / "hooks" / "update"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text('#!/bin/sh\ncase $2 in 0000*) ;; *) git merge-base --is-ancestor "$2" "$3" ;; esac\n')
    hook.chmod(0o755)
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
    address = parse_address(place.text, None)
    assert address is not None
    other = _register(address, shallow, os.environ)
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


def test_without_a_repository_it_says_what_is_missing(tmp_path: Path) -> None:
    address = parse_address("git:", None)
    assert address is not None
    environ = {**os.environ, "GIT_CEILING_DIRECTORIES": str(tmp_path.parent)}
    with pytest.raises(StateError, match="git ls-remote"):
        _register(address, tmp_path, environ).read()


# -- HTTP --


def of_http(port: int, name: str, **environ: str) -> Register:
    place = behind_http(port, name)
    address = parse_address(place.text, None)
    assert address is not None
    return _register(address, Path(), {**place.environ, **environ})


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
    address = parse_address(text, None)
    assert address is not None
    return _register(address, Path(), {})


def test_a_bucket_that_is_not_there_is_told(ports: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in in_bucket(ports[0], "x").environ.items():
        monkeypatch.setenv(name, value)
    address = parse_address("s3://no-such-bucket/state.json", None)
    assert address is not None
    with pytest.raises(StateError, match="no such bucket") as caught:
        _register(address, Path(), os.environ).read()
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
