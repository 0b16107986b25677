"""Runs the work of a place on a machine of a cluster: `supervisor.py batch|index FOLDER LEASE`, with no other module.

`batch` claims the place, waits until the service lets it begin, and starts the indexes; `index` runs one of them. A
claim is made once: whoever finds one has been started a second time and ends. Whoever finds that the place is revoked,
or cannot say for LEASE seconds that he lives, kills his worker and ends: by then the service has given the place up,
and somebody else may be at the work.

The exit status is for Slurm's record: 0 when the workers have said that all is done, however they ended after that.
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

sys.path.append(str(Path(__file__).parents[3]))  # the bare interpreter does not know where it is

from reconciler.service.engines import places

LAUNCHER = Path(__file__).with_name("launcher.py")
NOT_MINE = 76  # exit status: there was nothing to do, or nothing any more
SIGNALLED = 2.0  # seconds between a signal to the worker and the same to its supervisor
LOOK = 0.1  # seconds between looks for what is to be done
LINGER = 5.0  # seconds that who was revoked because its user asked for it waits to be cancelled in Slurm, too
_TAIL = 1 << 20  # bytes; no line of the protocol is longer
_REVOKED = "revoked"


class Stop:
    """Whether to stop, and why. Says meanwhile that this process lives.

    A thread touches the shared folder, which may hang; whoever asks only looks at what the thread has found.
    """

    def __init__(self, folder: Path, beat: Path, lease: float) -> None:
        self.why: str | None = None
        self.told = False  # by a signal
        self._folder = folder
        self._beat = beat
        self._lease = lease
        self._said = time.monotonic()
        self._count = 0
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._signalled)
        self._say()
        self._check()
        threading.Thread(target=self._live, daemon=True).start()

    def _stop(self, why: str) -> None:
        self.why = self.why or why

    def _signalled(self, *_: object) -> None:
        self.told = True
        self._stop("told to")

    def _live(self) -> None:
        while True:
            time.sleep(min(LOOK, self._lease / 4))
            self._check()
            if time.monotonic() - self._said > min(1.0, self._lease / 4):
                self._say()

    def _check(self) -> None:
        if not self._folder.is_dir() or (self._folder / places.REVOKED).exists():
            self._stop(_REVOKED)

    def _say(self) -> None:
        self._count += 1
        began = time.monotonic()
        with contextlib.suppress(OSError):
            places.write(self._beat, f"{socket.gethostname()} {os.getpid()} {self._count}", lasting=False)
            self._said = began

    def look(self) -> bool:
        """Whether to stop now."""
        if time.monotonic() - self._said > self._lease / 2:
            self._stop("the shared folder could not be written for too long")
        return self.why is not None

    @property
    def gently(self) -> bool:
        """Whether all that is to stop sees it by itself."""
        return self.why == _REVOKED and not self.told


def batch(folder: Path, lease: float) -> int:
    """Claim the place and see it to its end."""
    try:
        (folder / places.CLAIM).mkdir()
    except (FileExistsError, FileNotFoundError):
        return NOT_MINE
    stop = Stop(folder, folder / places.CLAIM / places.BEAT, lease)
    owner = {"id": os.environ.get("SLURM_JOB_ID", ""), "host": socket.gethostname(), "pid": os.getpid()}
    places.write(folder / places.OWNER, owner)
    granted = None
    while granted is None and not stop.look():
        time.sleep(LOOK)
        granted = places.read(folder / places.GRANTED)
    status = NOT_MINE
    if granted is not None and not stop.look():
        many = granted["indexes"] > 1
        status = _gang(folder, lease, granted["indexes"], stop) if many else _worker(folder, 0, stop)
    with contextlib.suppress(OSError):
        places.write(folder / places.OVER, {"stopped": stop.why, "status": status})
    _linger(folder, stop)
    return status


def _linger(folder: Path, stop: Stop) -> None:
    """Nothing works here any more. Whoever ends before it is cancelled is a failure to Slurm."""
    revoked = places.read(folder / places.REVOKED)
    until = time.monotonic() + LINGER
    while revoked and revoked["asked"] and not stop.told and time.monotonic() < until:
        time.sleep(LOOK)


def _gang(folder: Path, lease: float, indexes: int, stop: Stop) -> int:
    """All indexes at the same time, on as many machines as it takes. To end `srun` makes the job a failure to Slurm,
    so when the place is revoked each index gets its time to see that.
    """
    command = ["srun", f"--ntasks={indexes}", "--kill-on-bad-exit=0", "--quiet"]
    itself = [sys.executable, "-I", "-S", __file__, "index", str(folder), str(lease)]
    srun = subprocess.Popen([*command, *itself], stdin=subprocess.DEVNULL)  # noqa: S603
    told, until = False, 0.0
    while srun.poll() is None:
        time.sleep(LOOK)
        if not stop.look():
            until = time.monotonic() + lease / 2
        elif not told and not (stop.gently and time.monotonic() < until):
            told = True
            srun.terminate()
    return srun.returncode


def index(folder: Path, lease: float) -> int:
    """One index of several, which Slurm has given its number."""
    number = int(os.environ["SLURM_PROCID"])
    return _worker(folder, number, Stop(folder, folder / str(number) / places.BEAT, lease))


def _worker(folder: Path, number: int, stop: Stop) -> int:
    """Start the worker of the index, wait for its end and say what that was."""
    home = folder / str(number)
    if stop.look():
        with contextlib.suppress(OSError):
            places.write(home / places.ENDED, {"status": NOT_MINE, "stopped": True})
        return NOT_MINE
    start = places.read(home / places.START)
    with (home / "stdout").open("ab") as stdout, (home / "stderr").open("ab") as stderr:
        worker = subprocess.Popen(  # noqa: S603 - this is what the pipeline is for
            [sys.executable, "-I", "-S", str(LAUNCHER), str(os.getpid()), start["limits"], *start["command"]],
            stdin=subprocess.PIPE,
            stdout=stdout,
            stderr=stderr,
            cwd=home / "work",
            env=start["environment"],
            start_new_session=True,
        )
    with contextlib.suppress(BrokenPipeError):
        assert worker.stdin is not None
        worker.stdin.write(json.dumps(start["greeting"]).encode() + b"\n")
        worker.stdin.flush()
    while worker.poll() is None and not stop.look():
        with contextlib.suppress(subprocess.TimeoutExpired):
            worker.wait(LOOK)
    stopped = worker.poll() is None or _told_as_well(stop, worker.returncode)
    # The group may have others in it when its leader has ended
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(worker.pid, signal.SIGKILL)
    worker.wait()
    with contextlib.suppress(OSError):
        places.write(home / places.ENDED, {"status": worker.returncode, "stopped": stopped})
    last = _last_word(home / "stdout")
    if last is not None:
        return 0 if last == "done" else 1  # how it ended after that does not count
    return worker.returncode if 0 <= worker.returncode < 128 else 1


def _last_word(said: Path) -> str | None:
    """Whether the worker said `done`, or `error`, near its end; what it says after the first of them does not count."""
    with contextlib.suppress(OSError), said.open("rb") as file:
        file.seek(max(0, said.stat().st_size - _TAIL))
        lines = [line for line in file.read().splitlines() if b'"done"' in line or b'"error"' in line]
        return next((kind for kind in map(_kind, lines) if kind in ("done", "error")), None)
    return None


def _kind(line: bytes) -> str | None:
    try:
        said = json.loads(line)
    except ValueError:
        return None
    return said.get("type") if isinstance(said, dict) else None


def _told_as_well(stop: Stop, status: int) -> bool:
    """Whether the worker ended because all processes here are being ended: Slurm signals every one, in any order."""
    until = time.monotonic() + (SIGNALLED if status < 0 else 2 * LOOK)
    while not stop.told and time.monotonic() < until:
        time.sleep(LOOK / 2)
    return stop.told


def main() -> None:
    role, folder, lease = sys.argv[1], Path(sys.argv[2]), float(sys.argv[3])
    sys.exit(batch(folder, lease) if role == "batch" else index(folder, lease))


main()
