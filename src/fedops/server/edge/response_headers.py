"""What a browser is told with each answer: whose scripts run, who may frame the page, how to come back."""

from __future__ import annotations

from starlette.types import Message, Scope, Send

#: Of the API: there is nothing to run and nothing to load.
API_POLICY = "default-src 'none'; frame-ancestors 'none'"
#: Of the page that documents the API: its own styles.
REFERENCE_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
#: Of the pages: scripts, styles and pictures are files of this server; nothing stands in the page itself.
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'; "
    "object-src 'none'"
)
_ALWAYS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"same-origin"),  # with less, a browser calls the origin of a form "null"
    (b"cross-origin-opener-policy", b"same-origin"),
    (b"cross-origin-resource-policy", b"same-origin"),
)
_NO_PAGES = ("/api/", "/health", "/ca.pem", "/simple/", "/metrics")
_TLS = (b"strict-transport-security", b"max-age=31536000")


def policy_of(path: str) -> str:
    """The content security policy of what is at a path."""
    if path == "/api/docs":
        return REFERENCE_POLICY
    return API_POLICY if path.startswith(_NO_PAGES) else PAGE_POLICY


def with_headers(scope: Scope, send: Send) -> Send:
    """``send`` that adds them where the answer has none of its own."""
    added = [*_ALWAYS, (b"content-security-policy", policy_of(scope["path"]).encode())]
    if scope["scheme"] in ("https", "wss"):
        added.append(_TLS)

    async def send_more(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = list(message.get("headers", []))
            have = {name.lower() for name, _ in headers}
            headers += [one for one in added if one[0] not in have]
            message = {**message, "headers": headers}
        await send(message)

    return send_more
