"""The server's certificate authority as this device knows it: compared once, then kept, and followed."""

from __future__ import annotations

import logging
import threading
from contextlib import suppress
from pathlib import Path

from fedops.api_client import (
    DeviceClient,
    Untrusted,
    Verify,
    fetch_authority,
    parse_authorities,
    trust,
    trust_pem,
)
from fedops.client.device.data_dir import DataDir, write_secret
from fedops.core.errors import FedOpsError, NotFound

logger = logging.getLogger("fedops.client")

#: How often the device asks whether the server has another authority by now. Seconds.
LEARN_SECONDS = 6 * 3_600.0
_ASK_SECONDS = 10.0


def pin_authority(home: DataDir, url: str, fingerprint: str, proxy: str | None) -> None:
    """Keep the authority of a server that has this fingerprint.

    Raises:
        Untrusted: the server has another one. What was kept before stays.
        Unavailable: it cannot be reached.
    """
    write_secret(home.authorities, fetch_authority(url, fingerprint, proxy))


def pinned_authorities(home: DataDir, ca_file: Path | None) -> Path | None:
    """Whose word is taken for the server's certificate. None: of whom this machine trusts.

    ``ca_file``: what the owner of the device says, which comes first.
    """
    if ca_file is not None:
        return ca_file
    return home.authorities if home.authorities.exists() else None


def require_tls(url: str, verify: Verify, proxy: str | None) -> None:
    """That a server answers at an https:// URL, with a certificate that is accepted. Nothing secret is sent.

    Raises:
        Untrusted: the certificate is not accepted.
        Unavailable: it cannot be reached.
    """
    with (
        DeviceClient(url, verify=verify, proxy=proxy, timeout=_ASK_SECONDS) as device,
        suppress(NotFound),  # it is there, and names no authority
    ):
        device.authorities()


class AuthorityPin:
    """Whom a device's connections trust. A new authority is learnt from who proved to be of the old one."""

    def __init__(self, home: DataDir, ca_file: Path | None) -> None:
        file = pinned_authorities(home, ca_file)
        self.context = trust(file)
        #: None: nothing to follow, it is the owner or the system that says whom to trust.
        self._file = file if file == home.authorities else None
        self._stopped = threading.Event()

    def follow(self, device: DeviceClient) -> None:
        """Ask now and then, in a thread, until ``stop``."""
        if self._file is not None:
            threading.Thread(target=self._follow, args=(device,), name="pin", daemon=True).start()

    def stop(self) -> None:
        self._stopped.set()

    def learn(self, device: DeviceClient) -> bool:
        """Keep what the server names as its authorities, if that is news; whether it was.

        The call goes over a connection whose certificate was checked, so it is the server that says so.
        """
        assert self._file is not None
        said = device.authorities()
        if said == self._file.read_text() or not parse_authorities(said.encode()):
            return False
        with device.trusting(trust_pem(said)) as anew:
            try:
                anew.authorities()
            except Untrusted:
                logger.warning(
                    "the server names authorities by which its certificate is not valid: they are not kept"
                )
                return False
        write_secret(self._file, said)
        self.context.load_verify_locations(cadata=said)  # for connections that are open already
        return True

    def _follow(self, device: DeviceClient) -> None:
        wait = 0.0
        while not self._stopped.wait(wait):
            wait = LEARN_SECONDS
            try:
                if self.learn(device):
                    logger.info("the server has a new certificate authority; it is kept")
            except (FedOpsError, OSError) as error:
                logger.debug("whether the server has a new authority is not known: %s", error)
                wait = LEARN_SECONDS / 60
