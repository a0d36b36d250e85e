"""Whether two programs of one device, which may be of different releases, understand each other."""

from __future__ import annotations

import json
from importlib.metadata import version
from typing import Any

from fedops.client.local.messages import LOCAL_PROTOCOL


def why_not_understood(raw: str, who: str) -> str:
    """Why a document that the Client Manager gave its child is of no use; "": it is.

    ``who`` is the child, such as "training client".
    """
    said = _protocol(raw)
    if said == LOCAL_PROTOCOL:
        return ""
    return (
        f"this {who} (FedOps {version('fedops')}) speaks version {LOCAL_PROTOCOL} of the local protocol, and "
        f"the Client Manager that started it version {said}: install the same release of FedOps for both"
    )


def _protocol(raw: str) -> Any:
    try:
        document = json.loads(raw)
    except ValueError:
        return "unknown"
    known = document.get("protocol", LOCAL_PROTOCOL) if isinstance(document, dict) else "unknown"
    return known
