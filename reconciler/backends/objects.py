"""A register in one object of a bucket, of S3, Google or Azure. Each write names the version that it replaces."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from reconciler.address import Address
from reconciler.backends.bucketfaults import PREFIX, fault, refuse_open, said, unusable
from reconciler.backends.register import Document, Found, Limits, Lost, Unsure, decode, encode
from reconciler.errors import ReconcilerError, StateError, StateUnavailable, UsageError

_CONNECTED = 10.0  # seconds until there is a connection
_OF_THE_CLIENT = ("ALLOW_HTTP", "ALLOW_INVALID_CERTIFICATES", "PROXY_URL", "PROXY_CA_CERTIFICATE", "PROXY_EXCLUDES",
                  "TIMEOUT", "CONNECT_TIMEOUT")  # fmt: skip
"""Variables that the library does not read where it is told how long to wait."""


class ObjectRegister:
    """The object at `address`. Credentials are those that the environment has."""

    def __init__(self, address: Address, environ: Mapping[str, str], limits: Limits) -> None:
        try:
            import obstore
            from obstore.store import from_url
        except ModuleNotFoundError as error:
            hint = "install it: pip install 'reconciler[buckets]'"
            raise UsageError(
                f"a state in a bucket needs obstore, which is not installed (no {error.name})", hint
            ) from error
        self._address, self._objects, self._reached = address, obstore, False
        refuse_open(address, environ)
        prefix = PREFIX[address.scheme]
        given = {name.lower(): value for name in _OF_THE_CLIENT if (value := environ.get(f"{prefix}_{name}"))}

        def patient(seconds: float) -> Any:
            waits: dict[str, Any] = {
                "timeout": timedelta(seconds=seconds),
                "connect_timeout": timedelta(seconds=min(seconds, _CONNECTED)),
            }
            # A write that is tried again after a lost answer would be refused as if somebody else had written.
            how: Any = {"client_options": waits | given, "retry_config": {"max_retries": 0}}
            return from_url(f"{address.scheme}://{address.place}", **how)

        try:
            self._reads, self._writes = patient(limits.read), patient(limits.write)
        except Exception as error:
            raise unusable(address, error) from error

    def __str__(self) -> str:
        return str(self._address)

    def read(self) -> Found:
        try:
            got = self._objects.get(self._reads, self._address.key)
            data, mark = bytes(got.bytes()), {k: got.meta[k] for k in ("e_tag", "version") if got.meta.get(k)}
        except FileNotFoundError as error:
            if "NoSuchBucket" in str(error):
                hint = "make it, or see that name and region are right: reconciler makes no buckets"
                raise StateError(f"the state {self} cannot be read: there is no such bucket", hint) from error
            self._reached = True
            return Found(Document())
        except Exception as error:
            raise self._failed("read", error) from error
        self._reached = True
        if not mark:
            raise StateError(f"the state {self} is in a place that marks no versions, so it cannot be shared safely")
        return Found(decode(data, str(self)), mark)

    def swap(self, found: Found, document: Document, message: str) -> Found:
        from obstore.exceptions import AlreadyExistsError, NotSupportedError, PreconditionError

        try:
            mode: Any = found.mark or "create"
            put = self._objects.put(self._writes, self._address.key, encode(document), mode=mode, use_multipart=False)
        except (AlreadyExistsError, PreconditionError, FileNotFoundError) as error:
            raise Lost(said(error)) from error
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

    def _failed(self, what: str, error: Exception) -> ReconcilerError:
        return fault(self._address, what, error, reached=self._reached)
