"""Programs whose protocols differ: one sentence that says on which side what is to be done."""

from __future__ import annotations

import pytest

from fedops import __version__
from fedops.core.contracts import PROTOCOL
from fedops.server.protocol.protocol_version import UpgradeRequired, require_protocol


def refusal(said: str, release: str = "") -> str:
    with pytest.raises(UpgradeRequired) as refused:
        require_protocol(said, release)
    assert refused.value.http_status == 426
    return refused.value.message


def is_heard(said: str, release: str) -> bool:
    try:
        require_protocol(said, release)
    except UpgradeRequired:
        return False
    return True


def test_the_same_protocol_is_heard_whatever_the_release() -> None:
    assert is_heard(str(PROTOCOL), "1.9.9")
    assert not is_heard(str(PROTOCOL + 1), __version__)


def test_who_is_too_old_is_told_which_release_the_server_has() -> None:
    said = refusal(str(PROTOCOL - 1), "1.9.9")
    assert (
        f"(FedOps {__version__}), and the call is of version '{PROTOCOL - 1}' (FedOps 1.9.9)"
        in said
    )
    assert f"update FedOps on this machine to the server's release {__version__}" in said


def test_who_is_too_new_is_told_to_update_the_server_or_to_go_back() -> None:
    said = refusal(str(PROTOCOL + 1), "3.0.0")
    assert "update FedOps on the server to 3.0.0, or install" in said
    assert f"the server's release {__version__} on this machine" in said


@pytest.mark.parametrize("said", ["", "x", "²", "9" * 400])
def test_what_is_no_version_is_refused_in_one_line(said: str) -> None:
    assert len(refusal(said, "r" * 500)) < 500
