"""Explaining in a thread beside training."""

from __future__ import annotations

import threading
from pathlib import Path

import torch
from torch import Tensor, nn

from fedops.explain.explainers.options import Options
from fedops.explain.explainers.report import ExplainReport
from fedops.explain.service.background import Background
from fedops.explain.service.explainer import Explainer

DATA = torch.rand(12, 1, 12, 12), torch.arange(12) % 3


class Small(nn.Module):
    """Waits in its forward pass, outside the main thread, until it may go on."""

    gate = threading.Event()
    inside = threading.Event()

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3)
        self.head = nn.Linear(400, 3)

    def forward(self, x: Tensor) -> Tensor:
        if threading.current_thread() is not threading.main_thread():
            Small.inside.set()
            assert Small.gate.wait(60)
        return self.head(self.conv(x).relu().flatten(1))


def test_training_goes_on_while_a_round_is_explained(tmp_path: Path) -> None:
    Small.gate.clear()
    Small.inside.clear()
    model = Small()
    reports: list[ExplainReport] = []
    beside = Background(
        Explainer.open(model, Options(samples=3), DATA, folder=tmp_path), reports.append
    )
    expected = {name: value.clone() for name, value in model.state_dict().items()}
    assert beside.submit(model, model, round=1)
    assert Small.inside.wait(60)
    # the explainer is busy; training changes the weights and draws random numbers meanwhile
    torch.manual_seed(3)
    first = torch.rand(2)
    with torch.no_grad():
        model.head.weight.add_(1)
    assert beside.submit(model, round=2)
    assert not beside.submit(model, round=3), "round 2 was still waiting and is left out"
    assert not beside.wait(0)
    Small.gate.set()
    assert beside.wait(60)
    second = torch.rand(2)
    torch.manual_seed(3)
    assert torch.equal(torch.cat([first, second]), torch.cat([torch.rand(2), torch.rand(2)]))
    assert [report.round for report in reports] == [1, 3]
    assert all(report.failure is None for report in reports)
    assert not torch.equal(expected["head.weight"], model.head.weight)
    # round 1 was explained with the weights it was submitted with
    rows = [row for row in reports[0].drift if row.series == "local to global"]
    assert all(row.cosine > 0.9999 for row in rows)
    assert beside.close(60)


def test_a_failure_is_a_report(tmp_path: Path) -> None:
    Small.gate.set()
    model = Small()
    reports: list[ExplainReport] = []

    def broken(report: ExplainReport) -> None:
        reports.append(report)
        raise RuntimeError("whoever listens fails")

    beside = Background(Explainer.open(model, Options(samples=3), DATA, folder=tmp_path), broken)
    beside.submit({"nonsense": torch.zeros(1)}, round=1)
    assert beside.wait(60)
    beside.submit(model, round=2)
    assert beside.close(60), "what was submitted is finished first"
    assert [report.failure is None for report in reports] == [False, True]
    assert "no tensor 'nonsense'" in str(reports[0].failure)


def test_closing_an_idle_one_is_quick(tmp_path: Path) -> None:
    explainer = Explainer.open(Small(), Options(samples=3), DATA, folder=tmp_path)
    assert Background(explainer, lambda _report: None).close(10)
