"""What uv says when it fails, as one of our errors."""

from __future__ import annotations

from pathlib import Path

import pytest

from fedops.core.errors import Invalid, Unavailable
from fedops.environments.package_sources import credentials_for, source_variables, without_index
from fedops.environments.uv import failure

CONFLICT = """warning: `--index-url` is deprecated
  and has more lines
error: No solution found when resolving dependencies
  cause: Because you require numpy>=2 and numpy<2, we can conclude that
         your requirements are unsatisfiable.

hint: Wheels are required for `x`
"""


def test_its_own_words_are_kept_without_warnings() -> None:
    error = failure(CONFLICT, Path("/tmp"), "the server")
    assert isinstance(error, Invalid)
    assert error.message == (
        "No solution found when resolving dependencies Because you require numpy>=2 and numpy<2, we can "
        "conclude that your requirements are unsatisfiable. hint: Wheels are required for `x`"
    )


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("error: failed to write\n  cause: No space left on device (os error 28)", "disk is full"),
        ("error: Request failed after 3 retries\n  cause: dns error", "cannot be reached"),
        ("error: x\n  cause: error sending request for url (http://h/)", "cannot be reached"),
    ],
)
def test_what_is_no_fault_of_the_app_is_tried_again(said: str, meant: str) -> None:
    error = failure(said, Path("/tmp"), "the device")
    assert isinstance(error, Unavailable)
    assert meant in error.message


def test_nothing_secret_of_an_index_is_repeated() -> None:
    said = "error: Failed to fetch: https://user:word@h/simple and https://fo-key@h/x"
    message = failure(said, Path("/tmp"), "the server").message
    assert "word" not in message
    assert "fo-key" not in message


def test_what_pip_is_told_is_told_to_uv(tmp_path: Path) -> None:
    config = tmp_path / "pip.conf"
    config.write_text("[global]\nfind-links = /a /b\nindex-url = https://i/simple\ncert = /c.pem\n")
    env = {
        "PIP_CONFIG_FILE": str(config),
        "HOME": str(tmp_path),
        "PIP_EXTRA_INDEX_URL": "https://e",
    }
    found = source_variables(env)
    assert found["UV_FIND_LINKS"] == "/a,/b"
    assert found["UV_DEFAULT_INDEX"] == "https://i/simple"
    assert (found["UV_INDEX"], found["UV_INDEX_STRATEGY"]) == ("https://e", "unsafe-best-match")
    assert found["SSL_CERT_FILE"] == "/c.pem"
    assert not without_index(env)
    assert without_index({**env, "PIP_NO_INDEX": "1"})
    assert source_variables({**env, "UV_FIND_LINKS": "/mine"})["UV_FIND_LINKS"] == "/mine"
    nothing = {"PIP_CONFIG_FILE": "/dev/null", "FEDOPS_TOKEN": "x", "AWS_SECRET_KEY": "x"}
    assert source_variables(nothing) == {}


def test_an_index_gets_its_own_credentials_and_nobody_else() -> None:
    variables = {"UV_DEFAULT_INDEX": "https://i/simple", "UV_INDEX": "mine=https://u:p@h:1/simple"}
    assert credentials_for("https://h:1/files/x.whl", variables) == ("u", "p")
    assert credentials_for("https://h/files/x.whl", variables) is None
    assert credentials_for("https://i/files/x.whl", variables) is None
