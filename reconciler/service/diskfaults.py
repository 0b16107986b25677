"""Errors of the disk → answers over HTTP. What a client was told is done is done; this is about what was not."""

from __future__ import annotations

import errno
import sqlite3

from reconciler.service.errors import ApiError, refuse

_PAUSE = 5  # seconds that a client is asked to wait before it tries again
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_UNAVAILABLE = frozenset(
    {
        errno.EROFS,
        errno.EACCES,
        errno.EPERM,
        errno.EIO,
        errno.ESTALE,
        errno.ENODEV,
        errno.ENXIO,
        errno.ENOTCONN,  # a FUSE file system whose process died
        errno.EMFILE,
        errno.ENFILE,
    }
)
# A damaged file (SQLITE_CORRUPT, SQLITE_NOTADB) is not here: to ask again does not help, a person has to look.
_SQLITE_UNAVAILABLE = frozenset(
    {
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_READONLY,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_PROTOCOL,
    }
)


def disk_fault(error: BaseException) -> ApiError | None:
    """The answer to a request that `error` ended; None when it is no error of the disk."""
    if isinstance(error, sqlite3.Error):
        code = getattr(error, "sqlite_errorcode", None)  # errors of the module itself have none
        if code is None:
            return None
        name, primary = error.sqlite_errorname, code & 0xFF  # the rest is the extended code
        if primary == sqlite3.SQLITE_FULL:
            return _full(name)
        return _unavailable(name) if primary in _SQLITE_UNAVAILABLE else None
    if isinstance(error, OSError) and error.errno is not None:
        name = errno.errorcode.get(error.errno, str(error.errno))
        if error.errno in _FULL:
            return _full(name)
        return _unavailable(name) if error.errno in _UNAVAILABLE else None
    return None


def _full(name: str) -> ApiError:
    return refuse(
        507,
        "storage_full",
        f"the disk of the service is full ({name}); nothing was stored",
        "try again when there is room",
    )


def _unavailable(name: str) -> ApiError:
    return refuse(
        503,
        "storage_unavailable",
        f"the service cannot use its disk now ({name})",
        "try again later",
        retry_after=_PAUSE,
    )
