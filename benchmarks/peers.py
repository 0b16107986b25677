"""Other tools that do some of the same work, each installed into an environment of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from benchmarks.fleet import specs
from benchmarks.measure import ROOT, Command, told

_SCHEMA = ROOT / "schemas" / "spec.schema.json"


@dataclass(frozen=True, slots=True)
class Peer:
    """An installed tool: its name with its version, and the folder of its programs."""

    name: str
    programs: Path


def installed(package: str, folder: Path | None) -> Peer | None:
    """Install `package` from the registry into an environment below `folder`; None when it cannot be had, or there is
    no folder.
    """
    if folder is None:
        return None
    home = folder / package
    python = home / "bin" / "python"
    if not python.exists():
        told(f"installing {package}")
        subprocess.run([sys.executable, "-m", "venv", home], check=True)
        got = subprocess.run([python, "-m", "pip", "install", "--quiet", package], capture_output=True, check=False)
        if got.returncode:
            return None
    version = f"import importlib.metadata as m; print(m.version({package!r}))"
    said = subprocess.run([python, "-c", version], capture_output=True, text=True, check=False)
    return Peer(f"{package} {said.stdout.strip()}", home / "bin") if said.returncode == 0 else None


def check_jsonschema(peer: Peer, folder: Path) -> Command:
    """Check all specs in `folder` against the schema of specs."""
    files = sorted(str(path) for path in (folder / "specs").rglob("*.yaml"))
    return Command((str(peer.programs / "check-jsonschema"), "--schemafile", str(_SCHEMA), *files), folder)


def octodns(peer: Peer, folder: Path, number: int) -> Command:
    """A plan that changes nothing: so many records in YAML against the same records in YAML, one zone."""
    for side in ("wanted", "there"):
        (folder / side).mkdir(parents=True)
        records = {
            spec.name: {"type": "TXT", "ttl": 300, "values": [json.dumps(spec.request)[:200].replace(";", ",")]}
            for spec in specs(number)
        }
        (folder / side / "fleet.test.yaml").write_text(yaml.dump(records, Dumper=yaml.CSafeDumper))
    provider = {"class": "octodns.provider.yaml.YamlProvider", "default_ttl": 300, "enforce_order": False}
    config = {
        "providers": {side: {**provider, "directory": str(folder / side)} for side in ("wanted", "there")},
        "zones": {"fleet.test.": {"sources": ["wanted"], "targets": ["there"]}},
    }
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return Command((str(peer.programs / "octodns-sync"), "--config-file", str(folder / "config.yaml")), folder)


def ansible(peer: Peer, folder: Path, url: str, bodies: Sequence[dict[str, object]]) -> Command:
    """Submit jobs by the module `uri`, one after the other, as a loop in a playbook does."""
    folder.mkdir(parents=True)
    task = {
        "name": "submit",
        "ansible.builtin.uri": {
            "url": f"{url}/batch/jobs",
            "method": "POST",
            "body_format": "json",
            "body": "{{ item }}",
            "headers": {"Authorization": "Bearer sk_bench"},
            "status_code": [200, 201],
        },
        "loop": list(bodies),
        "loop_control": {"label": "{{ item.name }}"},
    }
    play = [{"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": [task]}]
    (folder / "play.yaml").write_text(yaml.safe_dump(play))
    interpreter = f"ansible_python_interpreter={peer.programs / 'python'}"
    argv = (str(peer.programs / "ansible-playbook"), "-i", "localhost,", "-e", interpreter, str(folder / "play.yaml"))
    return Command(argv, folder, {"ANSIBLE_HOME": str(folder / "home"), "ANSIBLE_LOCALHOST_WARNING": "false"})
