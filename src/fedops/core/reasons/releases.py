"""Releases of FedOps on both sides, where they are not the same."""

from __future__ import annotations


def same_release(one: str, other: str) -> bool:
    """Whether both are the same release. What follows a ``+`` says only how it was built.

    >>> same_release("2.1.0", "2.1.0+src.h0123abcd"), same_release("2.0.1", "2.1.0")
    (True, False)
    """
    return one.partition("+")[0] == other.partition("+")[0]


def other_release(device: str, server: str) -> str:
    """``2.0.1, the server has 2.1.0``; "" when both have the same, or the device has not said.

    >>> other_release("2.0.1", "2.1.0")
    '2.0.1, the server has 2.1.0'
    >>> other_release("2.1.0+src.h0123abcd", "2.1.0"), other_release("", "2.1.0")
    ('', '')
    """
    differs = bool(device) and not same_release(device, server)
    return f"{device}, the server has {server}" if differs else ""


def server_release(server: str, device: str) -> str:
    """The same as the device sees it. "": the server has not said, since it was not reached yet or is older.

    >>> server_release("2.1.0", "2.1.0"), server_release("2.1.0", "2.0.1")
    ('2.1.0', '2.1.0, this device has 2.0.1')
    """
    differs = bool(server) and not same_release(server, device)
    return f"{server}, this device has {device}" if differs else server
