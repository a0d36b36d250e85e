"""What is known of a script without running it: its contract, and the model that a run begins with."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fedops.config.schema import Exchange
from fedops.config.script_table import Script
from fedops.core.contracts import ExchangeRule
from fedops.core.errors import Invalid
from fedops.scalize.observing.records import Seen, SeenLoader, SeenModel, SeenTensor
from fedops.scalize.script.observation import Observation
from fedops.scalize.script.script_data import announced
from fedops.storage.tensors import save

NET = SeenModel(
    name="Net",
    kind="main.Net",
    tensors=[
        SeenTensor(name="w", shape=[2], dtype="float32"),
        SeenTensor(name="head", shape=[2], dtype="float32", tied_to="w"),
        SeenTensor(name="seen", shape=[], dtype="int64", kind="buffer"),
    ],
)
CRITIC = SeenModel(
    name="Critic", kind="main.Critic", tensors=[SeenTensor(name="w", shape=[1], dtype="bfloat16")]
)


def app(folder: Path, *models: SeenModel) -> Path:
    (folder / "observed.json").write_text(Seen(models=list(models)).model_dump_json())
    return folder


def test_a_tied_tensor_travels_once_and_buffers_are_told_apart(tmp_path: Path) -> None:
    observation = Observation.read(app(tmp_path, NET), Script(command=["python"]))
    contract = observation.contract(Exchange())
    assert [spec.name for spec in contract.parameters] == ["w", "seen"]
    assert [spec.trainable for spec in contract.parameters] == [True, False]
    assert contract.parameters[0].rule is ExchangeRule.MEAN


def test_several_models_have_their_names_before_their_tensors(tmp_path: Path) -> None:
    folder = app(tmp_path, NET, CRITIC)
    both = Observation.read(folder, Script(command=["python"]))
    assert [one.name for one in both.tensors()] == ["Net.w", "Net.seen", "Critic.w"]
    one = Observation.read(folder, Script(command=["python"], models=["Net"]))
    assert [one.name for one in one.tensors()] == ["w", "seen"]
    tensors = {"Net.w": np.ones(2, np.float32), "Net.seen": np.array(3), "Critic.w": np.ones(1)}
    save(tensors, folder / "initial.safetensors")
    assert one.initial()["w"].tolist() == [1.0, 1.0]


def test_what_is_missing_or_another_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match=r"observed.json: it says which models .*writes it"):
        Observation.read(tmp_path, Script(command=["python"]))
    folder = app(tmp_path, NET)
    with pytest.raises(Invalid, match="no model 'Ned' was seen; did you mean 'Net'"):
        Observation.read(folder, Script(command=["python"], models=["Ned"]))
    observation = Observation.read(folder, Script(command=["python"]))
    with pytest.raises(
        Invalid, match=r"initial.safetensors, the model that the first round begins"
    ):
        observation.initial()
    save({"w": np.ones(3, np.float32), "seen": np.array(3)}, folder / "initial.safetensors")
    with pytest.raises(Invalid, match=r"'w' in .* is float32\[3\], and was float32\[2\] when"):
        observation.initial()


def test_examples_are_counted_named_or_unknown() -> None:
    loaders = [
        SeenLoader(kind="x", examples=30, trains=True),
        SeenLoader(kind="y", examples=9, evaluates=True),
    ]
    counted = announced(Seen(loaders=loaders, evaluated_examples=9), 0)
    assert (counted.examples, len(counted.validation or ()), counted.said) == (30, 9, "")
    assert announced(Seen(loaders=loaders), 12).examples == 12
    unknown = announced(Seen(), 0)
    assert (unknown.examples, unknown.validation) == (1, None)
    assert "weighs as much as any other" in unknown.said
