"""Becomes a worker: `launcher.py PARENT LIMITS COMMAND…`, run by the bare interpreter, before anything else.

It makes the system end the worker when the service dies, and sets the limits of the pipeline. Doing that here, and not
between fork and exec in the service, keeps the service free to have threads.
"""

import ctypes
import json
import os
import resource
import signal
import sys

_PR_SET_PDEATHSIG = 1
_NAMES = {
    "memory": resource.RLIMIT_AS,
    "cpu": resource.RLIMIT_CPU,
    "file": resource.RLIMIT_FSIZE,
    "open_files": resource.RLIMIT_NOFILE,
    "core": resource.RLIMIT_CORE,
}


def main() -> None:
    parent, limits, command = int(sys.argv[1]), json.loads(sys.argv[2]), sys.argv[3:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit(3)  # the service has died already
    for name, most in limits.items():
        _, hard = resource.getrlimit(_NAMES[name])
        value = most if hard == resource.RLIM_INFINITY else min(most, hard)
        # A worker that reaches the soft limit of time is told so by SIGXCPU, at the hard one it is killed untold.
        resource.setrlimit(
            _NAMES[name], (value, value + 5 if name == "cpu" and hard == resource.RLIM_INFINITY else value)
        )
    # Python ignores these two for itself; the worker is to start as any program does
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    try:
        os.execvp(command[0], command)  # noqa: S606 - this is what the pipeline is for
    except OSError as error:
        fault = {
            "code": "worker_not_started",
            "message": f"the command {command[0]!r} of the pipeline cannot be started: {error.strerror}",
            "suggestion": "check the command in the pipeline's pipeline.yaml",
            "details": {},
        }
        print(json.dumps({"type": "error", "error": fault}), flush=True)  # noqa: T201 - a line of the protocol
        sys.exit(127)


main()
