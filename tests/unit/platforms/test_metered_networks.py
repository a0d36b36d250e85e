"""What NetworkManager's command line says of a network."""

import pytest

from fedops.platforms.networks import metered_by_nmcli


def said(*devices: tuple[str, str]) -> str:
    blocks = [f"GENERAL.STATE:{state}\nGENERAL.METERED:{metered}\n" for state, metered in devices]
    return "\n".join(blocks)


WIFI, LOOPBACK = "100 (connected)", ("100 (connected (externally))", "unknown")


@pytest.mark.parametrize(
    ("text", "metered"),
    [
        (said((WIFI, "no (guessed)"), LOOPBACK), False),
        (said((WIFI, "yes (guessed)"), LOOPBACK), True),
        (said((WIFI, "no"), (WIFI, "yes")), True),
        (said((WIFI, "no"), (WIFI, "unknown")), None),
        (said(("30 (disconnected)", "yes"), (WIFI, "no")), False),
        (said(LOOPBACK), None),
        ("", None),
        ("Error: NetworkManager is not running.\n", None),
    ],
)
def test_one_metered_network_is_enough(text: str, metered: bool | None) -> None:
    assert metered_by_nmcli(text) is metered
