"""Real places for a shared state, on this machine: a bare git repository, a bucket, and a server such as GitLab's."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import terraform_server

HERE = Path(__file__).parent
_SIGNED = "AWS4-HMAC-SHA256 Credential=k/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0"
"""The server wants to see one, and does not check it."""
BUCKET = "states"


@dataclass
class Place:
    """Where a state is, as people write it, and what the environment must say for that."""

    text: str
    environ: Mapping[str, str] = field(default_factory=dict)
    origin: Path | None = None
    """The bare repository, for git."""
    url: str = ""

    def clone(self, folder: Path) -> None:
        """Make `folder` a working directory from which the place can be used."""
        if self.origin is None:
            folder.mkdir(parents=True)
            return
        git("clone", "--quiet", self.origin, folder)

    def state(self) -> bytes | None:
        """The state file's bytes that are there now, read without any code of ours."""
        if self.origin is not None:
            ref = self.text.removeprefix("git:")
            found = subprocess.run(["git", "-C", self.origin, "show", f"{ref}:state.json"], capture_output=True)
            return found.stdout if found.returncode == 0 else None
        document = self._document()
        return None if document is None or document["state"] is None else document["state"].encode()

    def _document(self) -> dict[str, str | None] | None:
        status, data = self._ask("GET")
        assert status in (200, 204, 404), status
        return json.loads(data) if status == 200 else None

    def overwrite(self, data: bytes) -> None:
        """Put something there, as if nobody else did."""
        status, _ = self._ask("PUT" if self.text.startswith("s3:") else "POST", data)
        assert status == 200, status

    def _ask(self, method: str, body: bytes | None = None) -> tuple[int, bytes]:
        port, _, path = self.url.removeprefix("http://127.0.0.1:").partition("/")
        connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=30)
        user = base64.b64encode(f"{terraform_server.USER}:{terraform_server.PASSWORD}".encode()).decode()
        signed = {"authorization": _SIGNED, "x-amz-content-sha256": "UNSIGNED-PAYLOAD"}
        headers = signed if self.text.startswith("s3:") else {"authorization": f"Basic {user}"}
        connection.request(method, f"/{path}", body, headers)
        answer = connection.getresponse()
        data = answer.read()
        connection.close()
        return answer.status, data


def git(*arguments: object, folder: Path | None = None) -> str:
    """What git prints."""
    identity = ["-c", "user.name=Test", "-c", "user.email=test@example.invalid", "-c", "init.defaultBranch=main"]
    command = ["git", *identity, *map(str, arguments)]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout


@contextlib.contextmanager
def server(script: str, folder: Path) -> Iterator[int]:
    """Run one of the servers beside this file, in a process of its own; its port."""
    port_file = folder / f"{script}.port"
    process = subprocess.Popen([sys.executable, HERE / script, port_file])
    try:
        deadline = time.monotonic() + 60
        while not port_file.exists():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.02)
        yield int(port_file.read_text())
    finally:
        process.kill()
        process.wait()


@contextlib.contextmanager
def bucket(folder: Path) -> Iterator[int]:
    """A server with the bucket `BUCKET`; its port."""
    with server("bucket_server.py", folder) as port:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        connection.request("PUT", f"/{BUCKET}")
        assert connection.getresponse().status == 200
        connection.close()
        yield port


def in_git(folder: Path, name: str = "default") -> Place:
    """A ref of a new bare repository."""
    origin = folder / f"{name}.git"
    git("init", "--quiet", "--bare", origin)
    return Place(f"git:refs/reconciler/{name}", origin=origin)


def in_bucket(port: int, name: str) -> Place:
    """An object that is not there yet."""
    environ = {
        "AWS_ACCESS_KEY_ID": "key-of-the-bucket",
        "AWS_SECRET_ACCESS_KEY": "secret-of-the-bucket",
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ALLOW_HTTP": "true",
    }
    return Place(f"s3://{BUCKET}/{name}/state.json", environ, url=f"http://127.0.0.1:{port}/{BUCKET}/{name}/state.json")


def behind_http(port: int, name: str, *, gitlab: bool = True) -> Place:
    """A state that is not there yet."""
    environ = {"TF_HTTP_USERNAME": terraform_server.USER, "TF_HTTP_PASSWORD": terraform_server.PASSWORD}
    path = f"api/v4/projects/1/terraform/state/{name}" if gitlab else f"state/{name}"
    url = f"http://127.0.0.1:{port}/{path}"
    return Place(url, environ, url=url)
