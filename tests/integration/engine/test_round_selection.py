"""The selector that the config names chooses the clients, and gets their histories."""

from typing import Any

import pytest
from round_parts import Make

from fedops.core.states import FailureReason
from fedops.engine.link.exit_reasons import RunFailed

SIX = [f"pi-{i}" for i in range(6)]


def chosen_by(selector: str, **options: Any) -> dict[str, Any]:
    return {"selection": {"selector": selector, **options}}


def test_round_robin_asks_everybody_in_turn(federation: Make) -> None:
    fed = federation(*SIX, num_rounds=3, clients_per_round=2, server=chosen_by("round-robin"))
    fed.play()
    asked = [set(selected) for _, selected in fed.server.begun]
    assert sorted(name for names in asked for name in names) == SIX
    reasons = {why for _, selected in fed.server.begun for why in selected.values()}
    assert reasons == {"its turn: was never invited"}


def test_a_run_continued_by_another_process_selects_as_the_one_before(federation: Make) -> None:
    fed = federation(*SIX, num_rounds=6, clients_per_round=2, server=chosen_by("power-of-choice"))
    fed.play()
    whole = [selected for _, selected in fed.server.begun]
    config = {"clients_per_round": 2, "server": chosen_by("power-of-choice")}
    again = federation(*SIX, name="two", num_rounds=3, **config)
    again.play()
    again.config["num_rounds"] = 6
    again.play()
    assert len(again.server.commits) == 6
    assert [selected for _, selected in again.server.begun] == whole


def test_a_selector_that_chooses_a_busy_device_does_so_last(federation: Make) -> None:
    fed = federation(*SIX, num_rounds=1, clients_per_round=5, server=chosen_by("oort"))
    fed.server.busy = {"pi-2": 8, "pi-4": 8}
    fed.play()
    assert len({"pi-2", "pi-4"} & set(fed.server.begun[0][1])) == 1


@pytest.mark.parametrize(
    ("selection", "said"),
    [
        (chosen_by("oorrt"), "there is no selector 'oorrt'; did you mean 'oort'"),
        (chosen_by("tiers", tires=3), "tires: unknown option; did you mean 'tiers'?"),
        (chosen_by("oort", exploration=7), "exploration = 7: must be a number from 0 to 1"),
    ],
)
def test_a_wrong_selection_ends_the_run_with_what_is_valid(
    federation: Make, selection: dict[str, Any], said: str
) -> None:
    fed = federation(*SIX, server=selection)
    with pytest.raises(RunFailed, match=r"server\.selection") as failed:
        fed.play()
    assert failed.value.reason is FailureReason.APP_ERROR
    assert said in failed.value.text
