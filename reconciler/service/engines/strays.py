"""Processes that workers left behind: found by a mark in their environment, which children inherit."""

from __future__ import annotations

import logging
import time

import psutil

_log = logging.getLogger(__name__)
MARK = "BATCH_RUN"
_ROUNDS = 50  # a process may fork while we look; after so many rounds we say that we lost


def marked(prefix: str) -> list[psutil.Process]:
    """The processes whose mark is `prefix` or begins with it and a slash."""
    found = []
    for process in psutil.process_iter():
        try:
            mark = process.environ().get(MARK, "")
            gone = process.status() == psutil.STATUS_ZOMBIE
        except psutil.Error:
            continue  # it ended meanwhile, or belongs to somebody else
        if not gone and (mark == prefix or mark.startswith(prefix + "/")):
            found.append(process)
    return found


def kill(prefix: str) -> int:
    """Kill them all, and say how many there were. Blocks until they are gone."""
    killed = 0
    for attempt in range(_ROUNDS):
        processes = marked(prefix)
        if not processes:
            return killed
        for process in processes:
            try:
                process.kill()
                killed += 1
            except psutil.Error:
                continue
        if attempt:
            time.sleep(0.01)
    _log.error("processes of %s do not end", prefix)
    return killed
