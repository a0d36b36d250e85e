"""All that a device says of itself with a poll, kept in one transaction."""

from __future__ import annotations

from sqlalchemy.orm import Session

from fedops.core.contracts import WorkPoll
from fedops.server.delivery.rollouts.polls import note_reports
from fedops.server.delivery.serving.serving_reports import note_serving_reports
from fedops.server.delivery.upgrades.upgrade_polls import note_upgrade
from fedops.server.devices import heartbeats


def record_poll(
    session: Session, device_id: str, body: WorkPoll, interval: float, now: float, *, twins: bool
) -> bool:
    """How it is, and how it is with what is delivered to it. Returns whether it was let in.

    ``interval``: how often it is to call, in seconds. ``twins``: more than one device says so.
    """
    if not heartbeats.record_heartbeat(session, device_id, body, interval, now, twins=twins):
        return False
    if not twins:
        note_reports(session, device_id, body.deployments, now)
        note_upgrade(session, device_id, body, now)
    note_serving_reports(session, device_id, body.serving, now)
    return True
