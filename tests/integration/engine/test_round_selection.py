"""The selector that the config names chooses the clients, and gets their histories."""

import re
import sys
from pathlib import Path
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


# --- a selector of an installed package --------------------------------------------------------------

GUIDE = Path(__file__).parents[3] / "docs" / "explanation" / "selection.md"


def install(folder: Path, source: str) -> None:
    """A package as pip leaves it: its module, and what it says of its entry points."""
    info = folder / "ourpackage-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: ourpackage\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[fedops.selectors]\nlargest = ourpackage_selection:Largest\n"
    )
    (folder / "ourpackage_selection.py").write_text(source)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "site-packages"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, "ourpackage_selection", raising=False)
    return folder


def test_the_selector_of_the_guide_chooses_when_its_package_is_installed(
    federation: Make, site: Path
) -> None:
    (source,) = re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    install(site, source)
    fed = federation(*SIX, num_rounds=1, clients_per_round=2, server=chosen_by("largest"))
    fed.play()
    assert fed.server.begun[0][1] == dict.fromkeys(SIX[:2], "has 0 examples")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("scores[i]", "scores[i + 5]"), "failed: IndexError"),
        (("range(min(wanted, len(names)))", "[]"), "chose nobody of 6 candidates where 2"),
    ],
)
def test_the_run_names_the_installed_selector_that_breaks(
    federation: Make, site: Path, change: tuple[str, str], said: str
) -> None:
    (source,) = re.findall(r"```python\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    install(site, source.replace(*change))
    fed = federation(*SIX, num_rounds=1, clients_per_round=2, server=chosen_by("largest"))
    with pytest.raises(RunFailed, match=f"the selector 'largest' {said}"):
        fed.play()
    assert fed.server.begun == []
