"""``[serving]`` in ``device.toml``: what it may say, and what is said of mistakes."""

from __future__ import annotations

from pathlib import Path

import pytest

from fedops.client.device.device_config import DEFAULT_TEXT, Serving, load_device_config
from fedops.client.serving.model_serving import which_task
from fedops.core.errors import Invalid


def load(folder: Path, text: str) -> Serving:
    file = folder / "device.toml"
    file.write_text(text)
    return load_device_config(file).serving


def test_what_it_says(tmp_path: Path) -> None:
    assert load(tmp_path, DEFAULT_TEXT) == Serving()
    command = 'command = ["systemctl", "reload", "my-app"]'
    found = load(tmp_path, f'[serving]\nfolder = "/srv/model"\n{command}\nalias = "latest"')
    assert found.command == ["systemctl", "reload", "my-app"]
    assert (found.folder, found.alias, found.task) == ("/srv/model", "latest", "")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('folder = "model"', "must be a whole path"),
        ('command = ["true"]', "needs a folder"),
        ('folder = "/m"\ncommand = "systemctl reload"', "must be a list"),
        ('folder = "/m"\ncommand = [""]', "must begin with a program"),
        ('folder = "/m"\ncommand_seconds = 0', "command_seconds"),
        ('folder = "/m"\ntask = "a b"', "task"),
        ('folder = "/m"\nfile = "x"', "unknown key"),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(Invalid, match=words):
        load(tmp_path, f"[serving]\n{text}")


def test_the_task_is_the_one_of_the_device_or_has_to_be_named() -> None:
    assert which_task("", ["mnist"]) == "mnist"
    assert which_task("b", ["a", "b"]) == "b"
    with pytest.raises(Invalid, match=r"write into \[serving\] whose model it serves"):
        which_task("", ["a", "b"])
    with pytest.raises(Invalid, match="takes part in 'a'"):
        which_task("c", ["a"])
