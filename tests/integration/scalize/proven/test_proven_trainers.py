"""Scripts of Hugging Face's Trainer and of Accelerate, each brought in and proven."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from proven_scripts import EQUAL, POINTS, Prover

TINY = (
    POINTS
    + """
from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments

config = BertConfig(
    vocab_size=20, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8
)
rows = [{"input_ids": torch.randint(20, (6,)), "labels": torch.tensor(i % 2)} for i in range(16)]
"""
)


@pytest.fixture(scope="module")
def prover(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prover]:
    modules = (
        "torch._dynamo",
        "accelerate",
        "transformers.trainer",
        "transformers.models.bert.modeling_bert",
    )
    made = Prover(tmp_path_factory.mktemp("trainers"), *modules)
    yield made
    made.close()


def test_a_trainer_with_warm_up_accumulation_and_its_own_checkpoints(prover: Prover) -> None:
    script = (
        TINY
        + """
arguments = TrainingArguments(
    "out", num_train_epochs=3, per_device_train_batch_size=4, gradient_accumulation_steps=2,
    learning_rate=0.01, warmup_steps=2, save_strategy="epoch", report_to=[], use_cpu=True,
    disable_tqdm=True, logging_steps=1,
)
model = BertForSequenceClassification(config)
Trainer(model, arguments, train_dataset=rows, eval_dataset=rows[:4]).train()
"""
    )
    done = prover.prove(script)
    assert done.models == ["BertForSequenceClassification"]
    assert (done.seen.passes, done.seen.examples, done.script.passes) == (3, 48, 1)
    assert (done.proof, done.kinds) == (EQUAL, set())


def test_accelerate(prover: Prover) -> None:
    script = (
        POINTS
        + """
from accelerate import Accelerator

net = nn.Linear(4, 1)
optimizer = torch.optim.AdamW(net.parameters(), lr=0.01)
schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 / (1 + step))
accelerator = Accelerator(cpu=True)
net, optimizer, loader, schedule = accelerator.prepare(net, optimizer, loader, schedule)
for epoch in range(2):
    for x, y in loader:
        loss = nn.functional.mse_loss(net(x), y)
        accelerator.backward(loss)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
"""
    )
    done = prover.prove(script)
    assert (done.models, done.seen.examples) == (["Linear"], 48)
    assert (done.proof, done.kinds) == (EQUAL, set())
