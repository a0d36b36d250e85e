"""``fedops run contributions``, ``run selections`` and ``task contributions`` against a server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from managing import World, managing

from fedops.api_client import EngineClient
from fedops.cli.main import main
from fedops.core import contracts as c

Said = Callable[..., str]
LABELS = ["1", "5"]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with managing(tmp_path) as made:
        yield made


@pytest.fixture
def said(world: World, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Said:
    token = world.manager.services.settings.admin_token_file.read_text().strip()
    monkeypatch.setenv("FEDOPS_TOKEN", token)
    monkeypatch.setenv("COLUMNS", "200")

    def run(*words: str) -> str:
        with pytest.raises(SystemExit) as ended:
            main([*words, "--server", world.url])
        assert ended.value.code == 0
        return capsys.readouterr().out

    return run


@pytest.fixture
def engine(world: World) -> EngineClient:
    """Of a run with one round of devices a and b, scored by class."""
    world.task(overrides=["num_rounds=9"])
    world.ready_devices("a", "b")
    _, engine = world.running()
    engine.begin_round(1, c.RoundBegin(selected=dict.fromkeys(("a", "b"), "both")))
    commit = world.commit(engine, 1, "a", "b")  # type: ignore[arg-type]
    engine.commit(commit.model_copy(update={"scoring": c.ScoringPlan(method="shapley")}))
    by_class = {"a": [0.5, -0.1], "b": [-0.2, 0.25]}
    scores = [
        c.ClientScore(device=name, value=sum(one), by_class=one, classes=LABELS)
        for name, one in by_class.items()
    ]
    standings = [
        c.ClientStanding(device=name, value=sum(one), rounds=1, by_class=one, classes=LABELS)
        for name, one in by_class.items()
    ]
    found = c.RoundScores(round=1, method="shapley", scores=scores, standings=standings)
    engine.scores(found)
    return engine


def rows(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


@pytest.mark.usefixtures("engine")
def test_values_by_class_carry_the_labels(said: Said) -> None:
    for words in (("task", "contributions", "mnist"), ("run", "contributions", "1")):
        found = rows(said(*words, "--by-class"))
        assert ["DEVICE", "1", "5", "MOST", "OF", "ALL", "IN"] in found
        assert ["a", "+0.500", "-0.100", "1"] in found
        assert ["b", "-0.200", "+0.250", "5"] in found


@pytest.mark.usefixtures("engine")
def test_what_is_said_of_a_round_is_true_of_it(said: Said) -> None:
    later = "Run 1 has not come to round 99: it is at round 2."
    assert said("run", "contributions", "1", "--round", "99").strip() == later
    assert said("run", "selections", "1", "--round", "99").strip() == later
    none = "It is not stored whom round 1 of run 1 chose."
    assert said("run", "selections", "1", "--round", "1").strip() == none
