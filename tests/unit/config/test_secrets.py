"""The key of ``[wandb]`` in overrides: taken out wherever it is given."""

from __future__ import annotations

import pytest

from fedops.config.loading import parse_config, to_plain
from fedops.config.overrides import apply_overrides
from fedops.core.contracts import RunStart, TaskCreate, TaskUpdate
from fedops.core.validation_messages import without_secret

SECRET = "0123456789abcdef"


@pytest.mark.parametrize(
    "override",
    [
        f"wandb.key={SECRET}",
        f'  wandb.key = "{SECRET}"',
        f"wandb.key='{SECRET}'",
        f'wandb={{use=true, key="{SECRET}", project="p"}}',
        f"wandb = {{key='{SECRET}'}}",
    ],
)
def test_the_key_is_taken_out_and_the_rest_still_works(override: str) -> None:
    clean = without_secret(override)
    assert SECRET not in clean
    config = apply_overrides(parse_config({}, "test"), [clean])
    assert config.wandb.key == "***"
    assert config.wandb.secret == ""


@pytest.mark.parametrize(
    "override", ["num_rounds=3", "wandb.use=true", 'wandb.project="key=3"', "model.key=7"]
)
def test_other_overrides_stay_as_they_are(override: str) -> None:
    assert without_secret(override) == override


def test_no_request_carries_it() -> None:
    given = [f"wandb.key={SECRET}", "num_rounds=2"]
    for body in (
        TaskCreate(name="a", bundle="0" * 64, overrides=given),
        TaskUpdate(overrides=given),
        RunStart(overrides=given),
    ):
        assert SECRET not in body.model_dump_json()
        assert body.overrides is not None
        assert body.overrides[1] == "num_rounds=2"


def test_a_placeholder_is_no_key() -> None:
    def secret(key: str) -> str:
        return parse_config({"wandb": {"key": key}}, "test").wandb.secret

    assert secret("your wandb api key") == secret("***") == secret("") == ""
    assert secret(SECRET) == SECRET
    assert SECRET not in str(to_plain(parse_config({"wandb": {"key": SECRET}}, "test")))
