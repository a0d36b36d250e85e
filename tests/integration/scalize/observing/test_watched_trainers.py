"""Trainers, boosters and loggers: small stand-ins for them have the methods that are watched."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from watched_scripts import Warm, Watched

LIGHTNING = """\
class Trainer:
    def __init__(self, **settings):
        self.settings, self.callback_metrics = settings, {}

    def fit(self, model):
        self.callback_metrics = {"train_loss": 0.5, "name": "x"}
        raise SystemExit(3)
"""
TRANSFORMERS = """\
class Trainer:
    class args:
        max_steps, deepspeed, fsdp = 7, None, ""

    def train(self, resume_from_checkpoint=None, **more):
        self.log({"loss": 0.25, "epoch": 1.0})
        return resume_from_checkpoint

    def log(self, logs, start_time=None):
        print(logs)
"""
XGBOOST = """\
class Booster:
    def update(self, data):
        return "updated"

def train(data):
    return Booster().update(data)
"""


@pytest.fixture
def warm(tmp_path: Path) -> Iterator[Warm]:
    process = Warm(tmp_path, ["json"])
    yield process
    process.close()


def run(warm: Warm, module: str, text: str, script: str, **job: object) -> Watched:
    """The script beside a package that has the one module."""
    place = warm.folder / "project"
    file = place / Path(*module.split(".")).with_suffix(".py")
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    for folder in file.relative_to(place).parents:
        if str(folder) != ".":
            (place / folder / "__init__.py").touch()
    (place / "main.py").write_text(script)
    return warm.again(place, **job)


def test_a_lightning_trainer_is_set_to_one_device_and_tells_its_metrics(warm: Warm) -> None:
    script = (
        "from pytorch_lightning.trainer.trainer import Trainer\n"
        "trainer = Trainer(devices=4, strategy='deepspeed_stage_2', max_steps=9)\n"
        "print(trainer.settings['devices'], trainer.settings['strategy'])\n"
        "trainer.fit(None)\n"
    )
    found = run(warm, "pytorch_lightning.trainer.trainer", LIGHTNING, script)
    assert found.output == "1 auto\n"
    assert found.kinds == {"sharded": "refusal", "max_steps": "fact", "one_device": "difference"}
    assert found.seen.metrics == {"train_loss": 0.5}
    assert found.code == 3


def test_a_transformers_trainer_begins_with_the_model_that_is_put_in(warm: Warm) -> None:
    script = (
        "from transformers.trainer import Trainer\n"
        "print(Trainer().train(resume_from_checkpoint='last'))\n"
    )
    module = "transformers.trainer"
    found = run(warm, module, TRANSFORMERS, script)
    assert found.output.endswith("\nlast\n")
    assert found.kinds == {"max_steps": "fact", "resumes": "difference"}
    assert found.seen.metrics == {"loss": 0.25, "epoch": 1.0}
    given = run(warm, module, TRANSFORMERS, script, model=warm.folder / "model.safetensors")
    assert given.output.endswith("\nNone\n")


def test_a_booster_is_refused_and_a_logger_kept_off_the_network(
    warm: Warm, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = "import os, wandb, xgboost\nprint(xgboost.train([]), os.environ['WANDB_MODE'])\n"
    (warm.folder / "project").mkdir()
    (warm.folder / "project" / "wandb.py").touch()
    found = run(warm, "xgboost", XGBOOST, script)
    assert found.output == "updated offline\n"
    assert found.kinds == {"not_averageable": "refusal", "wandb_offline": "fact"}
    refusal = next(note for note in found.seen.notes if note.weight == "refusal")
    assert refusal.text.startswith("xgboost grows trees, which differ by device")
    assert refusal.where == "xgboost.py:6"
