"""The way to a server over a proxy: none unless it is asked for, whatever the environment says."""

from __future__ import annotations

import urllib.request
from urllib.parse import urlsplit

from fedops.core.errors import Invalid

#: The setting that means ``http_proxy``, ``https_proxy``, ``all_proxy`` and ``no_proxy``.
ENVIRONMENT = "environment"
_THIS_MACHINE = ("localhost", "127.0.0.1", "::1")
SCHEMES = ("http", "https", "socks5", "socks5h")


def proxy_for(url: str, setting: str | None) -> str | None:
    """The proxy to a server: the one that the setting names, or that the environment has for this address.

    Raises:
        Invalid: it is no proxy's URL.
    """
    if not setting:
        return None
    proxy = _of_environment(url) if setting == ENVIRONMENT else setting
    if proxy is None:
        return None
    parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    if parts.scheme not in SCHEMES or not parts.hostname:
        raise Invalid(
            f"'{proxy}' is no proxy: give {', '.join(f'{scheme}://HOST:PORT' for scheme in SCHEMES)}, or"
            f" '{ENVIRONMENT}' for the one that the environment names"
        )
    return parts.geturl()


def _of_environment(url: str) -> str | None:
    parts = urlsplit(url)
    if parts.hostname in _THIS_MACHINE or urllib.request.proxy_bypass(parts.hostname or ""):
        return None
    proxies = urllib.request.getproxies()
    return proxies.get(parts.scheme) or proxies.get("all")


def without_credentials(proxy: str) -> str:
    """As it may be shown."""
    parts = urlsplit(proxy)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
