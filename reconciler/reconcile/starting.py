"""A working set to start from: specs that run, settings, and a CI workflow. Nothing that is there is changed."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Literal, TypeAlias
from urllib.parse import unquote, urlsplit

from reconciler.connect import PLATFORM, ignore_in_git
from reconciler.errors import ReconcilerError, UsageError
from reconciler.source import read_source

Ci: TypeAlias = Literal["github", "gitlab", "none"]


@dataclass(frozen=True, slots=True)
class Origin:
    """Where this program comes from: the https address of its repository, and the commit."""

    repository: str
    commit: str


@dataclass(frozen=True, slots=True)
class Started:
    """Files that were written, and files that were there, in the order of the set; `ci`: for what CI it is."""

    written: tuple[str, ...]
    left: tuple[str, ...]
    ci: Ci


def start(folder: Path, ci: Ci | None = None, origin: Origin | None = None) -> Started:
    """Write the starter set into `folder`. Without `ci` it is for what the repository looks like.

    Without an `origin` that is known there is no workflow: it must name the commit whose code gets the key.
    Raises `UsageError`, and `ReconcilerError` when a file cannot be written.
    """
    asked, ci = ci, ci or guess_ci(folder)
    origin = origin or installed_from()
    if origin is None and ci != "none":
        if asked:
            hint = "say it: --source https://HOST/OWNER/reconciler@COMMIT"
            raise UsageError("the workflow must name where reconciler comes from, and that is not known here", hint)
        ci = "none"
    written: list[str] = []
    left: list[str] = []
    try:
        for path, data in starter_files(ci, origin).items():
            (written if _write(folder / path, data) else left).append(path)
        if not (folder / ".reconciler/.gitignore").exists():
            ignore_in_git(folder / ".reconciler")
            written.append(".reconciler/.gitignore")
    except OSError as error:
        raise ReconcilerError(f"{error.filename} cannot be written: {error.strerror}") from error
    return Started(tuple(written), tuple(left), ci)


def starter_files(ci: Ci, origin: Origin | None) -> Mapping[str, bytes]:
    """The set: content by path."""
    top = files("reconciler") / "starter"
    found = {"reconciler.yaml": (top / "reconciler.yaml").read_bytes()}
    found |= {f"specs/{name}": data for name, data in _below(top / "specs").items()}
    if ci == "github" and origin:
        found[".github/workflows/reconciler.yml"] = _filled(top / "github.yml", ACTION=_action(origin))
    if ci == "gitlab" and origin:
        package = f"git+{origin.repository}@{origin.commit}"
        found[".gitlab-ci.yml"] = b"include:\n  - local: .gitlab/reconciler.yml\n"
        found[".gitlab/reconciler.yml"] = _filled(top / "gitlab.yml", TEMPLATE=_template(origin), PACKAGE=package)
    return found


def parse_origin(text: str) -> Origin:
    """`https://HOST/OWNER/reconciler@COMMIT`. Raises `UsageError`."""
    match = re.fullmatch(r"(https://[\w.:-]+(?:/[\w.-]+){2,})@([0-9a-f]{40})", text)
    if not match:
        hint = "for example https://github.com/OWNER/reconciler@ and the 40 digits of a commit: tags can be moved"
        raise UsageError(f"{text!r} is not a repository and a commit", hint)
    return Origin(match[1].removesuffix(".git"), match[2])


def guess_ci(folder: Path) -> Ci:
    """What CI the repository of `folder` has, by its files, else by the address of its remote."""
    if (folder / ".github").is_dir():
        return "github"
    if (folder / ".gitlab-ci.yml").exists():
        return "gitlab"
    host = urlsplit(read_source(folder, [], {}).repository or "").hostname or ""
    return "github" if "github" in host else "gitlab" if "gitlab" in host else "none"


def installed_from() -> Origin | None:
    """Where pip has this program from; None for an index, or a folder without a remote."""
    try:
        about = json.loads(distribution("reconciler").read_text("direct_url.json") or "{}")
        url, commit = str(about["url"]), about.get("vcs_info", {}).get("commit_id")
        if url.startswith("file:"):
            source = read_source(Path(unquote(urlsplit(url).path)), [], {})
            url, commit = source.repository or "", source.commit
        return parse_origin(f"{url}@{commit}")
    except (PackageNotFoundError, ValueError, KeyError, AttributeError, UsageError):
        return None


def _action(origin: Origin) -> str:
    return f"{urlsplit(origin.repository).path.strip('/')}@{origin.commit}"


def _template(origin: Origin) -> str:
    parts = urlsplit(origin.repository)
    path = f"{origin.commit}/templates/reconciler.yml"
    if parts.hostname == "github.com":
        return f"https://raw.githubusercontent.com{parts.path}/{path}"
    return f"{origin.repository}/-/raw/{path}"


def _filled(file: Traversable, **values: str) -> bytes:
    text = file.read_text(encoding="utf-8")
    for name, value in {"ENDPOINT": PLATFORM.removesuffix("/v0.5"), **values}.items():
        text = text.replace(f"{{{name}}}", value)
    return text.encode()


def _below(folder: Traversable, prefix: str = "") -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for entry in sorted(folder.iterdir(), key=lambda e: e.name):
        if entry.is_dir():
            found |= _below(entry, f"{prefix}{entry.name}/")
        else:
            found[prefix + entry.name] = entry.read_bytes()
    return found


def _write(path: Path, data: bytes) -> bool:
    """Whether it was written: what is there already stays as it is."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with path.open("xb") as file:
            file.write(data)
    except FileExistsError:
        return False
    return True
