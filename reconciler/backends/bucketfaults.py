"""What is wrong when a bucket cannot be used: what to set, and whether it is worth trying again."""

from __future__ import annotations

import re
from collections.abc import Mapping

from reconciler.address import Address
from reconciler.errors import ReconcilerError, StateError, StateUnavailable, UsageError
from reconciler.text import one_line

PREFIX = {"s3": "AWS", "gs": "GOOGLE", "az": "AZURE"}
"""How the names of the variables begin."""
_SET = {
    "s3": "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY (and AWS_SESSION_TOKEN, when they are temporary); a profile "
    'of the aws command is not read, eval "$(aws configure export-credentials --format env)" sets what it has',
    "gs": "set GOOGLE_APPLICATION_CREDENTIALS to the file of a key, or run 'gcloud auth application-default login'",
    "az": "set AZURE_STORAGE_ACCOUNT_NAME, and AZURE_STORAGE_ACCOUNT_KEY or AZURE_STORAGE_SAS_TOKEN, "
    "or AZURE_CLIENT_ID, AZURE_CLIENT_SECRET and AZURE_TENANT_ID",
}
_MAY = {
    "s3": "s3:GetObject, s3:PutObject and s3:ListBucket",
    "gs": "storage.objects.get, storage.objects.create and storage.objects.delete",
    "az": "the role Storage Blob Data Contributor",
}
_ENDPOINTS = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
_AGAIN = "check that it is there, and run the command again; --timeout gives it longer"
_TRUE = ("1", "true", "on", "yes", "y")
_MACHINE = re.compile(r"/latest/(?:api/token|meta-data)|/computeMetadata/|/metadata/identity/")
"""Where the machine is asked for the credentials of its role: nothing else has any."""
_FORGED = re.compile(r"InvalidAccessKeyId|SignatureDoesNotMatch|ExpiredToken|InvalidToken|InvalidClientTokenId|"
                     r"InvalidAuthenticationInfo|AuthenticationFailed|UnrecognizedClient|401 Unauthorized")  # fmt: skip
_REGION = re.compile(r"redirect without LOCATION|PermanentRedirect|AuthorizationHeaderMalformed|IllegalLocation")
_FINAL = re.compile(r"status code: 4(?!08|25|29)\d\d")
"""An answer that the next try gets as well."""
_XML = re.compile(r"<Code>([^<]+)</Code>(?:.*?<Message>([^<]+)</Message>)?", re.DOTALL)


def refuse_open(address: Address, environ: Mapping[str, str]) -> None:
    """Raises `UsageError` for an endpoint without encryption that nobody has allowed: the library names no reason."""
    name = next((name for name in _ENDPOINTS if environ.get(name)), None)
    allowed = environ.get("AWS_ALLOW_HTTP", "").lower() in _TRUE
    if address.scheme == "s3" and name and environ[name].lower().startswith("http://") and not allowed:
        hint = "give it an https address, or set AWS_ALLOW_HTTP=true if the network is yours"
        raise UsageError(f"the state {address} would travel without encryption, by {name}", hint)


def unusable(address: Address, error: Exception) -> UsageError:
    """The environment says too little, or what cannot be."""
    return UsageError(f"the state {address} cannot be used: {said(error)}", _SET[address.scheme])


def fault(address: Address, what: str, error: Exception, *, reached: bool) -> ReconcilerError:
    """The error that `error` of the library is: the state cannot be `what` (read, written).

    `reached`: the bucket has answered before, so there are credentials.
    """
    from obstore.exceptions import PermissionDeniedError, UnauthenticatedError

    text, scheme = str(error), address.scheme
    message = f"the state {address} cannot be {what}: {said(error)}"
    if _MACHINE.search(text) and not reached:
        why = "the environment has none, and this machine gives none"
        return UsageError(f"there are no credentials for the state {address}: {why}", _SET[scheme])
    if _REGION.search(text):
        return StateError(message, "set AWS_REGION to the region of the bucket")
    if _FORGED.search(text) or isinstance(error, UnauthenticatedError):
        return StateError(message, f"the bucket does not take these credentials: {_SET[scheme]}")
    if isinstance(error, PermissionDeniedError):
        return StateError(message, f"whose credentials these are needs {_MAY[scheme]}; else {_SET[scheme]}")
    if _FINAL.search(text):
        return StateError(message)
    return StateUnavailable(message, _AGAIN)


def said(error: Exception) -> str:
    """What an error of the library says: in the words of the server, else without the inside of its request."""
    text = str(error).strip() or type(error).__name__
    if found := _XML.search(text):
        return one_line(": ".join(filter(None, found.groups())), 300)
    return one_line(text.split("\n")[0], 300)
