"""Who leads no more ends its FL servers and begins nothing."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from scheduler_world import World
from sqlalchemy.orm import Session

from fedops.core.errors import Conflict
from fedops.core.states import AttemptStatus


@dataclass
class Lent:
    """Leadership as a test gives and takes it. ``truly``: what the database says."""

    leads: bool = True
    truly: bool = True
    shared: bool = True

    def confirm(self, session: Session) -> None:
        if not self.truly:
            raise Conflict("another one leads")


def test_who_leads_no_more_ends_its_engines_and_leaves_the_rest_to_the_other(
    world: World,
) -> None:
    office = Lent()
    world.scheduler = world.new_scheduler(office)
    run_id = world.start_run()
    world.step()
    assert len(world.engines.running) == 1
    office.leads = False
    world.step(times=3)
    assert world.engines.running == {}
    assert [a.status for a in world.attempts(run_id)] == [AttemptStatus.STARTING]
    office.leads = True
    world.step()
    found = world.attempts(run_id)
    assert [a.status for a in found] == [AttemptStatus.LOST, AttemptStatus.STARTING]
    assert "another Server Manager leads" in (found[0].reason or "")
    assert world.run(run_id).lost_in_a_row == 0


def test_who_only_believes_to_lead_begins_and_ends_nothing(world: World) -> None:
    office = Lent()
    world.scheduler = world.new_scheduler(office)
    run_id = world.start_run()
    world.step()
    attempt = world.attempts(run_id)[0]
    office.truly = False
    world.engines.die(attempt.id)
    with pytest.raises(Conflict, match="another one leads"):
        world.step()
    assert [a.status for a in world.attempts(run_id)] == [AttemptStatus.STARTING]
