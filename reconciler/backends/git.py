"""A register in a ref of a git repository: no branch, no working tree, no hook, and `git log` of it says who did what.

A commit holds the document as files. A change is a commit that is pushed only if the ref is still at the one before.
What one command does is one commit: while it works it puts a newer one in place of its own last one. A command that
changed nothing puts back the commit that it found, and removes the ref where there was none.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path

from reconciler.address import Address
from reconciler.backends.register import Document, Found, Limits, Lost, Unsure, decode_parts
from reconciler.errors import StateError, StateUnavailable, UsageError
from reconciler.text import one_line

_PATIENCE = 120.0  # seconds for a call of git that asks no server
_SETTINGS = ("core.hooksPath=/dev/null", "core.fsmonitor=false", "push.gpgSign=false", "push.recurseSubmodules=no",
             "push.followTags=false", "gc.auto=0", "maintenance.auto=false", "fetch.recurseSubmodules=no")  # fmt: skip
_FILES = {"state": "state.json", "journal": "state.journal", "late": "late.journal"}
_NOTE = "lease.json"
_SILENT = "no answer within"
_NOTHING = ""
"""In place of a commit: the ref is not there."""
_NEVER = re.compile(r"Authentication failed|Permission .*denied|could not read (Username|Password)|not found|"
                    r"does not appear to be a git repository|invalid username|HTTP 40[13]|error: 40[13]|protected|"
                    r"pre-receive hook declined|not allowed|deny updating", re.IGNORECASE)  # fmt: skip
"""What says that trying again is of no use."""


class GitRegister:
    """A ref at a remote, read and pushed with the git of the working directory `root` and its credentials."""

    def __init__(self, address: Address, root: Path, environ: Mapping[str, str], limits: Limits = Limits()) -> None:
        self._address, self._root = address, root
        self._waits = {"ls-remote": limits.read, "fetch": limits.read, "push": limits.write}
        self._remote, self._ref = address.place, address.key
        self._environ = {**environ, "GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0"}
        self._known: dict[str, str] = {}
        self._base: tuple[str | None, Document] = (None, Document())
        self._own: str | None = None
        self._may_amend = True
        self._signed = False

    def __str__(self) -> str:
        return str(self._address)

    def read(self) -> Found:
        for _ in range(8):
            tip = self._tip()
            if tip is None:
                return Found(Document())
            if not self._has(tip):
                self._git("fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--", self._remote, self._ref)
            if self._has(tip):  # else it has moved on between the two
                return Found(self._document(tip), tip)
        raise StateUnavailable(f"the state {self} changes faster than it can be read")

    def swap(self, found: Found, document: Document, message: str) -> Found:
        mine = found.mark is not None and found.mark == self._own
        if not mine:
            self._base = (found.mark, found.document)
        if document.lease is None and self._may_amend and self._is_base(document):
            commit = self._base[0] or _NOTHING
        else:
            commit = self._commit(document, self._base[0] if self._may_amend else found.mark, message)
        refused = self._push(commit, found.mark)
        if refused is None:
            return self._pushed(commit, document)
        tip = self._tip()
        if (tip or _NOTHING) == commit:
            return self._pushed(commit, document)
        if tip != found.mark:
            raise Lost(refused)
        if mine and self._may_amend:  # some servers let no ref go back: then every change is a commit of its own
            self._may_amend = False
            return self.swap(found, document, message)
        if _NEVER.search(refused):
            raise StateError(f"the state {self} cannot be pushed: {refused}", self._hint(refused))
        raise Unsure(refused)

    def _pushed(self, commit: str, document: Document) -> Found:
        self._own = commit if document.lease else None  # what was given back is nobody's to replace
        return Found(document, commit or None)

    def _is_base(self, document: Document) -> bool:
        base = self._base[1]
        return base.lease is None and _content(base) == _content(document)

    def _tip(self) -> str | None:
        """The commit that the ref has at the remote now; None when there is no such ref."""
        for line in self._git("ls-remote", "--quiet", "--", self._remote, self._ref).splitlines():
            commit, _, name = line.partition("\t")
            if name == self._ref and re.fullmatch(r"[0-9a-f]{40,64}", commit):
                return commit
        return None

    def _has(self, commit: str) -> bool:
        return self._run("cat-file", "-e", f"{commit}^{{commit}}").returncode == 0

    def _document(self, commit: str) -> Document:
        files = set(self._git("ls-tree", "--name-only", "-z", commit).split("\0"))
        if _NOTE not in files:
            hint = "give another ref; nothing was changed"
            raise StateError(f"{self} holds no document of reconciler: it has no {_NOTE}", hint)
        try:
            parts = {key: self._file(commit, name) for key, name in _FILES.items() if name in files}
            note = json.loads(self._file(commit, _NOTE))
            return decode_parts({**note, **parts}, str(self))
        except (ValueError, TypeError, RecursionError) as error:
            raise StateError(f"{self} holds no document of reconciler: {error}") from error

    def _file(self, commit: str, name: str) -> str:
        return self._bytes("cat-file", "blob", f"{commit}:{name}").decode()

    def _commit(self, document: Document, parent: str | None, message: str) -> str:
        note = document.model_dump(mode="json", include={"document", "serial", "lease"})
        files = {_NOTE: json.dumps(note, indent=1, ensure_ascii=False) + "\n"}
        files |= {name: text for key, name in _FILES.items() if (text := getattr(document, key))}
        tree = "".join(f"100644 blob {self._blob(text)}\t{name}\n" for name, text in sorted(files.items()))
        made = self._git("mktree", data=tree.encode()).strip()
        self._sign()
        return self._git("commit-tree", made, *(("-p", parent) if parent else ()), data=message.encode()).strip()

    def _blob(self, text: str) -> str:
        """The state is the same from one change to the next, mostly."""
        if text not in self._known:
            if len(self._known) > 8:
                self._known.clear()
            self._known[text] = self._git("hash-object", "-w", "--stdin", data=text.encode()).strip()
        return self._known[text]

    def _sign(self) -> None:
        """Commits are of whoever git knows; a CI runner may have told it nobody."""
        if not self._signed and self._run("var", "GIT_COMMITTER_IDENT").returncode:
            for who in ("AUTHOR", "COMMITTER"):
                self._environ |= {f"GIT_{who}_NAME": "reconciler", f"GIT_{who}_EMAIL": "reconciler@noreply.invalid"}
        self._signed = True

    def _push(self, commit: str, expected: str | None) -> str | None:
        """Push, or remove the ref, if it is at `expected`; what git said when that failed."""
        lease = f"--force-with-lease={self._ref}:{expected or ''}"
        done = self._run("push", "--quiet", "--no-verify", lease, "--", self._remote, f"{commit}:{self._ref}")
        return None if done.returncode == 0 else _said(done)

    def _git(self, *arguments: str, data: bytes = b"") -> str:
        return self._bytes(*arguments, data=data).decode(errors="surrogateescape")

    def _bytes(self, *arguments: str, data: bytes = b"") -> bytes:
        done = self._run(*arguments, data=data)
        if done.returncode:
            said = _said(done)
            self._refuse_elsewhere(said)
            kind = StateError if _NEVER.search(said) else StateUnavailable
            raise kind(f"the state {self} cannot be used: git {arguments[0]}: {said}", self._hint(said))
        return done.stdout

    def _refuse_elsewhere(self, said: str) -> None:
        """Raises `StateError` where there is no repository, or none that has the remote."""
        if "not a git repository" in _said(self._run("rev-parse", "--git-dir")):
            hint = "run the command in the repository of the specs, or with -C in it; or give --state another place"
            message = f"the state {self} is a ref of a git repository, and {self._root} is in none"
            raise StateError(one_line(message), hint)
        remotes = self._run("remote").stdout.decode(errors="replace").split()
        if "does not appear" in said and re.fullmatch(r"[^/:\\]+", self._remote) and self._remote not in remotes:
            hint = f"git remote add {self._remote} URL; or name another remote, or its URL: git:REMOTE"
            if self._remote != "origin":
                hint = f"write a ref as git:refs/reconciler/{self._remote}; or {hint}"
            there = f"has only {', '.join(remotes)}" if remotes else "has no remote"
            message = f"the state {self} is at the remote {self._remote!r}, and this repository {there}"
            raise StateError(one_line(message), one_line(hint))

    def _hint(self, said: str) -> str | None:
        if _NEVER.search(said) and self._environ.get("GITLAB_CI") and not self._environ.get("RECONCILER_PUSH_TOKEN"):
            return "the token of a GitLab job may not push as a rule: set RECONCILER_PUSH_TOKEN, see docs/state.md"
        if _NEVER.search(said):
            return f"git needs a remote {self._remote!r} that it may read and push to, refs below {self._ref} included"
        return "run the command again; --timeout gives it longer" if said.startswith(_SILENT) else None

    def _run(self, *arguments: str, data: bytes = b"") -> subprocess.CompletedProcess[bytes]:
        command = ["git", *(part for setting in _SETTINGS for part in ("-c", setting)), *arguments]
        patience = self._waits.get(arguments[0], _PATIENCE)
        try:
            # A session of its own: Ctrl-C is for us, and a push that is under way is to end in good order.
            process = subprocess.Popen(  # noqa: S603
                command,
                cwd=self._root,
                env=self._environ,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
            )
        except OSError as error:
            raise UsageError(f"the state {self} needs git: {error}") from error
        with process:
            try:
                out, said = process.communicate(data, timeout=patience)
                code = process.returncode
            except subprocess.TimeoutExpired:
                with contextlib.suppress(OSError):
                    os.killpg(process.pid, signal.SIGKILL)  # what git has started may hold the connection for ever
                code, out, said = 1, b"", f"{_SILENT} {patience:g} s".encode()
        return subprocess.CompletedProcess(command, code, out, said)


def _content(document: Document) -> tuple[object, ...]:
    return tuple(getattr(document, key) for key in _FILES)


def _said(done: subprocess.CompletedProcess[bytes]) -> str:
    text = re.sub(r"(?<=://)[^/@\s]+@", "", done.stderr.decode(errors="replace").strip())
    said = "; ".join(line for line in text.splitlines() if line.strip())
    return one_line(said, 1000) or f"it ended with code {done.returncode}"
