"""The overview: a checklist for who begins, what needs somebody, with buttons, and figures of what runs."""

from __future__ import annotations

from pathlib import Path

import httpx
from managing import World, managing
from people import user_token

from fedops.core import contracts as c
from fedops.core.states import Role
from fedops.server.runs import glances


def _page(world: World, role: Role = Role.OPERATOR, where: str = "/") -> str:
    with httpx.Client(base_url=world.url, follow_redirects=True) as browser:
        token = user_token(world, role)
        answer = browser.post("/sign-in", data={"secret": token, "next": where})
        assert answer.status_code == 200
        return answer.text


def test_the_overview_from_nothing_to_a_federation_in_trouble(tmp_path: Path) -> None:
    with managing(tmp_path, dashboard=True) as world:
        text = _page(world)
        assert "To begin" in text
        assert "fedops task create" in text
        assert "Nothing needs you" not in text
        for task in ("mnist", "digits", "chest", "retina"):
            world.task(task)
        devices = world.ready_devices("a", "b")
        run, engine = world.running("mnist")
        text = _page(world)
        assert "Nothing needs you" in text
        assert "To begin" not in text
        world.do_round(engine, 1, *devices)
        world.do_round(engine, 2, *devices)
        text = _page(world)
        assert "2 of 3" in text
        assert "accuracy 20.0 %" in text
        assert 'class="sparkline"' in text
        assert "4.0 kB" in text  # two rounds, two devices, 1,000 bytes each
        for task in ("digits", "chest", "retina"):
            paused = world.operator.start_run(task, c.RunStart())
            world.operator.pause_run(paused.id)
        world.clock.advance(400)
        text = _page(world)
        assert "3 of 4 things" in text
        assert text.index("2 devices are lost: a, b") < text.index("paused after round 0")
        assert "/runs/4/resume" in text
        assert "/runs/4/resume" not in _page(world, Role.VIEWER)
        assert text.count("<li data-key") == 3
        assert _page(world, where="/?all=1").count("<li data-key") == 4
        assert run.id == 1


def test_bytes_of_today_are_those_of_rounds_committed_since_midnight(tmp_path: Path) -> None:
    with managing(tmp_path) as world:
        world.task()
        devices = world.ready_devices("a", "b")
        _, engine = world.running()
        world.begin(engine, 1, *devices)
        engine.commit(world.commit(engine, 1, *devices))
        now = world.clock()
        with world.manager.services.db.read() as session:
            found = glances.traffic_since(session, glances.midnight(now))
            assert found.up == 2_000
            assert found.down > 0
            assert glances.traffic_since(session, now + 1) == glances.Traffic(0, 0)
            only = frozenset({"other"})
            assert glances.traffic_since(session, 0.0, only) == glances.Traffic(0, 0)
