"""``fedops check`` on projects that do more than define something when they are imported."""

from pathlib import Path

import pytest

from fedops.scalize.check.import_watch import _loops
from fedops.scalize.check.project_check import check_project
from fedops.scalize.discovery.scaffold import init_project

pytest.importorskip("torch", reason="the projects here use PyTorch")

PROJECT = """\
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.out = nn.Linear(3, 2)

    def forward(self, x):
        return self.out(x)

def load_data():
    x = torch.randn(40, 3)
    return TensorDataset(x, (x[:, 0] > 0).long())

def main():
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    while True:
        for x, y in DataLoader(load_data(), 10):
            optimizer.zero_grad()
            nn.functional.cross_entropy(model(x), y).backward()
            optimizer.step()

"""


@pytest.mark.parametrize(
    ("end", "words"),
    [
        (
            "main()\n",
            [
                "importing the project trains (lone.py:2",
                "torch's",
                "fedops init . -- python lone.py",
            ],
        ),
        ('torch.save(Net().state_dict(), "model.pt")\n', ["writes model.pt", "__name__"]),
    ],
)
def test_a_project_that_trains_when_it_is_imported_is_refused(
    tmp_path: Path, end: str, words: list[str]
) -> None:
    (tmp_path / "lone.py").write_text(PROJECT)
    init_project(tmp_path)
    (tmp_path / "lone.py").write_text(PROJECT + end)
    report = check_project(tmp_path, seconds=120)
    (problem,) = report.problems
    assert [word for word in words if word not in problem] == []
    assert report.verdict == "this app cannot be federated yet"


def test_the_lines_of_loops_are_known(tmp_path: Path) -> None:
    file = tmp_path / "loops.py"
    file.write_text("x = 1\nfor i in range(3):\n    x += i\n\nwhile x:\n    x -= 1\n")
    assert _loops(str(file)) == [(2, 3), (5, 6)]
