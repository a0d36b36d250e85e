"""Sends a message by HTTP: one POST, within a time, to the address that was given and no other."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Mapping

import httpx

from fedops.api_client.proxies import ENVIRONMENT, proxy_for
from fedops.core.printable import printable
from fedops.server.notifications.retrying import Outcome, outcome_of_answer

#: For all of a try: looking up the name, connecting, sending, the answer. Seconds.
SECONDS = 10.0
#: So much of an answer is read: it is only shown.
_MOST_BYTES = 2_000
_SHOWN = 200


def post(url: str, body: bytes, headers: Mapping[str, str], seconds: float = SECONDS) -> Outcome:
    """POST a JSON document. Redirects are not followed, certificates are checked."""
    try:
        return asyncio.run(_within(url, body, headers, seconds))
    except TimeoutError:
        return Outcome(False, f"it did not answer within {seconds:.0f} s")
    except httpx.TimeoutException:
        return Outcome(False, f"it did not answer within {seconds:.0f} s")
    except (httpx.TransportError, OSError, ssl.SSLError) as error:
        why = printable(str(error))[:_SHOWN] or type(error).__name__
        return Outcome(False, f"it cannot be reached: {why}")


async def _within(url: str, body: bytes, headers: Mapping[str, str], seconds: float) -> Outcome:
    return await asyncio.wait_for(_post(url, body, headers, seconds), seconds)


async def _post(url: str, body: bytes, headers: Mapping[str, str], seconds: float) -> Outcome:
    # By the transport alone: a client logs the URL, which may be a secret, and knows cookies and redirects.
    # Reading all authorities takes a while, and http:// has no use for them.
    verify = ssl.create_default_context() if url.startswith("https:") else False
    transport = httpx.AsyncHTTPTransport(
        verify=verify, proxy=proxy_for(url, ENVIRONMENT), retries=0
    )
    request = httpx.Request(
        "POST",
        url,
        content=body,
        headers={
            "Content-Type": "application/json",
            "User-Agent": "FedOps",
            "Connection": "close",
            **headers,
        },
        extensions={"timeout": httpx.Timeout(seconds).as_dict()},
    )
    async with transport:
        answer = await transport.handle_async_request(request)
        try:
            text = await _beginning(answer) if not answer.is_success else ""
        finally:
            await answer.aclose()
        retry_after = answer.headers.get("retry-after", "")
        return outcome_of_answer(answer.status_code, text, retry_after)


async def _beginning(answer: httpx.Response) -> str:
    """The first of what a receiver says, as one line of text."""
    data = b""
    async for block in answer.aiter_raw():
        data += block
        if len(data) >= _MOST_BYTES:
            break
    text = printable(data[:_MOST_BYTES].decode("utf-8", "replace"))
    return " ".join(text.split())[:_SHOWN]
