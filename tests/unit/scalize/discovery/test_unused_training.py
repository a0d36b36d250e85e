"""What of a project's own training the steps leave out: named with file and line, or read off and used."""

from pathlib import Path

import pytest

from fedops.core.errors import Invalid
from fedops.scalize.discovery.app_differences import differences_of_app
from fedops.scalize.discovery.differences import FILE, kept_differences
from fedops.scalize.discovery.scaffold import Plan, init_project, propose
from fedops.scalize.flow.project import Project

HEAD = """\
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.out = nn.Linear(3, 2)
    def forward(self, x): return self.out(x)
def load_data(): return TensorDataset(torch.ones(8, 3), torch.ones(8)), None
"""
STEP = """\
def train(model, train_loader, optimizer):
    for x, y in train_loader:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
"""


def _plan(tmp_path: Path, text: str, name: str = "main.py") -> Plan:
    (tmp_path / name).write_text(text)
    return propose(tmp_path)


def _told(plan: Plan) -> dict[str, str]:
    """Kind -> file:line, of those in the lines that a person sees."""
    lines = "\n".join(plan.lines())
    assert all(difference.line() in lines for difference in plan.differences)
    return {difference.kind: difference.where for difference in plan.differences}


def test_nothing_differs_where_all_is_used(tmp_path: Path) -> None:
    text = HEAD + STEP + "if __name__ == '__main__':\n    model = Net()\n"
    text += "    sgd = torch.optim.SGD(model.parameters(), 0.5, momentum=0.9)\n"
    text += "    for _ in range(5):\n        train(model, DataLoader(load_data()[0], 20), sgd)\n"
    plan = _plan(tmp_path, text)
    assert plan.differences == ()
    assert plan.optimizer == {"_target_": "torch.optim.SGD", "momentum": 0.9}
    assert plan.settings["learning_rate"] == (0.5, "main.py:17")
    assert plan.settings["batch_size"] == (20, "main.py:19")


def test_what_stands_around_the_train_step_is_told(tmp_path: Path) -> None:
    text = HEAD + STEP + "def main():\n    model = Net()\n"
    text += "    for p in model.out.parameters(): p.requires_grad = False\n"  # line 17
    text += "    model.load_state_dict(torch.load('begin.pt'))\n"
    text += "    adam = torch.optim.Adam(model.out.parameters(), lr=rate())\n"
    text += "    plan = torch.optim.lr_scheduler.StepLR(adam, 1)\n"
    text += "    mean = torch.optim.swa_utils.AveragedModel(model)\n"
    text += "    train(model, DataLoader(load_data()[0], 4, drop_last=True), adam)\nmain()\n"
    told = _told(_plan(tmp_path, text))
    assert told == {
        "frozen": "main.py:17",
        "weights": "main.py:18",
        "parameter_groups": "main.py:19",
        "learning_rate": "main.py:19",
        "scheduler": "main.py:20",
        "ema": "main.py:21",
        "loader": "main.py:22",
    }


LOOP = """\
def main():
    model = Net()
    sgd = torch.optim.SGD(model.parameters(), lr=0.5)
    for x, y in DataLoader(load_data()[0], 4, shuffle=True):
        loss = nn.functional.cross_entropy(model(x), y, weight=torch.ones(2), label_smoothing=0.2)
        loss = loss + 0.01 * model.out.weight.norm()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        sgd.step()
    torch.save(model.state_dict(), "end.pt")
    model.load_state_dict(torch.load("end.pt"))
main()
"""


def test_a_loop_that_cannot_be_called_is_told_with_all_that_is_in_it(tmp_path: Path) -> None:
    plan = _plan(tmp_path, HEAD + LOOP)
    assert _told(plan) == {
        "not_used": "main.py:16",
        "class_weights": "main.py:14",
        "penalty": "main.py:15",
        "clipping": "main.py:17",
    }, "weights that are loaded after the training are no begin; what could be read is used"
    assert plan.loss == {"_target_": "torch.nn.functional.cross_entropy", "label_smoothing": 0.2}
    assert (plan.settings["learning_rate"][0], plan.settings["batch_size"][0]) == (0.5, 4)
    assert f"fedops init {tmp_path} -- python main.py" in "\n".join(plan.lines())


def test_it_is_written_for_the_check_and_follows_the_answers(tmp_path: Path) -> None:
    text = HEAD + STEP.replace("def train(", "def epoch_of(").replace(
        "optimizer):", "optimizer, z):"
    )
    plan = _plan(tmp_path, text)
    assert plan.steps["train"].target == "main.epoch_of", "it trains, whatever it is called"
    without = init_project(tmp_path, {"train": ""})
    assert [d.kind for d in kept_differences(without.folder)] == ["not_used"]
    assert (without.folder / FILE).is_file()


def test_arguments_of_fit_and_callbacks_of_keras(tmp_path: Path) -> None:
    text = (
        "import keras\ndef make_model(): return keras.Sequential()\n"
        "def load_data(): return 1, 2\n"
        "def main():\n    model = make_model()\n    model.compile(optimizer='sgd', loss='mse')\n"
        "    stop = keras.callbacks.EarlyStopping(patience=2)\n"
        "    model.fit(1, 2, epochs=7, batch_size=16, class_weight={0: 3.0}, callbacks=[stop])\nmain()\n"
    )
    plan = _plan(tmp_path, text)
    assert _told(plan) == {
        "compile": "main.py:6",
        "callbacks": "main.py:8",
        "class_weights": "main.py:8",
    }
    assert plan.settings["batch_size"] == (16, "main.py:8"), "fit is what the adapter calls too"
    assert plan.settings["num_epochs"] == (1, "the project itself trains for 7: main.py:8")


LIGHTNING = """\
import torch
from lightning import LightningModule, Trainer
class Lit(LightningModule):
    def training_step(self, batch, index):
        return torch.nn.functional.mse_loss(batch[0], batch[1], reduction="sum")
    def configure_optimizers(self): return torch.optim.SGD(self.parameters(), lr=0.5)
def load_data(): return 1, 2
def main(): Trainer(max_epochs=9, gradient_clip_val=0.5).fit(Lit(), load_data()[0])
"""


def test_a_lightning_module_is_used_and_its_trainers_arguments_are_told(tmp_path: Path) -> None:
    plan = _plan(tmp_path, LIGHTNING)
    assert plan.framework == "lightning"
    assert (plan.optimizer, plan.loss) == (None, None), "the module makes them"
    assert _told(plan) == {"clipping": "main.py:8"}


def test_a_step_that_loads_its_own_data_is_told(tmp_path: Path) -> None:
    text = (
        HEAD + "def train_model(model, epochs, lr):\n    for x, y in DataLoader(load_data(), 4):\n"
    )
    text += "        nn.functional.cross_entropy(model(x), y).backward()\n"
    assert _told(_plan(tmp_path, text)) == {"own_data": "main.py:10"}


def test_what_has_nothing_to_do_with_the_steps_is_told_in_few_lines(tmp_path: Path) -> None:
    for number in range(9):
        text = "def go(net, data):\n    for x in data: net(x).backward()\n"
        (tmp_path / f"old{number}.py").write_text(text.replace("net", f"thing{number}"))
    plan = _plan(tmp_path, HEAD + STEP + "train(Net(), load_data(), None)\n")
    assert len(plan.differences) == 5
    assert "5 more: old4.py, old5.py, old6.py, ..." in plan.differences[-1].text


@pytest.mark.parametrize(
    ("text", "name", "command"),
    [
        (LOOP.replace("load_data()[0]", "[]"), "main.py", "python main.py"),
        ("from torch import nn\nnet = nn.Linear(2, 2)\nnet(1).backward()\n", "x.py", "python x.py"),
        ("from . import a\ndef go(m): m.fit(1)\ngo(2)\n", "__main__.py", "python -m __main__"),
    ],
)
def test_a_script_is_offered_to_be_watched(
    tmp_path: Path, text: str, name: str, command: str
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(Invalid) as told:
        init_project(tmp_path)
    assert f"fedops init {tmp_path} -- {command}" in told.value.message


def test_warnings_are_kept_when_steps_are_answered(tmp_path: Path) -> None:
    (tmp_path / "half.py").write_text("def half(:\n")
    text = HEAD + STEP + "try:\n    for epoch in range(40): pass\nexcept KeyboardInterrupt: pass\n"
    plan = _plan(tmp_path, text).with_answers({"train": ""})
    assert any("importing 'main' runs code (line 16)" in problem for problem in plan.problems)
    assert any("not looked at: half.py:1" in problem for problem in plan.problems)


def test_a_check_looks_again(tmp_path: Path) -> None:
    around = "def main():\n    sgd = torch.optim.SGD(Net().parameters(), lr=1)\n"
    around += (
        "    torch.optim.lr_scheduler.StepLR(sgd, 1)\n    train(Net(), load_data(), sgd)\nmain()\n"
    )
    (tmp_path / "main.py").write_text(HEAD + STEP + around)
    folder = init_project(tmp_path).folder

    def seen() -> list[str]:
        project = Project.open(folder)
        return [d.kind for d in differences_of_app(project.manifest, project.config)]

    assert seen() == ["scheduler"]
    (tmp_path / "main.py").write_text(HEAD + STEP)
    assert seen() == []
    (tmp_path / "main.py").write_text(HEAD + STEP.replace("def train(", "def other("))
    assert seen() == ["scheduler"], "what init wrote, where the step is not in the project"
