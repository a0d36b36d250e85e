"""Where messages may go, checked before anything is kept; and how an address is shown."""

from __future__ import annotations

import re
from ipaddress import ip_address
from urllib.parse import SplitResult, parse_qsl, urlsplit

from fedops.core.contracts import MailServer
from fedops.core.errors import Invalid
from fedops.core.redaction import names_a_secret
from fedops.server_urls import is_host, is_loopback

_MAIL = re.compile(r"[^\s\x00-\x1f@<>,;:\"'()\\[\]]+@[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?")
#: Of a secret URL so much is shown.
_SHOWN = 4


def require_web_address(url: str, *, unencrypted: bool) -> None:
    """``Invalid`` unless messages may be sent to this URL, which is kept and shown."""
    parts = _require_url(url, "the address of a webhook", unencrypted=unencrypted)
    secret = [name for name, _ in parse_qsl(parts.query) if names_a_secret(name)]
    if secret:
        raise Invalid(
            f"the address holds a secret ('{secret[0]}'), and it would be stored and shown: "
            "if the service takes messages as Slack does, make a channel of the kind 'slack'"
        )


def require_secret_url(url: str, *, unencrypted: bool) -> None:
    """``Invalid`` unless messages may be sent to this URL, which is a secret and is not repeated."""
    if not url:
        raise Invalid("a Slack channel needs its URL, as the secret: Slack shows it once")
    _require_url(url, "the secret URL", unencrypted=unencrypted)


def _require_url(url: str, what: str, *, unencrypted: bool) -> SplitResult:
    try:
        parts = urlsplit(url)
        host, sound = parts.hostname or "", parts.port != 0
    except ValueError:
        raise Invalid(f"{what} is no URL; it looks like https://HOST/PATH") from None
    if parts.scheme not in ("https", "http") or not is_host(host) or not sound:
        raise Invalid(f"{what} is no URL; it looks like https://HOST/PATH")
    if parts.username is not None or parts.password is not None:
        raise Invalid(f"{what} must not hold a user or a password: it would be stored and shown")
    if parts.fragment or re.search(r"[\s\x00-\x1f]", url):
        raise Invalid(f"{what} must hold no space and no '#'")
    if parts.scheme == "http" and not (unencrypted or is_near(host)):
        raise Invalid(
            f"{what} begins with http://: whoever is on the way to {host} could read the messages; use "
            "https://, or allow it with 'unencrypted'"
        )
    return parts


def require_mail(mail: MailServer, *, has_password: bool, unencrypted: bool) -> None:
    """``Invalid`` unless mail may be handed in there, to these addresses."""
    if not is_host(mail.host):
        raise Invalid(f"'{mail.host}' is no name and no address of a mail server")
    for one in (mail.sender, *mail.to):
        if not _MAIL.fullmatch(one):
            raise Invalid(f"'{one[:80]}' is no e-mail address; it looks like name@example.org")
    if has_password and not mail.user:
        raise Invalid("there is a password and no user: name the user of the mail account")
    if mail.security == "none" and not (unencrypted or is_near(mail.host)):
        raise Invalid(
            f"security 'none' sends everything in the clear to {mail.host}: use starttls or tls, "
            "or allow it with 'unencrypted'"
        )


def is_near(host: str) -> bool:
    """Whether it is this machine or an address of a private network. A name is not looked up."""
    if is_loopback(host):
        return True
    try:
        return ip_address(host.strip("[]")).is_private
    except ValueError:
        return False


def shown_secret(url: str) -> str:
    """A secret URL as it may be shown: its host and its last letters."""
    return f"{urlsplit(url).hostname}, …{url[-_SHOWN:]}"


def shown_mail(mail: MailServer) -> str:
    """``ops@example.org and 2 more``."""
    more = len(mail.to) - 1
    return mail.to[0] if not more else f"{mail.to[0]} and {more} more"
