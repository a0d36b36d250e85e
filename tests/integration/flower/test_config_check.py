"""What is wrong for everyone is found before a run; what depends on the machine is not called wrong."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import warm_module
from warm_module import warm_modules

from fedops.processes.spawn import clean_env
from fedops.scalize.flow.project import Project
from fedops.server.jobs.config_examination import COMMAND, examine

PYPROJECT = """
[project]
name = "nets"
version = "1"
[tool.fedops]
package = "nets"
config = "nets/config.toml"
[tool.fedops.flow]
data = "nets.flow.load"
"""
CONFIG = """
[model]
_target_ = "nets.flow.Net"
[dataset]
root = "/there/is/none"
"""
FLOW = """
import os
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, width=2, weights=None, library=None):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(1, width, 3), nn.Conv2d(width, width, 3)
        self.head = nn.Linear(width, 2)
        if weights:
            open(weights)
        if library:
            __import__(library)

def load(root):
    raise AssertionError("no server has the data")
"""


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("app")
    (folder / "nets").mkdir()
    (folder / "pyproject.toml").write_text(PYPROJECT)
    (folder / "nets" / "__init__.py").write_text("")
    (folder / "nets" / "config.toml").write_text(CONFIG)
    (folder / "nets" / "flow.py").write_text(FLOW)
    return folder


@pytest.fixture(scope="module")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """What judges, with torch loaded once."""
    with warm_modules(tmp_path_factory.mktemp("warm"), "torch", "captum.attr", COMMAND[-1]) as env:
        yield env


@pytest.fixture(autouse=True)
def _is_warm(warm: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in warm.items():
        monkeypatch.setenv(name, value)


WARM = (sys.executable, warm_module.__file__, COMMAND[-1])


def judged(
    app: Path,
    *overrides: str,
    seconds: float = 60.0,
    only_strategy: bool = False,
    command: tuple[str, ...] = WARM,
) -> str | None:
    plain: dict[str, Any] = Project.open(app, overrides).config.model_dump(
        mode="json", by_alias=True
    )
    return examine(
        app,
        plain,
        seconds,
        lambda _: clean_env(),
        "test-config-check",
        command,
        only_strategy=only_strategy,
    )


def test_a_sound_config_is_no_problem(app: Path) -> None:
    assert judged(app, command=COMMAND) == ""
    assert judged(app, "xai.enabled=true", "xai.layer=conv1", "resources.accelerator=cuda") == ""


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (
            ["xai.enabled=true", "xai.layer=convv2"],
            "[xai] layer: the model has no layer 'convv2'; did you mean 'conv2'? its convolutions: "
            "'conv1', 'conv2'; correct it with --set, or do without explanations: xai.enabled = false",
        ),
        (["xai.enabled=true", "xai.target_layer_index=2"], "target_layer_index = 2: out of range"),
        (["xai.enabled=true", 'xai.methods=["gradcamm"]'], "did you mean 'gradcam'?"),
        (["model.weights=/tmp/mine.pt"], "may name a file or a URL"),
        (
            ["model.widht=3"],
            "[model] widht: the model step 'nets.flow.Net' (nets/flow.py, line 6) has no such parameter; "
            "did you mean 'width'?",
        ),
        (["model.width=many"], "TypeError"),
        (["server.strategy._target_=flwr.serverapp.strategy.FedAvgg"], "did you mean 'FedAvg'?"),
        (
            ["server.selection.selector=ort"],
            "no selector 'ort'; did you mean 'oort'? Known: 'random'",
        ),
        (
            ["server.selection.selector=tiers", "server.selection.tires=3"],
            "tires: unknown option; did you mean 'tiers'? allowed: 'tiers'",
        ),
    ],
)
def test_what_is_wrong_everywhere_is_said_in_one_sentence(
    app: Path, overrides: list[str], words: str
) -> None:
    problem = judged(app, *overrides)
    assert problem is not None
    assert words in problem
    assert "Traceback" not in problem


def test_an_app_that_would_write_elsewhere(app: Path, tmp_path: Path) -> None:
    other = shutil.copytree(app, tmp_path / "app")
    with (other / "nets" / "config.toml").open("a") as config:
        config.write('\n[xai]\nenabled = true\noutput_dir = "/tmp/x"\n')
    assert "leaves the client's folder" in str(judged(other))


def test_only_the_strategy_is_looked_at_when_the_rest_is_known_to_be_right(app: Path) -> None:
    unknown = "server.strategy._target_=flwr.serverapp.strategy.FedAvgg"
    assert "did you mean 'FedAvg'?" in str(judged(app, unknown, only_strategy=True))
    assert judged(app, "model.width=many", only_strategy=True) == ""


@pytest.mark.parametrize(
    ("own", "overrides"),
    [('\nweights = "/only/on/devices.pt"\n', []), ("", ["model.library=only_on_devices"])],
)
def test_what_may_be_right_elsewhere_is_not_judged(
    app: Path, tmp_path: Path, own: str, overrides: list[str]
) -> None:
    other = shutil.copytree(app, tmp_path / "app")
    config = other / "nets" / "config.toml"
    config.write_text(config.read_text().replace("[model]", f"[model]{own}"))
    assert judged(other, *overrides) is None


def test_a_method_of_a_package_that_devices_have_is_let_through(app: Path) -> None:
    assert judged(app, "xai.enabled=true", 'xai.methods=["zzz_of_another_package"]') == ""


def test_who_takes_too_long_or_dies_has_judged_nothing(app: Path) -> None:
    def said_by(code: str, seconds: float = 20.0) -> str | None:
        return examine(
            app,
            {},
            seconds,
            lambda _: clean_env(),
            "test-config-check",
            [sys.executable, "-c", code],
        )

    assert said_by("import time; time.sleep(60)", 0.3) is None
    assert said_by("import os; os.abort()") is None
    write = "import sys; open(sys.argv[2], 'w').write('{\"problem\": 3}')"
    assert said_by(write) is None
