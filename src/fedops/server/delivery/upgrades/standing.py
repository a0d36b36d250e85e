"""How the devices of an upgrade are, with a verdict on each, and what follows."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy.orm import Session

from fedops.core.contracts import DeviceUpgrade
from fedops.core.delivery.upgrades import upgrade_verdict
from fedops.core.delivery.waves import Others, Share, WaveRules, WaveStep, next_step
from fedops.core.states import UpgradeStatus
from fedops.server.database.tables import UpgradeRow
from fedops.server.delivery.upgrades.upgrade_rows import devices_of, facts_of

#: What of a request is kept as the rules of the upgrade.
POLICY = {"canary", "further", "judged_seconds", "wave_seconds"}


@dataclass(frozen=True)
class Look:
    """An upgrade at a moment: what follows, and the ids of the devices that it may ask next, by name."""

    step: WaveStep
    ids: dict[str, str]


def rules_of(row: UpgradeRow) -> WaveRules:
    policy = DeviceUpgrade.model_validate(row.policy)
    return WaveRules(
        canary=Share.parse(policy.canary),
        further=Share.parse(policy.further),
        judged_seconds=policy.judged_seconds,
        wave_seconds=policy.wave_seconds,
    )


def look_at(session: Session, row: UpgradeRow, now: float) -> Look:
    """What follows for an upgrade that is on its way, at ``now`` (POSIX seconds)."""
    rules, found = rules_of(row), devices_of(session, row)
    facts = [facts_of(one, now) for one in found]
    asked = [one for one in facts if one.wave]
    others = [one for one in facts if one.status is UpgradeStatus.WAITING]
    placed = [upgrade_verdict(one, rules.judged_seconds, now) for one in asked]
    there = [one.device for one in others if one.online]
    away = [one.device for one in others if not one.online]
    seconds = max(now - row.wave_since, 0.0)
    step = next_step(rules, row.wave, placed, Others(there, away), seconds)
    return Look(step, {one.name: one.id for one in found})
