"""The floor: walk a folder of specs, read each file, hash it. Nothing that looks at every spec can cost less.

python -m benchmarks.floor FOLDER
"""

from __future__ import annotations

import hashlib
import os
import sys


def floor(folder: str) -> tuple[int, int, str]:
    """The files, their bytes, and one digest over the digests of all, in the order of their paths."""
    files = num_bytes = 0
    whole = hashlib.sha256()
    for top, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            with open(os.path.join(top, name), "rb") as file:  # noqa: PTH118, PTH123 - pathlib would be half of it
                data = file.read()
            whole.update(hashlib.sha256(data).digest())
            files += 1
            num_bytes += len(data)
    return files, num_bytes, whole.hexdigest()


if __name__ == "__main__":
    print(*floor(sys.argv[1]))
