"""Wrong values of forms, in sentences."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from fedops.core import contracts as c
from fedops.core.contracts.base import Request
from fedops.server.dashboard.web.mistakes import sentences

NAME = "a name is 1 to 63 letters, digits, '.', '_' or '-', the first a letter or digit"


@pytest.mark.parametrize(
    ("kind", "given", "said"),
    [
        (c.SourceSet, {"url": ""}, "url: this cannot be empty"),
        (c.SourceSet, {"url": "x" * 3_000}, "url: it has at most 2,000 characters"),
        (c.SourceSet, {"url": "-x"}, "url must not begin with '-'"),
        (c.PasswordSet, {"password": "short"}, "password: it has at least 12 characters"),
        (c.DeviceRename, {"name": "no name"}, f"name: {NAME}"),
        (c.RunStart, {"devices": ["pi", "§"]}, "devices: '§': this cannot be one"),
        (c.PromotionRule, {"rule": "x"}, "rule: choose one of 'better', 'always' or 'never'"),
        (c.PromotionRule, {"margin": -1}, "margin: it must be greater than or equal to 0"),
    ],
)
def test_a_wrong_value_is_named_in_a_sentence(
    kind: type[Request], given: dict[str, Any], said: str
) -> None:
    with pytest.raises(ValidationError) as found:
        kind.model_validate(given)
    assert sentences(found.value.errors(include_url=False)) == said


def test_what_was_typed_is_not_said_at_length() -> None:
    with pytest.raises(ValidationError) as found:
        c.ScheduleSet.model_validate({"trigger": {"kind": "x" * 60_000}})
    assert len(sentences(found.value.errors(include_url=False))) < 200
