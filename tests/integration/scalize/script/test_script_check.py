"""``fedops check`` of an app with a command of its own: a real proof, and one that fails."""

import textwrap
from pathlib import Path

import pytest
from script_apps import WITH_MAIN, make_app, write_project

from fedops.scalize.check.project_check import check_project
from fedops.scalize.check.untouched import state_below

pytest.importorskip("torch", reason="the commands here use PyTorch")

#: Its optimizer is made, and a forward is made, before the weights that are trained are loaded; and after
#: the training others are.
LOADS_TWICE = textwrap.dedent(
    """
    import torch
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset

    torch.manual_seed(5)
    points = torch.rand(16, 5)
    loader = DataLoader(TensorDataset(points[:, :4], points[:, 4:]), batch_size=8)
    net = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    net(points[:, :4])
    net.load_state_dict({"weight": torch.ones(1, 4), "bias": torch.zeros(1)})
    for x, y in loader:
        optimizer.zero_grad()
        nn.functional.mse_loss(net(x), y).backward()
        optimizer.step()
    net.load_state_dict({"weight": torch.ones(1, 4), "bias": torch.ones(1)})
    """
)


def test_a_command_is_proven_and_the_project_stays_as_it_is(tmp_path: Path) -> None:
    looks_first = "import importlib.util\nimportlib.util.find_spec('torch')\n"
    project = write_project(tmp_path / "project", looks_first + WITH_MAIN)
    make_app(project, tmp_path / "scratch", ["python", "main.py", "--epochs", "2"], passes=1)
    before, said = state_below(project), list[str]()
    report = check_project(project, on_progress=said.append)
    assert report.problems == []
    assert [(step.kind, step.ok) for step in report.proof] == [
        ("repeats", True),
        ("equal", True),
        ("used", True),
    ]
    assert "after which the command alone went on" in report.proof[1].evidence
    assert report.verdict == "all is well"
    assert report.examples == 20
    assert len(report.parameters) == 9
    assert any("net.pt" in note for note in report.notes)
    assert state_below(project) == before
    assert "alone 1 ..." in said
    assert any(line.startswith("one round: 3 steps in ") for line in said)


def test_a_model_that_is_not_used_is_a_problem_and_what_differs_is_listed(tmp_path: Path) -> None:
    project = write_project(tmp_path / "project", LOADS_TWICE)
    make_app(project, tmp_path / "scratch", ["python", "main.py"], passes=1)
    report = check_project(project)
    assert [step.ok for step in report.proof] == [
        True,
        True,
        False,
    ]  # to put nothing in is equal too
    (problem,) = report.problems
    assert (
        "the model that a round is given is not the one that is trained: Linear: 'weight'"
        in problem
    )
    assert [one.kind for one in report.differences] == ["other_weights_at_the_end"]
    assert report.differences[0].where.startswith("main.py:")
    assert report.verdict == "this app cannot be federated yet"
