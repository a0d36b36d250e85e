"""Which Server Manager an operator's command talks to, and with which token."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from fedops.api_client import OperatorClient, Unreachable
from fedops.core.errors import FedOpsError, Forbidden, Invalid
from fedops.settings import (
    CliSettings,
    ServerSettings,
    cli_settings,
    is_loopback,
    normal_url,
    server_settings,
)
from fedops.storage.atomic_files import write_atomic

#: How long it is waited for somebody to answer whom we have no token for. Seconds.
_ANSWER_SECONDS = 5.0


@dataclass(frozen=True)
class Login:
    url: str
    token: str


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
    url = server or settings.server or (remembered.url if remembered else local.url)
    url = normal_url(url)
    token = token or settings.token or _token_for(url, remembered, local)
    if token is None:
        (require or require_answer)(url)
        raise Forbidden(
            f"no token for {url}: use 'fedops login {url} --token T', --token or FEDOPS_TOKEN; "
            f"the admin token stands in the file 'admin-token' of the server's data folder"
        )
    return Login(url, token)


def _token_for(url: str, remembered: Login | None, local: ServerSettings) -> str | None:
    if remembered is not None and remembered.url == url:
        return remembered.token
    same_machine = is_loopback(urlsplit(url).hostname or "")
    if same_machine and urlsplit(url).port == urlsplit(local.url).port:
        return _local_admin_token(local.admin_token_file)
    return None


def _local_admin_token(file: Path) -> str | None:
    try:
        return file.read_text().strip() or None
    except OSError:
        return None


def read_login(file: Path) -> Login | None:
    """What 'fedops login' stored, if anything."""
    try:
        stored = json.loads(file.read_text())
        return Login(str(stored["url"]), str(stored["token"]))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Invalid(
            f"{file} is not readable ({error}); remove it and use 'fedops login' again"
        ) from None


def write_login(login: Login, settings: CliSettings) -> Path:
    """Remember a login, readable by this user only."""
    file = settings.login_file
    write_atomic(file, json.dumps({"url": login.url, "token": login.token}).encode(), mode=0o600)
    return file
