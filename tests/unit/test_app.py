"""``fedops.app`` and the paths that apps imported before it was there."""

from __future__ import annotations

import doctest
import importlib
import subprocess
import sys

import pytest

from fedops import app
from fedops.old_names import MOVED


@pytest.mark.parametrize("name", app.__all__)
def test_every_name_is_there(name: str) -> None:
    assert getattr(app, name) is not None


def test_a_name_that_is_not_there_is_told_from_those_that_are() -> None:
    with pytest.raises(AttributeError, match=r"has no 'answr'; it has: .*answer"):
        _ = app.answr


def test_its_example_runs() -> None:
    assert doctest.testmod(app).failed == 0


def test_it_loads_nothing_before_it_is_asked() -> None:
    code = "import sys, fedops.app; sys.exit(bool({'flwr', 'torch', 'fastapi'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(("old", "new"), MOVED.items())
def test_an_old_path_is_the_new_module_and_says_so(
    old: str, new: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    sys.modules.pop(old, None)
    with pytest.warns(FutureWarning, match=f"{old} is now {new}; apps import .* fedops.app"):
        found = importlib.import_module(old)
    module = importlib.import_module(new)
    assert found is module
    assert module.__spec__ is not None
    assert module.__spec__.name == new
