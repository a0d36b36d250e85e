"""Whether this release of FedOps can be the one of a device: it starts, and its server answers it.

``python -m fedops.client.upgrade.first_words HOME SECONDS``, by the release that was just installed. Prints
its version.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from itertools import repeat
from pathlib import Path

from fedops import __version__
from fedops.api_client import DeviceClient, OtherVersion, proxy_for, trust
from fedops.client.device.authority_pin import pinned_authorities
from fedops.client.device.data_dir import DataDir, load_identity
from fedops.client.device.device_config import load_device_config
from fedops.client.manager.start import (
    run_client as run_client,  # all that it needs can be imported
)
from fedops.core.errors import FedOpsError, Forbidden, NotFound
from fedops.settings import client_settings
from fedops.waiting import outlast


def reach(home: Path, seconds: float) -> None:
    """Ask the server of the device in ``home`` how it stands.

    Raises:
        FedOpsError: it does not answer in time, or wants nothing to do with this release.
    """
    place, settings = DataDir(home), client_settings(home=home)
    identity = load_identity(place)
    url = (settings.server or identity.server).rstrip("/")
    proxy = proxy_for(url, load_device_config(place.device_config).network.proxy)
    verify = trust(pinned_authorities(place, settings.ca_file))
    with DeviceClient(
        url, token=identity.token, verify=verify, proxy=proxy, timeout=10.0
    ) as client:
        outlast(lambda: _ask(client), seconds, pauses=repeat(1.0), say=lambda _: None)


def _ask(client: DeviceClient) -> None:
    """How the device stands is not of interest here, but for its release."""
    with suppress(Forbidden, NotFound):
        client.me()


def main(home: str, seconds: str) -> None:
    """Say the version, or what is wrong."""
    try:
        reach(Path(home), float(seconds))
    except OtherVersion as error:
        sys.exit(f"the server refuses it: {error.message}")
    except FedOpsError as error:
        sys.exit(error.message)
    sys.stdout.write(__version__ + "\n")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
