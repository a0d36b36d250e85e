"""Which Server Manager an operator's command talks to, and with which token."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import urlsplit

from fedops.api_client import OperatorClient, Unreachable, fetch_authority, trust_pem
from fedops.core.errors import FedOpsError, Forbidden, Invalid
from fedops.core.server_authority import split_fingerprint
from fedops.server_urls import is_loopback, normal_url
from fedops.settings import (
    CliSettings,
    ServerSettings,
    cli_settings,
    server_settings,
)
from fedops.storage.atomic_files import write_atomic

#: How long it is waited for somebody to answer whom we have no token for. Seconds.
_ANSWER_SECONDS = 5.0


@dataclass(frozen=True)
class Login:
    """A server, the token for it, and the authorities (PEM) that it must prove to be of, if pinned."""

    url: str
    token: str
    authorities: str | None = None

    def client(self, timeout: float = 30.0) -> OperatorClient:
        """A client of this server that trusts it alone, or whom this machine trusts."""
        verify = trust_pem(self.authorities) if self.authorities else True
        return OperatorClient(self.url, token=self.token, verify=verify, timeout=timeout)


def require_answer(url: str) -> None:
    """``Unreachable`` when nobody answers there. Whoever does is asked for no more than that."""
    with OperatorClient(url, timeout=_ANSWER_SECONDS) as client:
        try:
            client.info()
        except Unreachable:
            raise
        except FedOpsError:
            return


def find_login(
    server: str | None, token: str | None, require: Callable[[str], None] | None = None
) -> Login:
    """Options win over the environment, that over 'fedops login', that over a server on this machine.

    A remembered token is sent to the server it was remembered for and to no other. Where there is none,
    it is first looked whether anybody answers (``require``).
    """
    settings, local = cli_settings(), server_settings()
    remembered = read_login(settings.login_file)
    here = _local_url(local)
    given = server or settings.server or (remembered.url if remembered else here)
    url, fingerprint = split_fingerprint(normal_url(given))
    token = token or settings.token or _token_for(url, remembered, here, local.admin_token_file)
    if token is None:
        (require or require_answer)(url)
        raise Forbidden(
            f"no token for {url}: use 'fedops login {url}' or FEDOPS_TOKEN; "
            f"the admin token stands in the file 'admin-token' of the server's data folder"
        )
    if fingerprint:
        return Login(url, token, fetch_authority(url, fingerprint))
    return Login(url, token, _authorities_for(url, remembered, here, local))


def _local_url(local: ServerSettings) -> str:
    """The server on this machine, as it said at its start."""
    try:
        return local.local_url_file.read_text().strip() or local.local_url
    except OSError:
        return local.local_url


def _token_for(url: str, remembered: Login | None, here: str, admin_token: Path) -> str | None:
    if remembered is not None and remembered.url == url:
        return remembered.token
    return _local_admin_token(admin_token) if _is_here(url, here) else None


def _authorities_for(
    url: str, remembered: Login | None, here: str, local: ServerSettings
) -> str | None:
    if remembered is not None and remembered.url == url:
        return remembered.authorities
    file = local.tls_ca or local.tls_folder / "ca.pem"
    if not url.startswith("https://") or not _is_here(url, here):
        return None
    try:
        return file.read_text()
    except OSError:
        return None


def _is_here(url: str, here: str) -> bool:
    """Whether it is the server of this machine."""
    loopback = is_loopback(urlsplit(url).hostname or "")
    return loopback and urlsplit(url).port == urlsplit(here).port


def _local_admin_token(file: Path) -> str | None:
    try:
        return file.read_text().strip() or None
    except OSError:
        return None


def read_login(file: Path) -> Login | None:
    """What 'fedops login' stored, if anything."""
    try:
        stored = json.loads(file.read_text())
        authorities = stored.get("authorities")
        return Login(str(stored["url"]), str(stored["token"]), authorities and str(authorities))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Invalid(
            f"{file} is not readable ({error}); remove it and use 'fedops login' again"
        ) from None


def write_login(login: Login, settings: CliSettings) -> Path:
    """Remember a login, readable by this user only."""
    file = settings.login_file
    write_atomic(file, json.dumps(asdict(login)).encode(), mode=0o600)
    return file
