"""Enrolment: once per device and server."""

from __future__ import annotations

import logging
import os
import platform
import re
import socket
import time
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib.metadata import version
from itertools import repeat
from pathlib import Path
from typing import Any, TypeVar

import httpx
import psutil
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from fedops.api_client import DeviceClient, JoinClient, Untrusted, proxy_for, trust
from fedops.client.device.authority_pin import pin_authority, pinned_authorities, require_tls
from fedops.client.device.data_dir import (
    DataDir,
    Identity,
    load_identity,
    load_or_make_key,
    public_openssh,
)
from fedops.client.device.device_config import ensure_device_config, load_device_config
from fedops.core.contracts import NAME_PATTERN, DeviceInfo, JoinRequest
from fedops.core.errors import Conflict, FedOpsError, Forbidden, Invalid, Unavailable
from fedops.core.join_statement import join_statement
from fedops.core.server_authority import PinnedUrl, split_fingerprint
from fedops.core.states import Enrolment
from fedops.processes.environment import library_versions
from fedops.processes.short_commands import output_of
from fedops.waiting import outlast

logger = logging.getLogger("fedops.client")
T = TypeVar("T")

#: How long a join goes on trying to reach the server. Seconds.
PATIENCE_SECONDS = 30.0
_PAUSE_SECONDS = 1.0
#: How long a device that has joined asks whether it is still wanted. Seconds.
_ASK_SECONDS = 5.0


@dataclass(frozen=True)
class Joined:
    """How a join ended."""

    identity: Identity
    #: False when this device had joined the server before.
    new: bool
    enrolment: Enrolment | None
    #: The name that was asked for.
    wanted: str = ""
    #: What of the command was not done.
    note: str = ""

    @property
    def message(self) -> str:
        text = self._what
        if self.new and self.wanted != self.identity.name:
            text += f"; the name '{self.wanted}' was taken, so the server gave it another one"
        return text

    @property
    def _what(self) -> str:
        name, server = self.identity.name, self.identity.server
        if not self.new:
            return f"already joined {server} as '{name}'; nothing to do{self.note}"
        if self.enrolment is Enrolment.PENDING:
            return (
                f"asked {server} to join as '{name}'; an operator must approve it "
                f"('fedops device approve {name}')"
            )
        return f"joined {server} as '{name}'"


def join(
    url: str,
    token: str,
    name: str | None,
    home: Path,
    *,
    patience: float = PATIENCE_SECONDS,
    ca_file: Path | None = None,
    proxy: str | None = None,
    transport: httpx.BaseTransport | None = None,
) -> Joined:
    """Enrol this machine: make its device key, hand in the public half, keep the token it is given.

    ``url`` may end with the fingerprint of the server's authority (``#sha256:...``), which is compared
    before anything secret is sent, and kept. Joining the same server again from the same data dir keeps the
    authority of this fingerprint, and does nothing else. A server that cannot be reached is tried again for
    ``patience`` seconds. ``ca_file``: see ``ClientSettings``. ``proxy``: a URL, or "environment"; it is
    noted in ``device.toml``.

    Raises:
        Conflict: the data dir belongs to a device of another server.
        Invalid: no usable URL or name, or the server refused the request.
        Forbidden: the token is wrong, expired or used up, or this device was shut out.
        Unavailable: the server could not be reached in time.
    """
    url, fingerprint = split_fingerprint(url)
    if not url.startswith(("http://", "https://")):
        raise Invalid(f"'{url}' is no server URL: it begins with http:// or https://")
    place = DataDir(home)
    if place.identity.exists():
        known = _joined_before(place, PinnedUrl(url, fingerprint), ca_file)
        return replace(known, note=_unused(place, proxy))
    request_name = _checked_name(name or default_name())
    place.create()
    ensure_device_config(place.device_config, proxy)
    way = proxy_for(url, load_device_config(place.device_config).network.proxy)
    if fingerprint:
        _outlast(lambda: pin_authority(place, url, fingerprint, way), patience)
    verify = trust(pinned_authorities(place, ca_file))
    key = load_or_make_key(place)
    body = join_request(token, request_name, key, describe_device())
    with JoinClient(url, transport=transport, verify=verify, proxy=way) as client:
        reply = _outlast(lambda: client.join(body), patience)
    identity = Identity(client.url, reply.device_id, reply.name, reply.device_token, time.time())
    identity.save(place)
    return Joined(identity, True, reply.enrolment, request_name)


def _checked_name(name: str) -> str:
    if not re.fullmatch(NAME_PATTERN, name):
        raise Invalid(
            f"'{name}' cannot be a device's name: use 1 to 63 letters, digits, "
            "'.', '_' or '-', the first a letter or digit (--name)"
        )
    return name


def join_request(
    token: str, name: str, key: ec.EllipticCurvePrivateKey, info: DeviceInfo
) -> JoinRequest:
    """The request, with the proof that this machine holds the private half of the key."""
    public = public_openssh(key)
    proof = key.sign(join_statement(token, public), ec.ECDSA(hashes.SHA256()))
    return JoinRequest(
        token=token, name=name, public_key=public, proof=b64encode(proof).decode(), info=info
    )


def _joined_before(home: DataDir, given: PinnedUrl, ca_file: Path | None) -> Joined:
    identity = load_identity(home)
    if identity.server not in (url := given.url.rstrip("/"), _without_tls(url)):
        raise Conflict(
            f"{home.path} belongs to '{identity.name}' of {identity.server}; "
            "to join another server too, give another data dir with --home"
        )
    way = proxy_for(url, load_device_config(home.device_config).network.proxy)
    if given.fingerprint:  # its authority is another one, or it speaks TLS by now
        pin_authority(home, url, given.fingerprint, way)
    if identity.server != url:
        require_tls(url, trust(pinned_authorities(home, ca_file)), way)
        identity = replace(load_identity(home), server=url)
        identity.save(home)
    if identity.token:  # else systemd has it
        _require_wanted(home, identity, ca_file)
    return Joined(identity, False, None)


def _unused(home: DataDir, proxy: str | None) -> str:
    if proxy is None or proxy == load_device_config(home.device_config).network.proxy:
        return ""
    return f", and --proxy is not kept: write it into {home.device_config} ([network] proxy)"


def _without_tls(url: str) -> str:
    return url.replace("https://", "http://", 1)


def _require_wanted(home: DataDir, identity: Identity, ca_file: Path | None) -> None:
    """``Forbidden`` when the server shut this device out: joining from here would change nothing."""
    way = proxy_for(identity.server, load_device_config(home.device_config).network.proxy)
    verify = trust(pinned_authorities(home, ca_file))
    how: dict[str, Any] = {"verify": verify, "timeout": _ASK_SECONDS, "proxy": way}
    with DeviceClient(identity.server, token=identity.token, **how) as client:
        try:
            client.me()
        except Forbidden as error:
            raise Forbidden(
                f"{home.path} belongs to '{identity.name}', of which {identity.server} wants nothing any more"
                f" ({error.message}); to join as a new device, give another data dir with --home"
            ) from None
        except FedOpsError as error:  # whether it is wanted is seen when it runs
            logger.debug("the server does not say how this device stands: %s", error.message)


def _outlast(call: Callable[[], T], patience: float) -> T:
    """What a call gives. A server that cannot be reached is tried again; one that is another is not."""

    def attempt() -> T | Untrusted:
        try:
            return call()
        except Untrusted as error:
            return error

    try:
        result = outlast(
            attempt,
            patience,
            pauses=repeat(_PAUSE_SECONDS),
            say=lambda why: logger.warning("%s; trying for %.0f s", why, patience),
        )
    except Unavailable as error:
        raise Unavailable(
            f"{error.message}; gave up after {patience:.0f} s. Is the server running, "
            "and is this its URL?"
        ) from None
    if isinstance(result, Untrusted):
        raise result
    return result


def default_name() -> str:
    """The host's name, as far as it can be a device's name."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", socket.gethostname().split(".")[0]).strip("-._")
    return name[:63] or "device"


def describe_device() -> DeviceInfo:
    """What this machine is, for operators to see."""
    return DeviceInfo(
        hostname=socket.gethostname()[:255],
        platform=platform.platform()[:255],
        python=platform.python_version(),
        fedops=version("fedops"),
        cpus=os.cpu_count() or 0,
        memory_bytes=int(psutil.virtual_memory().total),
        gpu=_gpu_names()[:255],
        libraries=library_versions(),
    )


def _gpu_names() -> str:
    if platform.system() == "Darwin":
        return "Apple GPU" if platform.machine() == "arm64" else ""
    command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
    lines = (output_of(command, seconds=5.0) or "").splitlines()
    return ", ".join(line.strip() for line in lines if line.strip())
