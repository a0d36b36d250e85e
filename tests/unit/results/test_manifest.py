"""What an export says of itself: no secrets, and the columns that programs rely on."""

from __future__ import annotations

from fedops.console.format import TIMES as SHOWN
from fedops.results.manifest import without_secrets
from fedops.results.tables import LAYOUTS, TIMES


def test_values_that_look_like_secrets_are_taken_out_and_named() -> None:
    config = {
        "num_rounds": 3,
        "model": {"_target_": "app.Net", "hub_token": "abcdefgh1234"},
        "dataset": {"root": "https://me:hunter22@example.org/data", "classes": ["a", "b"]},
        "server": {"strategy": {"api_key": "sk-0123456789"}},
    }
    clean, hidden = without_secrets(config)
    assert hidden == ["model.hub_token", "dataset.root", "server.strategy.api_key"]
    assert clean["model"] == {"_target_": "app.Net", "hub_token": "***"}
    assert clean["dataset"]["root"] == "https://me:***@example.org/data"
    assert (clean["num_rounds"], clean["dataset"]["classes"]) == (3, ["a", "b"])
    assert config["server"]["strategy"]["api_key"] == "sk-0123456789"  # the original stays


def test_a_round_is_split_as_everywhere() -> None:
    assert tuple(SHOWN) == TIMES


def test_programs_find_the_columns_where_they_were() -> None:
    first = {name: [column.name for column in layout.columns] for name, layout in LAYOUTS.items()}
    assert first["round_metrics"] == ["run", "round", "name", "value"]
    assert first["clients"] == [
        "run",
        "device",
        "selected",
        "replied",
        "examples",
        "seconds",
        "bytes_up",
    ]
    assert first["selections"][:6] == ["run", "round", "attempt", "device", "status", "selection"]
    assert first["rounds"][-2:] == ["clients", "model"]
