"""A register in one object of a bucket, of S3, Google or Azure. Each write names the version that it replaces."""

from __future__ import annotations

from typing import Any

from reconciler.address import Address
from reconciler.backends.register import Document, Found, Lost, Unsure, decode, encode
from reconciler.errors import StateError, StateUnavailable, UsageError
from reconciler.text import one_line

_HOME = {"s3": "AWS_…", "gs": "GOOGLE_…", "az": "AZURE_…"}


class ObjectRegister:
    """The object at `address`. Credentials are those that the environment has."""

    def __init__(self, address: Address) -> None:
        try:
            import obstore
            from obstore.store import from_url
        except ModuleNotFoundError as error:
            hint = "install it: pip install 'reconciler[buckets]'"
            raise UsageError(
                f"a state in a bucket needs obstore, which is not installed (no {error.name})", hint
            ) from error
        self._address, self._objects = address, obstore
        try:
            # A write that is tried again after a lost answer would be refused as if somebody else had written.
            self._store: Any = from_url(
                f"{address.scheme}://{address.place}",
                retry_config={"max_retries": 0},
            )
        except Exception as error:
            raise UsageError(f"the state {self} cannot be used: {_first_line(error)}") from error

    def __str__(self) -> str:
        return str(self._address)

    def read(self) -> Found:
        try:
            got = self._objects.get(self._store, self._address.key)
            data, mark = bytes(got.bytes()), {k: got.meta[k] for k in ("e_tag", "version") if got.meta.get(k)}
        except FileNotFoundError as error:
            if "NoSuchBucket" in str(error):
                raise StateError(f"the state {self} cannot be read: there is no such bucket") from error
            return Found(Document())
        except Exception as error:
            raise self._failed("read", error) from error
        if not mark:
            raise StateError(f"the state {self} is in a place that marks no versions, so it cannot be shared safely")
        return Found(decode(data, str(self)), mark)

    def swap(self, found: Found, document: Document, message: str) -> Found:
        from obstore.exceptions import AlreadyExistsError, NotSupportedError, PreconditionError

        try:
            mode: Any = found.mark or "create"
            put = self._objects.put(self._store, self._address.key, encode(document), mode=mode, use_multipart=False)
        except (AlreadyExistsError, PreconditionError, FileNotFoundError) as error:
            raise Lost(_first_line(error)) from error
        except NotSupportedError as error:
            raise StateError(
                f"the state {self} is in a place without conditional writes: it cannot be shared"
            ) from error
        except Exception as error:
            failed = self._failed("written", error)
            if isinstance(failed, StateUnavailable):
                raise Unsure(failed.message) from error
            raise failed from error
        return Found(document, {key: put[key] for key in ("e_tag", "version") if put.get(key)})

    def _failed(self, what: str, error: Exception) -> StateError:
        from obstore.exceptions import PermissionDeniedError, UnauthenticatedError

        message = f"the state {self} cannot be {what}: {_first_line(error)}"
        if isinstance(error, (PermissionDeniedError, UnauthenticatedError)):
            return StateError(message, f"the environment must have credentials ({_HOME[self._address.scheme]})")
        return StateUnavailable(message, "run the command again; credentials and region come from the environment")


def _first_line(error: Exception) -> str:
    """What an error of the library says, without the inside of its request."""
    return one_line((str(error).strip() or type(error).__name__).split("\n")[0], 300)
