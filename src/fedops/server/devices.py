"""Devices: who is enrolled, what the server wants of each, who is there."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy.orm import Session

from fedops.core.states import Enrolment


@dataclass(frozen=True)
class DeviceKey:
    """What identifies a device's Flower node."""

    device_id: str
    name: str
    enrolment: Enrolment
    #: OpenSSH, without comment.
    public_key: bytes
    #: ``keys.fingerprint`` of the public key.
    fingerprint: str
    node_id: str | None


def approved_keys(session: Session) -> list[DeviceKey]:
    """The devices whose nodes may take part, by name."""
    raise NotImplementedError


def by_fingerprint(session: Session, fingerprint: str) -> DeviceKey | None:
    """The device with this node key, whatever its enrolment."""
    raise NotImplementedError


def by_node_id(session: Session, node_id: str) -> DeviceKey | None:
    """The device that has this node id in this life of the engine."""
    raise NotImplementedError


def set_node_id(session: Session, device_id: str, node_id: str | None) -> None:
    """The engine knows the device's node under this id now (tells the device)."""
    raise NotImplementedError


def forget_node_ids(session: Session) -> None:
    """The engine was started anew: no node id of before is valid."""
    raise NotImplementedError


def note_offline(session: Session, interval: float, now: float) -> list[str]:
    """For the sweeper: log each device that went offline, once, and tell who waits for it."""
    raise NotImplementedError
