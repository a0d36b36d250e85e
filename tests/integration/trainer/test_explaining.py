"""Explanations beside a client's rounds: opened before any training, never in the way of a reply."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fedops.config.loading import to_plain
from fedops.core.contracts.training import TRAIN, TrainingOrder, UpdateHeader
from fedops.core.errors import Invalid
from fedops.scalize.flow.project import Project
from fedops.trainer.device_context import Device, NoReporter
from fedops.trainer.explanations import RoundExplanations
from fedops.trainer.local_round import LocalTrainer

APP = Path(__file__).parents[3] / "apps" / "mnist-xai"
BASE = (
    "dataset.name=digits",
    "dataset.partition.of=8",
    "dataset.partition.index=0",
    "batch_size=32",
    "num_rounds=3",
    "xai.samples=4",
)


@pytest.fixture(autouse=True)
def _surroundings(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(str(APP))
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@dataclass
class Ear(NoReporter):
    """Hears what a device reports, and can be waited on."""

    events: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    metrics: dict[tuple[str, int], float] = field(default_factory=dict)
    changed: threading.Condition = field(default_factory=threading.Condition)

    def event(self, name: str, text: str, **data: Any) -> None:
        with self.changed:
            self.events.append((name, text, data))
            self.changed.notify_all()

    def metric(self, name: str, value: float, run_id: int, round_: int) -> None:
        with self.changed:
            self.metrics[name, round_] = value
            self.changed.notify_all()

    def named(self, name: str) -> list[str]:
        return [text for event, text, _ in self.events if event == name]


class Client:
    """A device with the MNIST app and its explanations."""

    def __init__(self, home: Path, *overrides: str, upload: str = "none") -> None:
        self.project = Project.open(APP, (*BASE, *overrides))
        self.ear = Ear()
        self.explanations = RoundExplanations(home, self.ear, upload)
        device = Device("pi-1", report=self.ear, explanations=self.explanations)
        self.trainer = LocalTrainer(self.project, device)
        self.trainer.warm_up()
        self.trainer.try_out()

    def round(self, number: int, **xai: Any) -> UpdateHeader:
        """The answer to a round, under this ``[xai]`` of the run's config."""
        adapter = self.project.make_adapter(42)
        config = to_plain(self.project.config)
        config["xai"] = {**config["xai"], **xai}
        order = TrainingOrder(number, 7, 1, "mnist", 42, config, adapter.contract)
        update = self.trainer(order, adapter.get_tensors(), TRAIN)
        self.explanations.idle()
        return update.header

    def finish(self) -> None:
        self.explanations.close(120)


def test_every_round_leaves_its_files_and_nothing_leaves_the_device(tmp_path: Path) -> None:
    client = Client(tmp_path)
    for number in (1, 2):
        reply = client.round(number)
        assert reply.refused == ""
        opened = client.explanations._opened
        assert opened is not None
        assert opened.beside.wait(120)
    client.finish()
    for number in (1, 2):
        folder = tmp_path / "outputs" / "gradcam" / "run-7" / f"round-000{number}"
        report = json.loads((folder / "report.json").read_text())
        assert report["layer"] == "conv2"
        assert {row["model"] for row in report["samples"]} >= {"global", "local"}
        assert (folder / report["sheets"][0]).is_file()
        assert (folder / "maps.npz").is_file()
    lines = (tmp_path / "outputs/gradcam/drift.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    assert {row["series"] for row in rows} == {
        "local to global",
        "global over rounds",
        "local over rounds",
    }
    assert not [name for name, _ in client.ear.metrics if name.startswith("xai/")]
    assert client.ear.events == []


def test_a_reply_never_waits_for_an_explanation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from fedops.explain.service.explainer import Explainer

    gate, entered = threading.Event(), threading.Event()
    original = Explainer.attempt

    def held(self: Explainer, *args: Any, **kwargs: Any) -> Any:
        entered.set()
        assert gate.wait(120)
        return original(self, *args, **kwargs)

    monkeypatch.setattr(Explainer, "attempt", held)
    client = Client(tmp_path)
    for number in (1, 2, 3):  # all replies come while the first round is still being explained
        assert client.round(number).refused == ""
        assert entered.wait(120)
    gate.set()
    client.finish()
    folder = tmp_path / "outputs" / "gradcam" / "run-7"
    assert {path.name for path in folder.iterdir()} == {"round-0001", "round-0003"}


def test_scores_leave_when_task_and_owner_say_so_and_pictures_never_by_the_task_alone(
    tmp_path: Path,
) -> None:
    client = Client(tmp_path, upload="scores")
    client.round(1, upload="images")
    client.finish()
    names = {name for name, _ in client.ear.metrics if name.startswith("xai/")}
    assert "xai/local_to_global/layercam/worst" in names
    assert any(name.startswith("xai/local/gradcam/") for name in names)
    assert client.ear.named("explanation_picture") == []
    assert ["'images' of the task became 'scores'" in x for x in client.ear.named("value_lowered")]


def test_pictures_leave_when_the_owner_allows_them(tmp_path: Path) -> None:
    client = Client(tmp_path, upload="images")
    client.round(1, upload="images")
    client.finish()
    assert client.ear.named("explanation_picture") == ["sheet-gradcam-predicted.png"]
    (data,) = [data for name, _, data in client.ear.events if name == "explanation_picture"]
    assert data["round"] == 1
    assert len(data["png"]) < 250_000


def test_before_is_once_a_run_and_before_any_training(tmp_path: Path) -> None:
    client = Client(tmp_path, "xai.when=before")
    for number in (1, 2):
        client.round(number)
    client.finish()
    folder = tmp_path / "outputs" / "gradcam" / "run-7"
    assert [path.name for path in folder.iterdir()] == ["round-0000"]
    report = json.loads((folder / "round-0000" / "report.json").read_text())
    assert {row["model"] for row in report["samples"]} == {"global"}


@pytest.mark.parametrize(
    ("overrides", "says"),
    [
        (["xai.layer=convv2"], r"no layer 'convv2'; did you mean 'conv2'\?.*conv1.*conv2"),
        (["xai.layer=fc1"], "layer 'fc1' .* has no spatial map.*conv1.*conv2"),
        (["xai.layer=auto", "xai.target_layer_index=3"], "give -2 to 1"),
        (['xai.methods=["gradkam"]'], "did you mean 'gradcam'"),
        (["xai.output_dir=/tmp/elsewhere"], "leaves the client's folder"),
        (["dataset.validation_split=0"], "this device has none"),
    ],
)
def test_a_mistake_stops_it_before_any_training(
    overrides: list[str], says: str, tmp_path: Path
) -> None:
    with pytest.raises(Invalid, match=says) as stopped:
        Client(tmp_path, *overrides)
    assert "xai.enabled = false" in stopped.value.message


def test_another_place_than_the_client_is_refused() -> None:
    with pytest.raises(Invalid, match=r"xai.run_location.*'client'"):
        Project.open(APP, ["xai.run_location=server"])


def test_a_folder_that_cannot_be_written_stops_it(tmp_path: Path) -> None:
    (tmp_path / "outputs").write_text("a file in the way")
    with pytest.raises(Invalid, match="cannot be written to"):
        Client(tmp_path)


def test_a_mistake_in_the_runs_config_is_a_refusal_with_its_reason(tmp_path: Path) -> None:
    client = Client(tmp_path)
    refused = client.round(1, layer="convv2").refused
    assert "did you mean 'conv2'" in refused
    assert client.ear.named("refused") == [refused]
    assert client.round(1).refused == ""
    client.finish()


def test_a_failed_explanation_is_an_event_and_no_failed_round(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = Client(tmp_path, upload="scores")
    (tmp_path / "outputs" / "gradcam" / "run-7").write_text("in the way")
    assert client.round(1).refused == ""
    client.finish()
    (text,) = client.ear.named("explanation_failed")
    assert "cannot be written to" in text


def test_a_model_that_raises_anything_is_a_refusal(tmp_path: Path) -> None:
    from fedops.config.loading import parse_config
    from fedops.scalize.flow.datasets import DataSplit

    class Odd(torch.nn.Module):
        def forward(self, x: Any) -> Any:
            raise KeyError("input_ids")

    @dataclass
    class Holder:
        model: Any

    config = parse_config({"xai": {"enabled": True}}, "the test")
    data = DataSplit(None, (torch.rand(4, 1, 8, 8), torch.zeros(4)))
    holder: Any = Holder(Odd())
    with pytest.raises(Invalid, match="cannot be explained: KeyError: 'input_ids'"):
        RoundExplanations(tmp_path, Ear()).prepare(config, holder, data)


def test_a_table_of_numbers_is_explained_by_a_copy_of_the_estimator(tmp_path: Path) -> None:
    """What no tensors make whole is copied before and after training."""
    from sklearn.linear_model import LogisticRegression

    from fedops.config.loading import parse_config
    from fedops.scalize.flow.datasets import DataSplit
    from fedops.trainer.device_context import RoundMoment

    rng = np.random.default_rng(0)
    rows = rng.normal(size=(40, 3)).astype(np.float32)
    labels = (rows[:, 0] > 0).astype(np.int64)

    @dataclass
    class Holder:
        model: Any

    holder: Any = Holder(LogisticRegression().fit(rows, 1 - labels))
    section = {"enabled": True, "methods": ["permutation"], "samples": 6}
    config = parse_config({"xai": section}, "the test")
    ear = Ear()
    explanations = RoundExplanations(tmp_path, ear)
    explanations.prepare(config, holder, DataSplit((rows, labels), (rows, labels)))
    moment = RoundMoment(1, 1, holder, {})
    explanations.received(moment)
    holder.model.fit(rows, labels)
    explanations.trained(replace(moment))
    explanations.idle()
    explanations.close(120)
    report = json.loads((tmp_path / "outputs/gradcam/run-1/round-0001/report.json").read_text())
    said = {row["model"]: row["predicted"] == row["label"] for row in report["samples"]}
    assert said == {"global": False, "local": True}
    assert ear.events == []


def test_nothing_is_imported_when_it_is_off(tmp_path: Path) -> None:
    script = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from pathlib import Path; from test_explaining import Client\n"
        "client = Client(Path(sys.argv[2]), 'xai.enabled=false', upload='images')\n"
        "assert not client.round(1).refused\n"
        "client.finish()\n"
        "heavy = ('fedops.explain', 'captum', 'matplotlib', 'shap', 'flwr')\n"
        "heavy = [name for name in sys.modules if name.startswith(heavy)]\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(Path(__file__).parent), str(tmp_path)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(APP)},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert list(tmp_path.iterdir()) == []
