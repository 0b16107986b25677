"""The platform's batch API as this tool uses it. The only package that speaks HTTP out.

`transport` sends requests and decides what may be sent again, `wire` turns answers into nouns, `api` has the calls.
"""

from reconciler.client.api import Client, Made, Refused, Submission, Unknown
from reconciler.client.transport import Transport, normalise_endpoint

__all__ = ["Client", "Made", "Refused", "Submission", "Transport", "Unknown", "normalise_endpoint"]
