"""Which of several functions and classes becomes a step: helpers never win, ties are questions."""

from pathlib import Path

import pytest

from fedops.core.errors import Invalid
from fedops.scalize.discovery.scaffold import init_project, propose


def _targets(tmp_path: Path, text: str, **others: str) -> dict[str, str]:
    for name, other in {"m": text, **others}.items():
        file = tmp_path / f"{name.replace('__', '/', 1)}.py"
        file.parent.mkdir(exist_ok=True)
        file.write_text(other)
    return {step: choice.target for step, choice in propose(tmp_path).steps.items()}


HELPERS = """\
from abc import ABC
from torch import nn
class Base(nn.Module):
    def forward(self, x): raise NotImplementedError
class FocalLoss(nn.Module): ...
class BasicBlock(nn.Module):
    def __init__(self, width): ...
class _Old(nn.Module): ...
class Net(Base):
    def __init__(self, block): ...
def _make_model(): return Net(BasicBlock)
def get_batch(data, size): return data, size
def prepare_device(n_gpu=1): return "cpu", []
def get_mean_and_std(dataset): return 0, 1
def download_data(): print("done")
def normalise_data(table): return table
def load_images(): return 1, 2
def _train(net, loader): ...
def train_step(net, batch): net(batch).backward()
def evaluate_one(net, picture): return 1
def trainer(net, train_loader): net(train_loader).backward()
def evaluator(net, test_loader): return 0.5
def main(): Net(BasicBlock)
"""


def test_helpers_never_win_over_a_real_candidate(tmp_path: Path) -> None:
    assert _targets(tmp_path, HELPERS) == {
        "data": "m.load_images",
        "model": "m.Net",
        "train": "m.trainer",
        "evaluate": "m.evaluator",
    }
    assert propose(tmp_path).ties == {}


@pytest.mark.parametrize(
    ("call", "imports", "framework"),
    [
        ("models.resnet18(num_classes=2)", "from torchvision import models", "pytorch"),
        ("timm.create_model('vit_tiny')", "import timm", "pytorch"),
        ("UNet(spatial_dims=2).to('cpu')", "from monai.networks.nets import UNet", "pytorch"),
        ("smp.Unet('resnet18')", "import segmentation_models_pytorch as smp", "pytorch"),
        ("torch.compile(torch.hub.load('a', 'b'))", "import torch", "pytorch"),
        (
            "AutoModelForMaskedLM.from_pretrained('x')",
            "from transformers import AutoModelForMaskedLM",
            "huggingface",
        ),
        ("keras.applications.MobileNetV2()", "from tensorflow import keras", "keras"),
        ("REGISTRY['small']()", "import torch", "pytorch"),
    ],
)
def test_models_of_libraries_are_found_by_what_is_returned(
    tmp_path: Path, call: str, imports: str, framework: str
) -> None:
    text = f"{imports}\ndef load_data(): return 1, 2\ndef make_net():\n    net = {call}\n"
    assert _targets(tmp_path, text + "    return net\n")["model"] == "m.make_net"
    assert propose(tmp_path).framework == framework


def test_trees_are_refused_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "m.py").write_text(
        "import xgboost\ndef load_data(): return 1, 2\n"
        "def make_model(): return xgboost.XGBClassifier()\n"
    )
    with pytest.raises(Invalid, match=r"XGBClassifier makes boosted trees.*nearest that works"):
        init_project(tmp_path)


def test_a_tie_is_a_question_until_it_is_answered(tmp_path: Path) -> None:
    text = "from torch import nn\nclass A(nn.Module): ...\nclass B(nn.Module): ...\n"
    (tmp_path / "m.py").write_text(text + "def load_data(): return 1, 2\n")
    plan = propose(tmp_path)
    assert plan.ties == {"model": ("m.A", "m.B")}
    assert any("say which: --step model=m.A" in problem for problem in plan.problems)
    for answer in ("m.A", "m.B"):
        answered = plan.with_answers({"model": answer})
        assert (answered.ties, answered.steps["model"].target) == ({}, answer)
        assert answered.problems == ()


def test_a_step_chosen_by_hand_gets_its_arguments(tmp_path: Path) -> None:
    (tmp_path / "m.py").write_text(
        "from torch import nn\nclass A(nn.Module): ...\n"
        "class Wide(nn.Module):\n    def __init__(self, width, depth): ...\n"
        "def load_data(): return 1, 2\ndef main(): A(); Wide(width=3)\n"
    )
    plan = propose(tmp_path).with_answers({"model": "m.Wide"})
    assert plan.steps["model"].arguments == {"width": 3}
    assert any("needs a value for 'depth'" in problem for problem in plan.problems)


def test_names_behind_a_star_are_followed(tmp_path: Path) -> None:
    nets = "from torch import nn\nclass Part(nn.Module): ...\n"
    whole = "from torch import nn\nfrom .parts import *\nclass Whole(nn.Module):\n"
    whole += "    def __init__(self): self.part = Part()\n"
    text = "from nets import *\ndef load_data(): return 1, 2\ndef main(): Whole()\n"
    found = _targets(
        tmp_path, text, nets____init__="from .whole import *\n", nets__parts=nets, nets__whole=whole
    )
    assert found["model"] == "nets.whole.Whole"


def test_a_data_module_is_the_data_step_and_its_loaders_are_used(tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text(
        "from torch import nn\nfrom torch.utils.data import DataLoader\n"
        "from lightning.pytorch import LightningDataModule\n"
        "class Net(nn.Module): ...\n"
        "class Data(LightningDataModule):\n"
        "    def train_dataloader(self):\n        return DataLoader(self.train, 8)\n"
        "def prepare_data(x):\n    return x\n"
    )
    plan = propose(tmp_path)
    assert plan.steps["data"].target == "main.Data"
    assert plan.differences == ()
