"""The run config of plain Flower apps, and what a run may change of it."""

import pytest

from fedops.config.file_names import may_name_a_file
from fedops.config.loading import parse_config
from fedops.config.overrides import apply_overrides, refuse_of_device
from fedops.config.run_config import changed, flat
from fedops.core.errors import Invalid

OWN = {"num-server-rounds": 3, "lr": 0.1, "strategy": {"fraction": 0.5}, "name": "iris"}


def test_tables_become_names_with_dots() -> None:
    assert flat(OWN)["strategy.fraction"] == 0.5


def test_overrides_change_what_is_there_and_nothing_else() -> None:
    config = parse_config({"run_config": OWN}, "here")
    found = apply_overrides(
        config, ["run_config.num-server-rounds=9", "run_config.strategy.fraction=1"]
    )
    assert flat(found.run_config or {})["num-server-rounds"] == 9
    assert config.run_config == OWN
    assert changed(flat(OWN), flat(found.run_config or {}), "it") == {
        "num-server-rounds": 9,
        "strategy.fraction": 1.0,
    }


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("run_config.num-server-round=9", "did you mean 'num-server-rounds'?"),
        ("run_config.num-server-rounds=many", "must be of the kind of 3"),
        ("run_config.name=[1]", "must be a number, a text, true or false"),
    ],
)
def test_a_wrong_override_is_refused(override: str, words: str) -> None:
    config = parse_config({"run_config": OWN}, "here")
    with pytest.raises(Invalid) as refused:
        apply_overrides(config, [override])
    assert words in refused.value.message


def test_what_may_name_a_file_is_for_the_apps_own_files() -> None:
    assert may_name_a_file("run_config.data-path", "x")
    assert may_name_a_file("run_config.name", "../secrets")
    assert not may_name_a_file("run_config.name", "wine")
    with pytest.raises(Invalid):
        refuse_of_device(["run_config.name=/etc"])


def test_too_many_keys_are_refused() -> None:
    with pytest.raises(Invalid, match="1000 keys at most"):
        parse_config({"run_config": {f"k{n}": n for n in range(1001)}}, "here")
