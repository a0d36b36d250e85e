"""Where the code of a task comes from, as people type it."""

from __future__ import annotations

from pathlib import Path

import pytest

from fedops.cli.delivery.source_options import TypedSource
from fedops.core.contracts import RolloutPolicy
from fedops.core.errors import Invalid


def test_the_policy_comes_from_a_file(tmp_path: Path) -> None:
    file = tmp_path / "policy.toml"
    file.write_text(
        'canary = "10%"\n[windows]\nzone = "Europe/Berlin"\n'
        'deny = [{ cron = "0 8 * * 1-5", minutes = 600 }]\n'
    )
    policy = TypedSource("https://git.example.org/a.git", policy=file).request().policy
    assert isinstance(policy, RolloutPolicy)
    assert (policy.canary, policy.approval) == ("10%", "never")
    assert [(one.cron, one.minutes) for one in policy.windows.deny] == [("0 8 * * 1-5", 600)]


@pytest.mark.parametrize(
    ("text", "said"),
    [('canary = "many"', "canary"), ("cannary = 1", "cannary"), ("canary = ", "no valid TOML")],
)
def test_what_is_no_policy_is_refused_by_name(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "policy.toml"
    file.write_text(text)
    with pytest.raises(Invalid, match=said):
        TypedSource("https://git.example.org/a.git", policy=file).request()


def test_a_policy_alone_is_no_source(tmp_path: Path) -> None:
    assert TypedSource(policy=tmp_path / "policy.toml").is_partly_given
