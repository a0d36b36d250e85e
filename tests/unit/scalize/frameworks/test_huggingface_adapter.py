"""Transformers with PEFT: what travels, and that it can learn."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

pytest.importorskip("transformers", reason="Transformers is not installed")
pytest.importorskip("peft", reason="PEFT is not installed")

import torch
from peft import LoraConfig, get_peft_model
from transformers import BertConfig, BertForSequenceClassification

from fedops.config.schema import Exchange
from fedops.core.contracts import ExchangeRule
from fedops.core.errors import Invalid
from fedops.scalize.adapter.protocol import AdapterOptions, TrainContext, TrainingState
from fedops.scalize.adapter.random_state import seed_everything
from fedops.scalize.frameworks.huggingface import HuggingFaceAdapter
from fedops.storage.tensors import pack, unpack

# PEFT with Transformers 5; it does not concern the adapter.
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")

torch.set_num_threads(1)
CONTEXT = TrainContext(1, 9, 2, 8, 0.02)
ROWS = np.random.default_rng(1).integers(2, 30, size=(32, 6))
DATA = [
    {
        "input_ids": torch.tensor(row),
        "attention_mask": torch.ones(6, dtype=torch.long),
        "labels": torch.tensor(int(row[0] > 15)),
    }
    for row in ROWS
]


def _bert(**lora: Any) -> Any:
    config = BertConfig(
        vocab_size=32,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=24,
        max_position_embeddings=16,
        num_labels=2,
    )
    model = BertForSequenceClassification(config)
    wanted = {"r": 2, "target_modules": ["query", "value"], "task_type": "SEQ_CLS", **lora}
    return get_peft_model(model, LoraConfig(**wanted))


def _adapter(exchange: Exchange | None = None, **lora: Any) -> HuggingFaceAdapter:
    seed_everything(2)
    return HuggingFaceAdapter(_bert(**lora), AdapterOptions(exchange=exchange or Exchange()))


def test_only_what_is_trained_travels() -> None:
    adapter = _adapter()
    travelling = {spec.name for spec in adapter.contract.federated}
    trainable = {n for n, p in adapter.model.named_parameters() if p.requires_grad}
    assert travelling == trainable
    assert sum("lora_A" in name for name in travelling) == 2
    assert any("classifier.modules_to_save" in name for name in travelling)
    base = [s for s in adapter.contract.parameters if "embeddings" in s.name]
    assert base
    assert all(spec.rule is ExchangeRule.LOCAL for spec in base)


def test_the_initial_adapters_are_random_and_zero() -> None:
    tensors = _adapter().get_tensors()
    for name, array in tensors.items():
        if "lora_A" in name:
            assert array.any()
        if "lora_B" in name:
            assert not array.any()


def test_training_moves_adapters_and_leaves_the_base() -> None:
    adapter = _adapter()
    before = adapter.get_tensors()
    losses = [adapter.train(DATA, CONTEXT).metrics["loss"] for _ in range(6)]
    after = adapter.get_tensors()
    assert losses[-1] < losses[0]
    for spec in adapter.contract.parameters:
        moved = (after[spec.name] != before[spec.name]).any()
        assert moved == (spec.rule is ExchangeRule.MEAN), spec.name


def test_a_pair_of_zeros_is_refused() -> None:
    adapter = _adapter()
    zeros = {
        spec.name: np.zeros(spec.shape, spec.dtype)
        for spec in adapter.contract.federated
        if ".lora_" in spec.name
    }
    before = adapter.get_tensors()
    with pytest.raises(Invalid, match="LoRA pair of zeros"):
        adapter.set_tensors(zeros)
    assert all((adapter.get_tensors()[n] == before[n]).all() for n in before)


def test_adapters_that_begin_at_zero_are_refused() -> None:
    model = _bert()
    for name, parameter in model.named_parameters():
        if "lora_A" in name:
            torch.nn.init.zeros_(parameter)
    with pytest.raises(Invalid, match=r"the model step built a LoRA pair of zeros"):
        HuggingFaceAdapter(model, AdapterOptions())


def test_a_head_can_stay_on_the_device() -> None:
    adapter = _adapter(Exchange(local=["*classifier*"]))
    assert all(".lora_" in spec.name for spec in adapter.contract.federated)


def test_nothing_to_travel_is_refused() -> None:
    model = _bert()
    model.requires_grad_(False)
    with pytest.raises(Invalid, match="nothing in it is trainable"):
        HuggingFaceAdapter(model, AdapterOptions())


def test_fedprox_holds_the_adapters_back() -> None:
    distances = []
    for mu in (0.0, 50.0):
        adapter = _adapter()
        before = adapter.get_tensors()
        adapter.train(DATA, TrainContext(1, 9, 3, 8, 0.02, proximal_mu=mu))
        after = adapter.get_tensors()
        distances.append(sum(float(np.abs(after[n] - before[n]).sum()) for n in before))
    assert distances[1] < distances[0]


def test_an_interrupted_training_goes_on_and_keeps_no_frozen_base() -> None:
    class Kept:
        wanted = False
        state: TrainingState | None = None

        def begin(self) -> TrainingState | None:
            return self.state

        def save(self, state: TrainingState) -> None:
            self.state = TrainingState(unpack(pack(state.tensors)), dict(state.values))
            raise KeyboardInterrupt

    undisturbed = _adapter(lora_dropout=0.2)
    result = undisturbed.train(DATA, CONTEXT)
    kept = Kept()
    with pytest.raises(KeyboardInterrupt):
        _adapter(lora_dropout=0.2).train(DATA, replace(CONTEXT, checkpoints=kept))
    assert kept.state is not None
    assert not [name for name in kept.state.tensors if "word_embeddings" in name]
    again = _adapter(lora_dropout=0.2)
    assert again.train(DATA, replace(CONTEXT, checkpoints=kept)) == result
    before = undisturbed.get_tensors()
    assert all(array.tobytes() == before[n].tobytes() for n, array in again.get_tensors().items())


def test_data_that_the_default_loop_cannot_use() -> None:
    pairs = [(row["input_ids"], row["labels"]) for row in DATA]
    with pytest.raises(Invalid, match="batches as dicts"):
        _adapter().train(pairs, CONTEXT)
    unlabelled = [{"input_ids": row["input_ids"]} for row in DATA]
    with pytest.raises(Invalid, match="the data needs 'labels'"):
        _adapter().train(unlabelled, CONTEXT)
