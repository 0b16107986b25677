"""The platform's batch API as this tool uses it. The only package that speaks HTTP out.

`transport` sends requests and decides what may be sent again, `wire` turns answers into nouns, `api` has the calls.
"""

from typing import TYPE_CHECKING, Any

from reconciler.client.address import normalise_endpoint

if TYPE_CHECKING:
    from reconciler.client.api import Client, Made, Refused, Submission, Unknown
    from reconciler.client.transport import Transport

__all__ = ["Client", "Made", "Refused", "Submission", "Transport", "Unknown", "normalise_endpoint"]


def __getattr__(name: str) -> Any:
    """The HTTP library takes long to import, and a plan often needs no platform: only what is asked for is imported."""
    if name not in __all__:
        raise AttributeError(name)
    from importlib import import_module

    module = "transport" if name == "Transport" else "api"
    return getattr(import_module(f"reconciler.client.{module}"), name)
