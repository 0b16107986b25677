"""A Slurm cluster of two nodes on this machine, for tests and for trying things out: `cluster.py FOLDER`.

It needs Debian's slurmctld, slurmd, slurm-client and munge, but no root, no systemd and no configuration outside of its
folder. All daemons run as whoever starts it, listen on loopback, and trust a key that is made here.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from getpass import getuser
from pathlib import Path

import psutil

DEADLINE = 60.0  # seconds; it only bounds what fails
NODES = ("n1", "n2")
_PORTS = range(10_240, 32_768)  # the system gives those above to connections, also while a daemon is not there
_DAEMON = "CLUSTER_DAEMON"  # in the environment of what a daemon starts: its name
_NEEDED = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scontrol", "scancel", "srun")
_CONF = """
ClusterName=loopback
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort={ports[slurmctld]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=5
CredType=cred/munge
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=1,batch_sched_delay=0,sched_min_interval=100000
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
JobRequeue=1
KillWait=5
MinJobAge=300
ReturnToService=2
SlurmdTimeout=10
SlurmctldTimeout=10
MessageTimeout=10
SlurmdParameters=config_overrides
NodeName=n1 NodeHostname=localhost NodeAddr=127.0.0.1 Port={ports[n1]} CPUs={cpus} RealMemory=200000
NodeName=n2 NodeHostname=localhost NodeAddr=127.0.0.1 Port={ports[n2]} CPUs={cpus} RealMemory=200000
PartitionName=low Nodes=n1,n2 Default=YES PriorityTier=1 PreemptMode=REQUEUE MaxTime=INFINITE State=UP
PartitionName=high Nodes=n1,n2 PriorityTier=100 PreemptMode=OFF MaxTime=INFINITE State=UP
"""


def missing() -> list[str]:
    """The programs that a cluster needs and that are not installed."""
    return [name for name in _NEEDED if shutil.which(name, path=_path()) is None]


def _path() -> str:
    return f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"


def wait_until(happened: Callable[[], bool], what: Callable[[], object] = str, within: float = DEADLINE) -> None:
    """Wait for it; `what` says what there is instead when it takes too long."""
    deadline = time.monotonic() + within
    while not happened():
        assert time.monotonic() < deadline, what()
        time.sleep(0.05)


@dataclass
class Cluster:
    """The daemons of one cluster; each can be killed and started again."""

    folder: Path
    cpus: int = 2  # of each node, whatever the machine has
    ports: Mapping[str, int] = field(default_factory=dict)
    daemons: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    kept: list[socket.socket] = field(default_factory=list)  # keep other clusters from our ports

    @property
    def environment(self) -> dict[str, str]:
        """What the commands of Slurm need to find this cluster."""
        return {"SLURM_CONF": str(self.folder / "slurm.conf"), "PATH": _path()}

    def start(self) -> None:
        """Write the configuration, start everything and wait until both nodes take work."""
        self.folder.mkdir(parents=True, exist_ok=True)
        for name in ("state", *(f"spool-{node}" for node in NODES)):
            (self.folder / name).mkdir(exist_ok=True, mode=0o755)
        key = self.folder / "munge.key"
        key.write_bytes(secrets.token_bytes(128))
        key.chmod(0o400)
        taken = {name: _take_port() for name in ("slurmctld", *NODES)}
        self.ports = {name: port for name, (port, _) in taken.items()}
        self.kept = [kept for _, kept in taken.values()]
        conf = _CONF.format(folder=self.folder, user=getuser(), cpus=self.cpus, ports=self.ports)
        (self.folder / "slurm.conf").write_text(conf)
        for name in ("munged", "slurmctld", *NODES):
            self.run(name)
            if name == "munged":
                wait_until((self.folder / "munge.socket").exists, self.log)
        wait_until(lambda: self.idle() == len(NODES), self.log)

    def run(self, name: str) -> None:
        """Start the daemon, which does not run now."""
        with (self.folder / f"{name}.out").open("ab") as out:
            self.daemons[name] = subprocess.Popen(
                self._command(name),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                env=os.environ | self.environment | {_DAEMON: name},
                start_new_session=True,
            )

    def _command(self, name: str) -> list[str]:
        if name == "munged":
            files = {
                "key-file": "munge.key",
                "socket": "munge.socket",
                "pid-file": "munge.pid",
                "seed-file": "munge.seed",
                "log-file": "munge.log",
            }
            return ["munged", "--foreground", "--force", *(f"--{key}={self.folder / to}" for key, to in files.items())]
        return ["slurmctld", "-D"] if name == "slurmctld" else ["slurmd", "-D", "-N", name]

    def kill(self, name: str, how: signal.Signals = signal.SIGKILL) -> None:
        """End the daemon and wait until it is gone. What it had started is left alone."""
        daemon = self.daemons.pop(name)
        daemon.send_signal(how)
        daemon.wait(DEADLINE)

    def kill_machine(self, node: str) -> None:
        """End the daemon of the node and all that works there."""
        working = {pid: psutil.Process(pid).children(recursive=True) for pid in self.supervisors(node)}
        self.kill(node)
        for pid, below in working.items():
            for number in (pid, *(each.pid for each in below)):
                with suppress(ProcessLookupError):
                    os.kill(number, signal.SIGKILL)

    def ask(self, *command: str) -> str:
        """What a command of Slurm prints; empty when it fails or hangs."""
        env = os.environ | self.environment
        try:
            done = subprocess.run(command, capture_output=True, text=True, env=env, timeout=15, check=False)
        except subprocess.TimeoutExpired:
            return ""
        return done.stdout if done.returncode == 0 else ""

    def idle(self) -> int:
        """How many nodes have nothing to do."""
        return self.ask("sinfo", "-h", "-N", "-p", "low", "-o", "%T").split().count("idle")

    def up(self) -> bool:
        """Whether the controller answers."""
        return " UP" in self.ask("scontrol", "ping")

    def resume(self) -> None:
        """What an operator does about machines that Slurm has drained since a controller that died gave an id twice."""
        if "Duplicate jobid" in self.ask("sinfo", "-h", "-R", "-o", "%E"):
            for node in NODES:
                self.ask("scontrol", "update", f"NodeName={node}", "State=RESUME")

    def log(self) -> str:
        """The end of each log, for the message of a test that fails."""
        paths = sorted([*self.folder.glob("*.log"), *self.folder.glob("*.out")])
        return "\n".join(f"== {path.name}\n{path.read_text(errors='replace')[-1500:]}" for path in paths)

    def supervisors(self, node: str = "") -> list[int]:
        """The slurmstepd processes of this cluster's jobs, or those on a node; not those that are of no job."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with suppress(OSError):
                    command = (entry / "cmdline").read_bytes().replace(b"\0", b" ")
                    environ = (entry / "environ").read_bytes()
                    mine = str(self.folder).encode() in environ and f"{_DAEMON}={node}".encode() in environ
                    if mine and command.startswith(b"slurmstepd:"):
                        found.append(int(entry.name))
        return found

    def stop(self) -> None:
        """Cancel all jobs, end all daemons."""
        if "slurmctld" in self.daemons:
            self.ask("scancel", "--user", getuser())
            with suppress(AssertionError):
                wait_until(lambda: not self.ask("squeue", "-h"), within=10)
        for name in (*NODES, "slurmctld", "munged"):
            if name in self.daemons:
                self.kill(name, signal.SIGTERM)
        for pid in self.supervisors():  # of jobs that a killed controller no longer knows
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        for each in self.kept:
            each.close()


def _take_port() -> tuple[int, socket.socket]:
    """A port that is free, and what keeps it ours among all clusters of this machine until it is closed."""
    while True:
        port = secrets.choice(_PORTS)
        kept = socket.socket(socket.AF_UNIX)
        try:
            kept.bind(f"\0port {port} of a test cluster")  # a name of Linux's, which needs no file
            with socket.create_server(("127.0.0.1", port)):
                return port, kept
        except OSError:
            kept.close()


@contextmanager
def started(folder: Path, cpus: int = 2) -> Iterator[Cluster]:
    """A cluster that takes work; ended afterwards."""
    cluster = Cluster(folder.resolve(), cpus)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()


def main() -> None:
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else ".reconciler/cluster")
    if lacking := missing():
        sys.exit(f"not installed: {', '.join(lacking)}; apt-get install slurmctld slurmd slurm-client munge")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    with started(folder) as cluster:
        print("Two nodes take work, in the partitions low and high. In another shell:")
        print(f"  export SLURM_CONF={cluster.environment['SLURM_CONF']}")
        print("Stop with Ctrl-C.", flush=True)
        with suppress(KeyboardInterrupt):
            signal.pause()


if __name__ == "__main__":
    main()
