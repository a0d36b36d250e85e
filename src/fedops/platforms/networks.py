"""Whether traffic costs money, where the operating system tells."""

from __future__ import annotations

import subprocess

#: Prints state and meteredness of each device, a line each ("100 (connected)", "no (guessed)").
_NMCLI = ("nmcli", "--terse", "--fields", "GENERAL.STATE,GENERAL.METERED", "device", "show")
_SECONDS = 5.0
#: Bridges of containers and the loopback are "connected (externally)".
_CONNECTED = "100 (connected)"


def network_is_metered() -> bool | None:
    """Whether a network that this machine is connected to is metered. None: not known.

    On Linux, NetworkManager tells, where it is there. macOS and Windows tell no program like ours.
    """
    try:
        done = subprocess.run(
            _NMCLI,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=True,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return metered_by_nmcli(done.stdout)


def metered_by_nmcli(text: str) -> bool | None:
    """What ``nmcli`` says of the devices that are connected: one that is metered is enough."""
    values = [line.partition(":")[::2] for line in text.splitlines()]
    states = [value for name, value in values if name == "GENERAL.STATE"]
    metered = [value for name, value in values if name == "GENERAL.METERED"]
    said = [
        answer.split()[0]
        for state, answer in zip(states, metered, strict=False)
        if state == _CONNECTED and answer
    ]
    if "yes" in said:
        return True
    return False if said and set(said) == {"no"} else None
