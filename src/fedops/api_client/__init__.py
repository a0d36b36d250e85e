"""Typed clients of the Server Manager's REST API, one for each who calls it.

The CLI, the Client Manager and the round engine all speak through them. Every failure is one of the five
kinds of ``core.errors``; a server that cannot be reached is ``Unavailable``.
"""

from fedops.api_client.blobs import BlobClient, DigestMismatch, OffsetMismatch, Upload
from fedops.api_client.certificates import (
    Untrusted,
    fetch_authority,
    parse_authorities,
    trust,
    trust_pem,
)
from fedops.api_client.device import DeviceClient, JoinClient, WorkClient
from fedops.api_client.engine import EngineClient
from fedops.api_client.operator import OperatorClient
from fedops.api_client.proxies import proxy_for, without_credentials
from fedops.api_client.transport import (
    LONG_POLL_SECONDS,
    PREFIX,
    OtherVersion,
    TryLater,
    Unreachable,
    Verify,
    blocks_of,
)

__all__ = [
    "LONG_POLL_SECONDS",
    "PREFIX",
    "BlobClient",
    "DeviceClient",
    "DigestMismatch",
    "EngineClient",
    "JoinClient",
    "OffsetMismatch",
    "OperatorClient",
    "OtherVersion",
    "TryLater",
    "Unreachable",
    "Untrusted",
    "Upload",
    "Verify",
    "WorkClient",
    "blocks_of",
    "fetch_authority",
    "parse_authorities",
    "proxy_for",
    "trust",
    "trust_pem",
    "without_credentials",
]
