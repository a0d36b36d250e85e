"""Before there is a run: whether an app could be run under a config, as far as one without data can tell.

``python -m fedops.flower.checks.config_check QUESTION_FILE ANSWER_FILE``. Says only what would be wrong on
every device; what depends on this machine (a library that is not installed, a missing file) is no answer.
"""

from __future__ import annotations

import json
import logging
import os
import sys
from pathlib import Path
from typing import Any

from fedops.algorithms.selection.registry import make_selector
from fedops.config.schema import Config, Xai
from fedops.core.errors import Forbidden, Invalid
from fedops.core.suggestions import comma_list, did_you_mean
from fedops.engine.scoring.scoring_plan import require_contribution
from fedops.flower.checks.check_question import read_question
from fedops.flower.strategies.strategy_check import require_suitable
from fedops.flower.strategies.strategy_factory import make_strategy
from fedops.scalize.adapter.protocol import ModelAdapter
from fedops.scalize.flow.datasets import DataSplit
from fedops.scalize.flow.manifest import make_importable
from fedops.scalize.flow.project import Project
from fedops.scalize.flow.script_flow import refuse_unused

#: What an app's own code raises when it is given wrong values, on whichever machine.
WRONG_VALUES = (TypeError, ValueError, KeyError, AttributeError, IndexError, AssertionError)
_INSTALL = ("No module named", "ImportError", "is not installed", "pip install")
_ADVICE = "correct it with --set, or do without explanations: xai.enabled = false"


class NoData(Exception):
    """The model wants to see data, which only devices have."""


class WithoutData(Project):
    """A project on a machine that has none of the data."""

    def load_data(self) -> DataSplit:
        raise NoData


def problem_of(app_dir: Path, plain: dict[str, Any], *, only_strategy: bool) -> str | None:
    """What is wrong for everyone; "" when nothing is; None when that cannot be told here."""
    try:
        _look(app_dir, plain, only_strategy)
    except (Invalid, Forbidden) as error:
        # Where it was unpacked means nothing to whoever reads this.
        return error.message.replace(f"{app_dir}{os.sep}", "") if is_certain(error) else None
    except (Exception, SystemExit):
        logging.exception("the app cannot be judged here")
        return None
    return ""


def is_certain(error: BaseException) -> bool:
    """Whether the error would be the same on every machine."""
    if any(words in str(error) for words in _INSTALL):
        return False
    cause = error.__cause__
    return cause is None or isinstance(cause, WRONG_VALUES)


def anywhere(plain: dict[str, Any]) -> dict[str, Any]:
    """A config without what is a machine's own matter: whether it has a GPU."""
    return {**plain, "resources": {**plain.get("resources", {}), "accelerator": "cpu"}}


def _look(app_dir: Path, plain: dict[str, Any], only_strategy: bool) -> None:
    project = WithoutData.open(app_dir).with_config(anywhere(plain))
    config = project.config
    check_section(config.xai)
    if not project.manifest.own_server_app:
        make_importable(project.manifest)
        strategy = config.server.strategy
        made = make_strategy(strategy.target, strategy.kwargs, [app_dir])
        make_selector(config.server.selection.selector, config.server.selection.options)
        require_contribution(config.server.contribution)
        require_suitable(made, config)
    refuse_unused(config)
    has_model = config.script is not None or project.call("model") is not None
    if not only_strategy and has_model:
        check_layer(config, project.make_adapter(config.random_seed))


def check_section(xai: Xai) -> None:
    """``[xai]`` by itself: its values, and the names of its methods."""
    if not xai.enabled:
        return
    from fedops.explain.explainers.options import Options

    options = Options.of(xai)
    options.folder(Path())
    try:
        from fedops.explain.methods import registry
    except ImportError:  # devices have what explains; this machine need not
        return
    for name in options.methods:
        _check_method(name, registry)


def _check_method(name: str, registry: Any) -> None:
    try:
        registry.canonical(name)
    except Invalid as error:
        known = registry.known()
        if did_you_mean(name, known) or "is not offered" in error.message:
            raise Invalid(f"[xai] methods: {error.message}; {_ADVICE}") from None
        # else: of a package that the devices have


def check_layer(config: Config, adapter: ModelAdapter) -> None:
    """Whether the model has the layer that ``[xai]`` names."""
    model = getattr(adapter, "model", None)
    torch = sys.modules.get("torch")
    if not config.xai.enabled or torch is None or not isinstance(model, torch.nn.Module):
        return
    modules = dict(model.named_modules())
    convolutions = [n for n, module in modules.items() if isinstance(module, torch.nn.Conv2d)]
    layer, index = config.xai.layer, config.xai.target_layer_index
    eligible = f"its convolutions: {comma_list(convolutions) or 'none'}"
    if layer != "auto" and (not layer or layer not in modules):
        guess = did_you_mean(layer, [name for name in modules if name]) or ";"
        raise Invalid(f"[xai] layer: the model has no layer '{layer}'{guess} {eligible}; {_ADVICE}")
    if layer == "auto" and convolutions and not -len(convolutions) <= index < len(convolutions):
        raise Invalid(f"[xai] target_layer_index = {index}: out of range; {eligible}; {_ADVICE}")


def main(question: str, answer: str) -> None:
    """Judge what the file ``question`` asks for, and write the judgement into the file ``answer``."""
    asked = read_question(question)
    only_strategy = bool(asked["only_strategy"])
    found = problem_of(Path(asked["app_dir"]), asked["config"], only_strategy=only_strategy)
    Path(answer).write_text(json.dumps({"problem": found}), encoding="utf-8")
    os._exit(0)  # without waiting for threads that an app has started


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
