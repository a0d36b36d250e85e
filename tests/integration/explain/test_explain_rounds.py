"""Explaining rounds on disk: what is written, and what a restart finds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from digits_model import Cnn, copy_of, new_model, opened, read, size_of, trained
from safetensors.torch import load_file, save_file
from torch import nn

from fedops.core.errors import Invalid
from fedops.explain.explainers.options import Limits, Options
from fedops.explain.service.explainer import Explainer
from fedops.explain.service.start import open_explainer
from fedops.storage import tensors


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
