"""Releases of FedOps on both sides, where they are not the same."""

from __future__ import annotations


def other_release(device: str, server: str) -> str:
    """``2.0.1, the server has 2.1.0``; "" when both have the same, or the device has not said.

    >>> other_release("2.0.1", "2.1.0")
    '2.0.1, the server has 2.1.0'
    >>> other_release("2.1.0", "2.1.0"), other_release("", "2.1.0")
    ('', '')
    """
    return f"{device}, the server has {server}" if device and device != server else ""


def server_release(server: str, device: str) -> str:
    """The same as the device sees it. "": the server has not said, since it was not reached yet or is older.

    >>> server_release("2.1.0", "2.1.0"), server_release("2.1.0", "2.0.1")
    ('2.1.0', '2.1.0, this device has 2.0.1')
    """
    return f"{server}, this device has {device}" if server and server != device else server
