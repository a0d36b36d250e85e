"""Explaining rounds on disk: what is written, what a restart finds, what goes wrong and how it is said."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional as F

from fedops.core.errors import Invalid, Unavailable
from fedops.explain.explainers.options import Limits, Options
from fedops.explain.service.explainer import Explainer
from fedops.explain.service.start import open_explainer
from fedops.storage import tensors
from fedops.testing import FakeClock


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """Small models run fastest, and the same everywhere, on one thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Cnn(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 16, 3, padding=1)
        self.conv2 = nn.Conv2d(16, 32, 3, padding=1)
        self.fc1 = nn.Linear(32 * 7 * 7, 64)
        self.fc2 = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        return self.fc2(F.relu(self.fc1(x.flatten(1))))


def new_model(seed: int = 0) -> Cnn:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Cnn()


@pytest.fixture(scope="module")
def digits() -> tuple[Tensor, Tensor]:
    """Handwritten digits, enlarged to 28 x 28."""
    data = load_digits()
    small = torch.from_numpy(data.images).float()[:, None] / 16
    large = F.interpolate(small, size=28, mode="bilinear", align_corners=False)
    return large, torch.from_numpy(data.target).long()


def trained(model: Cnn, inputs: Tensor, labels: Tensor, epochs: int = 1) -> Cnn:
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    generator = torch.Generator().manual_seed(0)
    model.train()
    for _ in range(epochs):
        for rows in torch.randperm(len(inputs), generator=generator).split(32):
            loss = F.cross_entropy(model(inputs[rows]), labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return model


@pytest.fixture(scope="module")
def model(digits: tuple[Tensor, Tensor]) -> Cnn:
    return trained(new_model(), digits[0][:1200], digits[1][:1200], epochs=3)


@pytest.fixture(scope="module")
def data(digits: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    return digits[0][1200:], digits[1][1200:]


def copy_of(model: nn.Module) -> dict[str, Any]:
    return {name: value.detach().numpy().copy() for name, value in model.state_dict().items()}


def opened(model: Any, data: Any, folder: Path, **options: Any) -> Explainer:
    return Explainer.open(model, Options(**{"samples": 6, **options}), data, folder=folder)


def read(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / "report.json").read_text()))


def size_of(path: Path) -> tuple[int, int]:
    with Image.open(path) as image:
        return image.size


def test_a_round_as_it_lies_on_disk(model: Cnn, data: Any, tmp_path: Path) -> None:
    explainer = opened(model, data, tmp_path, explain="both", methods=("gradcam", "saliency"))
    report = explainer.run(copy_of(model), model, round=3, run=8, full=True)
    folder = tmp_path / "run-8" / "round-0003"
    assert report.folder == folder
    assert report.complete
    assert report.failure is None
    assert sorted(report.sheets) == [
        "sheet-gradcam-predicted.png",
        "sheet-gradcam-true.png",
        "sheet-saliency-predicted.png",
        "sheet-saliency-true.png",
    ]
    assert len(report.samples) == 6 * 2 * 2 * 2
    written = read(folder)
    for row in written["samples"]:
        assert size_of(folder / row["png"]) == (3 * 112 + 8, 112)
        assert 0 <= row["probability"] <= 1
        assert {"index", "label", "predicted", "flags"} <= set(row)
    for name in report.sheets:
        assert size_of(folder / name)[0] > 500
    with np.load(folder / "maps.npz", allow_pickle=False) as maps:
        assert maps["global/gradcam/predicted/values"].shape == (6, 14, 14)
        assert maps["local/saliency/true/values"].shape == (6, 28, 28)
        assert str(maps["probe"]) == written["probe"]["digest"]
    assert written["layer"] == "conv2"
    assert written["quality"]["local"]["gradcam"]["sanity_by_layer"]
    assert written["seconds"]["total"] > 0
    assert json.loads(json.dumps(report.plain())) == {**written, "folder": str(folder)}


def test_the_same_model_twice_has_no_drift(model: Cnn, data: Any, tmp_path: Path) -> None:
    report = opened(model, data, tmp_path).run(model, copy_of(model), round=1)
    assert {(row.series, row.method) for row in report.drift} == {
        ("local to global", "gradcam"),
        ("local to global", "layercam"),
    }
    for row in report.drift:
        assert (row.cosine, row.jaccard, row.spearman) == pytest.approx((1, 1, 1))
        assert not row.alarm


def test_quality_of_a_trained_model_beats_chance(model: Cnn, data: Any, tmp_path: Path) -> None:
    explainer = opened(model, data, tmp_path, samples=10, methods=("hirescam",), max_seconds=300)
    scores = explainer.run(model, full=True, round=1).quality["global"]["hirescam"]
    assert scores["deletion"] < scores["deletion_random"]
    assert scores["insertion"] > scores["insertion_random"]
    assert scores["road"] > 0
    assert 0 <= scores["sanity"] <= 1


def test_integrated_gradients_report_their_completeness(
    model: Cnn, data: Any, tmp_path: Path
) -> None:
    explainer = opened(
        model, data, tmp_path, samples=3, methods=("integrated_gradients",), max_seconds=300
    )
    report = explainer.run(model, round=1)
    assert report.quality["global"]["integrated_gradients"]["completeness_error"] <= 1e-3
    assert all(row["completeness_error"] <= 1e-3 for row in report.samples)


def test_the_training_model_is_never_touched(model: Cnn, data: Any, tmp_path: Path) -> None:
    training = new_model(1).train()
    training(torch.rand(2, 1, 28, 28)).sum().backward()
    before = {name: value.clone() for name, value in training.state_dict().items()}
    grads = [parameter.grad.clone() for parameter in training.parameters()]  # type: ignore[union-attr]
    randomness = torch.get_rng_state()
    explainer = opened(training, data, tmp_path)
    explainer.run(copy_of(model), training, round=1)
    assert training.training
    assert all(torch.equal(before[name], value) for name, value in training.state_dict().items())
    assert all(
        torch.equal(grad, parameter.grad)  # type: ignore[arg-type]
        for grad, parameter in zip(grads, training.parameters(), strict=True)
    )
    assert not any(module._forward_hooks for module in training.modules())
    assert torch.equal(torch.get_rng_state(), randomness)


def test_a_restart_goes_on_with_the_series(model: Cnn, data: Any, tmp_path: Path) -> None:
    other = trained(new_model(2), *data)
    opened(model, data, tmp_path).run(model, round=1, run=1)
    report = opened(model, data, tmp_path).run(other, round=2, run=1)
    rows = [row for row in report.drift if row.series == "global over rounds"]
    assert {row.since for row in rows} == {(1, 1)}
    assert all(row.cosine < 0.99 for row in rows)
    # a run later it goes on, and a repeated round replaces what it was
    explainer = opened(model, data, tmp_path)
    explainer.run(other, round=1, run=2)
    again = explainer.run(other, round=1, run=2)
    assert {row.since for row in again.drift} == {(1, 2)}
    lines = [json.loads(line) for line in (tmp_path / "drift.jsonl").read_text().splitlines()]
    assert [(line["run"], line["round"]) for line in lines if line["method"] == "gradcam"] == [
        (1, 2),
        (2, 1),
        (2, 1),
    ]


def test_another_probe_set_starts_a_new_series(model: Cnn, data: Any, tmp_path: Path) -> None:
    opened(model, data, tmp_path, seed=1).run(model, round=1)
    assert opened(model, data, tmp_path, seed=2).run(model, round=2).drift == []


def test_damaged_files_of_earlier_rounds_are_passed_over(
    model: Cnn, data: Any, tmp_path: Path
) -> None:
    opened(model, data, tmp_path).run(model, round=1)
    (tmp_path / "round-0001" / "maps.npz").write_bytes(b"PK\x03\x04 cut short")
    with (tmp_path / "drift.jsonl").open("a") as file:
        file.write('{"run": 0, "round"')
    assert opened(model, data, tmp_path).run(model, round=2).drift == []


def test_pictures_of_old_rounds_are_removed(model: Cnn, data: Any, tmp_path: Path) -> None:
    explainer = opened(model, data, tmp_path, keep_rounds=2, samples=2)
    (tmp_path / "round-0000").mkdir()
    (tmp_path / "round-0000" / "mine.txt").write_text("not a report of ours")
    for number in (1, 2, 3):
        explainer.run(model, round=number)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "drift.jsonl",
        "round-0000",
        "round-0002",
        "round-0003",
    ]


def test_weights_from_a_file_of_the_registry(model: Cnn, data: Any, tmp_path: Path) -> None:
    save_file(model.state_dict(), tmp_path / "v1.safetensors")
    explainer = Explainer.open(new_model(9), Options(samples=4), data)
    ours = explainer.run(tensors.load(tmp_path / "v1.safetensors"), out_dir=tmp_path / "ours")
    theirs = explainer.run(load_file(tmp_path / "v1.safetensors"), out_dir=tmp_path / "theirs")
    assert (tmp_path / "ours" / "report.json").is_file()
    assert not (tmp_path / "ours" / "drift.jsonl").exists()
    assert [row["probability"] for row in ours.samples] == [
        row["probability"] for row in theirs.samples
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"fc2.weight": np.zeros((5, 64), np.float32)},
            r"'fc2.weight' is \[10, 64\] in the model and \[5, 64\]",
        ),
        ({"conv9.weight": np.zeros(1, np.float32)}, "the model has no tensor 'conv9.weight'"),
    ],
)
def test_weights_of_another_model(
    model: Cnn, data: Any, tmp_path: Path, change: Any, message: str
) -> None:
    with pytest.raises(Invalid, match=message):
        opened(model, data, tmp_path).run({**copy_of(model), **change}, round=1)


def test_the_time_is_bounded_and_what_is_done_is_written(
    model: Cnn, data: Any, tmp_path: Path
) -> None:
    clock = FakeClock()

    class Slow(Cnn):
        def forward(self, x: Tensor) -> Tensor:
            clock.advance(1)
            return super().forward(x)

    slow = Slow()
    slow.load_state_dict(model.state_dict())
    explainer = Explainer.open(
        slow,
        Options(samples=6, max_seconds=3, methods=("gradcam", "kernelshap")),
        data,
        folder=tmp_path,
        clock=clock,
    )
    begin = clock()
    report = explainer.run(slow, slow, round=1)
    assert clock() - begin <= 4, "at most one pass more than allowed"
    assert not report.complete
    assert any("the time was over after 3 s" in note for note in report.notes)
    done = [row for row in report.samples if row["png"]]
    assert {row["method"] for row in done} == {"gradcam"}
    assert read(tmp_path / "round-0001")["complete"] is False
    assert explainer.run(slow, round=2, deadline=clock() + 1).seconds["total"] <= 2


def test_explaining_keeps_within_its_share_of_the_time(
    model: Cnn, data: Any, tmp_path: Path
) -> None:
    clock = FakeClock()

    class Slow(Cnn):
        def forward(self, x: Tensor) -> Tensor:
            clock.advance(0.01)
            return super().forward(x)

    slow = Slow()
    slow.load_state_dict(model.state_dict())
    explainer = Explainer.open(slow, Options(samples=4), data, folder=tmp_path, clock=clock)
    first = explainer.run(slow, slow, round=1)
    assert first.files
    assert first.quality["local"]["gradcam"]["round"] == 1
    clock.advance(0.5)
    second = explainer.run(slow, slow, round=2)
    assert second.files == []
    assert second.sheets == first.sheets
    assert (second.folder / second.sheets[0]).is_file()
    assert second.quality == first.quality
    assert any("brief, to keep within xai.max_share" in note for note in second.notes)
    assert second.drift
    clock.advance(60)
    third = explainer.run(slow, slow, round=3)
    assert third.files
    assert third.quality["local"]["gradcam"]["round"] == 3
    assert explainer.run(slow, slow, round=4, full=True).files


def test_a_folder_that_cannot_be_written_to(model: Cnn, data: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(Unavailable, match=r"cannot be written to .*file.*xai.output_dir"):
        opened(model, data, tmp_path / "file" / "outputs")
    explainer = opened(model, data, tmp_path / "good")
    with pytest.raises(Unavailable, match="cannot be written to"):
        explainer.run(model, out_dir=tmp_path / "file")
    (tmp_path / "good" / "round-0001").write_text("in the way")
    report = explainer.attempt(model, round=1)
    assert report.failure is not None
    assert "cannot be written to" in report.failure
    assert explainer.attempt(model, round=2).failure is None


def test_an_attempt_never_raises(model: Cnn, data: Any, tmp_path: Path) -> None:
    explainer = opened(model, data, tmp_path)
    assert "no tensor 'x'" in str(explainer.attempt({"x": np.zeros(1)}, round=1).failure)
    assert "no model to explain" in str(explainer.attempt(round=1).failure)
    assert "AttributeError" in str(explainer.attempt({"fc1.bias": 7}, round=1).failure)


def test_mistakes_are_found_when_it_is_opened(model: Cnn, data: Any, tmp_path: Path) -> None:
    for options, message in (
        ({"methods": ("gradkam",)}, "did you mean 'gradcam'"),
        ({"methods": ("shap",)}, "explains tables, not images"),
        ({"layer": "convv2"}, r"did you mean 'conv2'\?"),
        ({"layer": "fc1"}, "has no spatial map"),
        ({"target_layer_index": 5}, "give -2 to 1"),
    ):
        with pytest.raises(Invalid, match=message):
            opened(model, data, tmp_path, **options)
    with pytest.raises(Invalid, match=r"does not accept a sample of shape \[3, 28, 28\]"):
        opened(model, (torch.rand(4, 3, 28, 28), torch.zeros(4)), tmp_path)
    with pytest.raises(Invalid, match=r"images .* and tables .*shape \[28, 28\]"):
        opened(model, (torch.rand(4, 28, 28), torch.zeros(4)), tmp_path)
    with pytest.raises(Invalid, match="needs local test data, and this device has none"):
        opened(model, None, tmp_path)
    with pytest.raises(Invalid, match="PyTorch models; this one is a dict"):
        opened({}, data, tmp_path)


def test_labels_beyond_the_models_classes(model: Cnn, data: Any, tmp_path: Path) -> None:
    labels = data[1].clone()
    labels[labels == 9] = 12
    explainer = opened(model, (data[0], labels), tmp_path, samples=10)
    report = explainer.run(model, round=1)
    assert report.probe["count"] == 9
    assert any(
        "1 samples skipped: their label is none of the model's 10" in note for note in report.notes
    )


def test_a_model_without_convolutions(data: Any, tmp_path: Path) -> None:
    plain = nn.Sequential(nn.Flatten(), nn.Linear(784, 10))
    with pytest.raises(Invalid, match=r"no convolution with a spatial map; choose methods"):
        opened(plain, data, tmp_path)
    report = opened(plain, data, tmp_path, methods=("saliency",)).run(plain, plain, round=1)
    assert report.layer == ""
    assert [row.method for row in report.drift] == ["saliency"]


def test_what_may_leave_is_bounded_by_the_owner(model: Cnn, data: Any, tmp_path: Path) -> None:
    def report(upload: str, allowed: str) -> Any:
        options = Options(samples=2, upload=upload)
        explainer = Explainer.open(
            model, options, data, folder=tmp_path, limits=Limits(upload=allowed)
        )
        return explainer.run(model, model, round=1)

    closed = report("images", "none")
    assert (closed.outgoing_scores(), closed.outgoing_pictures()) == ({}, [])
    assert any("xai.upload = 'images' of the task became 'none'" in note for note in closed.notes)
    numbers = report("images", "scores")
    assert numbers.outgoing_pictures() == []
    assert "xai/local/gradcam/deletion" in numbers.outgoing_scores()
    assert len(json.dumps(numbers.outgoing_scores())) < 5_000
    images = report("images", "images")
    assert [path.name for path in images.outgoing_pictures()] == ["sheet-gradcam-predicted.png"]
    assert report("none", "images").outgoing_scores() == {}


def test_nothing_is_imported_when_it_is_off(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path\n"
        "from fedops.explain.service.start import open_explainer\n"
        "assert open_explainer({'enabled': False, 'layer': 'nonsense'}, None, None, base=Path('.')) is None\n"
        "heavy = {'torch', 'captum', 'matplotlib', 'PIL', 'sklearn', 'shap', 'numpy'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        env=dict(os.environ),
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr


def test_the_door_writes_below_the_base(model: Cnn, data: Any, tmp_path: Path) -> None:
    section = {"enabled": True, "layer": "conv2", "samples": 2, "output_dir": "outputs/gradcam"}
    explainer = open_explainer(section, model, data, base=tmp_path)
    assert explainer is not None
    assert explainer.due(1, 3)
    assert explainer.run(model, round=1).folder == tmp_path / "outputs" / "gradcam" / "round-0001"
    assert open_explainer(section, model, data, base=tmp_path, limits=Limits(enabled=False)) is None
    for kept in (True, False):
        with pytest.raises(Invalid, match="leaves the client's folder"):
            open_explainer({**section, "output_dir": "/tmp"}, model, data, base=tmp_path, kept=kept)
