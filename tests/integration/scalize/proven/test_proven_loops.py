"""Scripts with a loop of PyTorch, one for each style: what init saw of them, and what the check proved."""

from __future__ import annotations

import json
from collections.abc import Iterator

import numpy as np
import pytest
from proven_scripts import EQUAL, POINTS, Prover

from fedops.core.errors import Invalid
from fedops.scalize.adapter.protocol import TrainContext

LOOP = """
    for x, y in loader:
        optimizer.zero_grad()
        nn.functional.mse_loss(net(x), y).backward()
        optimizer.step()
"""
NET = """
net = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Dropout(0.1), nn.Linear(6, 1))
optimizer = torch.optim.Adam(net.parameters(), lr=0.02)
"""
FLAT = POINTS + NET


@pytest.fixture(scope="module")
def prover(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prover]:
    made = Prover(tmp_path_factory.mktemp("loops"), "torch", "torch._dynamo", "hydra")
    yield made
    made.close()


def test_options_and_a_function_main(prover: Prover) -> None:
    body = FLAT.replace("\n", "\n    ") + "for epoch in range(args.epochs):"
    script = (
        "import argparse\n\ndef main():\n"
        "    parser = argparse.ArgumentParser()\n"
        "    parser.add_argument('--epochs', type=int, default=9)\n"
        "    args = parser.parse_args()\n"
        f"    {body}{LOOP.replace(chr(10), chr(10) + '    ')}\n"
        "if __name__ == '__main__':\n    main()\n"
    )
    done = prover.prove(script, "--epochs", "3")
    assert (done.script.command, done.script.passes) == (["python", "main.py", "--epochs", "1"], 1)
    assert [(o.kind, o.models) for o in done.seen.optimizers] == [
        ("torch.optim.adam.Adam", ["Sequential"])
    ]
    assert (done.proof, done.kinds) == (EQUAL, set())


def test_all_at_the_top_of_the_module_with_a_scheduler(prover: Prover) -> None:
    schedule = "schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=12)\n"
    loop = f"for epoch in range(4):{LOOP}        schedule.step()\n"
    done = prover.prove(f"{FLAT}{schedule}{loop}torch.save(net.state_dict(), 'net.pt')")
    assert (done.script.command, done.script.passes) == (["python", "main.py"], 1)
    assert done.seen.optimizers[0].schedulers == ["OneCycleLR"]
    assert (done.seen.scheduler_steps, done.script.schedule) == (12, "goes_on")
    assert (done.proof, done.kinds) == (EQUAL, set())


def test_notebooks_as_they_are_and_exported(prover: Prover) -> None:
    cells = [
        "%matplotlib inline",
        FLAT,
        f"for epoch in range(3):{LOOP}",
        "display(net)",
    ]
    made = [{"cell_type": "code", "source": cell, "outputs": [], "metadata": {}} for cell in cells]
    text = json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": made})
    done = prover.prove_files({"train.ipynb": text}, ["jupyter", "run", "train.ipynb"])
    assert done.seen.models[0].where == "train.ipynb, cell 2:12"
    assert (done.proof, done.kinds) == (EQUAL, set())
    exported = f"#!/usr/bin/env python\n# In[2]:\n{FLAT}\n\n# In[3]:\n\n\n{cells[2]}\n\n# In[ ]:\n"
    done = prover.prove_files({"train.py": exported}, ["python", "train.py"])
    assert [model.name for model in done.seen.models] == ["Sequential"]
    assert (done.proof, done.kinds) == (EQUAL, set())
    magic = "get_ipython().run_line_magic('matplotlib', 'inline')\n"
    (problem,) = prover.look({"main.py": magic + exported}).problems
    assert problem.endswith(
        "(main.py:1); it was exported from a notebook, and that line needs Jupyter: give init the notebook "
        "itself (fedops init . -- train.ipynb), or take the line out"
    )


def test_hydra_and_its_config_files(prover: Prover) -> None:
    body = FLAT.replace("\n", "\n    ").replace("lr=0.02", "lr=cfg.optim.lr")
    script = (
        "import hydra\n\n@hydra.main(version_base=None, config_path='conf', config_name='config')\n"
        f"def main(cfg):\n    {body}for epoch in range(cfg.epochs):"
        f"{LOOP.replace(chr(10), chr(10) + '    ')}\nmain()\n"
    )
    files = {"main.py": script, "conf/config.yaml": "epochs: 5\noptim:\n  lr: 0.01\n"}
    done = prover.prove_files(files, ["python", "main.py", "epochs=2", "optim.lr=0.03"])
    assert done.script.command == ["python", "main.py", "epochs=1", "optim.lr=0.03"]
    assert done.seen.optimizers[0].settings["lr"] == 0.03
    assert (done.proof, done.kinds) == (EQUAL, set())


def test_a_config_class_and_a_trainer_class(prover: Prover) -> None:
    script = (
        POINTS
        + """
from dataclasses import dataclass

@dataclass
class Config:
    epochs: int = 2
    lr: float = 0.05

class Trainer:
    def __init__(self, config):
        self.config, self.net = config, nn.Linear(4, 1)
        self.optimizer = torch.optim.SGD(self.net.parameters(), lr=config.lr)

    def fit(self):
        for epoch in range(self.config.epochs):
            for x, y in loader:
                self.optimizer.zero_grad()
                nn.functional.l1_loss(self.net(x), y).backward()
                nn.utils.clip_grad_norm_(self.net.parameters(), 0.5)
                self.optimizer.step()

Trainer(Config()).fit()
"""
    )
    done = prover.prove(script)
    assert done.seen.optimizers[0].settings["lr"] == 0.05
    assert (done.seen.passes, done.script.passes) == (2, 1)
    assert (done.proof, done.kinds) == (EQUAL, set())


def test_two_models_that_play_against_each_other(prover: Prover) -> None:
    script = (
        POINTS
        + """
maker, judge = nn.Linear(2, 4), nn.Linear(4, 1)
of_maker = torch.optim.Adam(maker.parameters(), lr=0.02)
of_judge = torch.optim.Adam(judge.parameters(), lr=0.02)
loss_of = nn.BCEWithLogitsLoss()
for epoch in range(2):
    for real, _ in loader:
        ones, zeros, fake = torch.ones(8, 1), torch.zeros(8, 1), maker(torch.randn(8, 2))
        of_judge.zero_grad()
        (loss_of(judge(real), ones) + loss_of(judge(fake.detach()), zeros)).backward()
        of_judge.step()
        of_maker.zero_grad()
        loss_of(judge(fake), ones).backward()
        of_maker.step()
"""
    )
    done = prover.prove(script)
    assert (done.models, done.seen.examples) == (["Linear", "Linear2"], 48)
    assert (done.proof, done.kinds) == (EQUAL, set())


def test_images_and_masks_in_dictionaries_from_a_data_set_made_anew_in_each_pass(
    prover: Prover,
) -> None:
    script = (
        POINTS
        + """
class Scans(Dataset):
    def __len__(self):
        return 12

    def __getitem__(self, index):
        image = torch.rand(1, 8, 8, generator=torch.Generator().manual_seed(index))
        return {"image": image, "mask": (image > 0.5).float(), "name": f"scan {index}"}

net = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 1, 1))
optimizer = torch.optim.RMSprop(net.parameters(), lr=0.01)
held_out = DataLoader(torch.utils.data.Subset(Scans(), range(4)), batch_size=4)
for epoch in range(2):
    net.train()
    for batch in DataLoader(Scans(), batch_size=4, shuffle=True):
        optimizer.zero_grad()
        nn.functional.binary_cross_entropy_with_logits(net(batch["image"]), batch["mask"]).backward()
        optimizer.step()
    net.eval()
    with torch.no_grad():
        for batch in held_out:
            nn.functional.binary_cross_entropy_with_logits(net(batch["image"]), batch["mask"])
"""
    )
    done = prover.prove(script)
    assert [(one.trains, one.evaluates, one.examples) for one in done.seen.loaders] == [
        (True, False, 12),
        (False, True, 4),
    ]
    assert (done.seen.passes, done.seen.examples, done.report["examples"]) == (2, 24, 12)
    assert (done.proof, done.kinds) == (EQUAL, set())


def test_a_language_model_with_tied_weights_and_its_own_loss(prover: Prover) -> None:
    script = (
        POINTS
        + """
class Language(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(11, 6)
        self.mix = nn.GRU(6, 6, batch_first=True)
        self.head = nn.Linear(6, 11, bias=False)
        self.head.weight = self.embed.weight

    def forward(self, input_ids, attention_mask=None, labels=None):
        logits = self.head(self.mix(self.embed(input_ids))[0])
        return {"loss": nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten())}

def collate(rows):
    ids = torch.stack(rows)
    return {"input_ids": ids[:, :-1], "labels": ids[:, 1:], "attention_mask": torch.ones(len(ids), 7)}

text = [torch.randint(11, (8,)) for _ in range(12)]
model = Language()
optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
accumulate = 2
for epoch in range(2):
    for number, batch in enumerate(DataLoader(text, batch_size=3, collate_fn=collate)):
        (model(**batch)["loss"] / accumulate).backward()
        if number % accumulate == 1:
            optimizer.step()
            optimizer.zero_grad()
"""
    )
    done = prover.prove(script)
    assert {t.name: t.tied_to for t in done.seen.models[0].tensors if t.tied_to} == {
        "head.weight": "embed.weight"
    }
    assert (done.seen.steps, done.seen.examples) == (4, 24)
    assert (done.proof, done.kinds) == (EQUAL, set())


BEST = f"""
best = float("inf")
for epoch in range(4):{LOOP}
    with torch.no_grad():
        loss = float(nn.functional.mse_loss(net(points), target))
    if epoch != 3 and loss < best:
        best = loss
        torch.save(net.state_dict(), "best.pt")
net.load_state_dict(torch.load("best.pt"))
"""


def test_the_best_checkpoint_comes_back_at_the_end(prover: Prover) -> None:
    done = prover.prove(FLAT + BEST)
    assert done.kinds == {"other_weights_at_the_end"}
    assert done.proof == EQUAL
    options = BEST.replace("range(4)", "range(int(sys.argv[2]))")
    option = (
        "import argparse, sys\nparser = argparse.ArgumentParser()\n"
        "parser.add_argument('--epochs', type=int, default=9)\nparser.parse_args()\n"
    )
    answers = {"result": "script", "epochs": "4"}
    whole = prover.prove(FLAT + option + options, "--epochs", "4", answers=answers)
    assert (whole.script.result, whole.script.passes) == ("script", 4)
    assert (whole.proof, whole.kinds) == (EQUAL, set())


def test_early_stopping(prover: Prover) -> None:
    script = (
        f"{FLAT}\nbest, bad = 0.0, 0\nfor epoch in range(50):{LOOP}"
        """
    with torch.no_grad():
        loss = float(nn.functional.mse_loss(net(points), target))
    bad = bad + 1 if loss > best else 0
    if bad == 3:
        break
print("stopped")
"""
    )
    done = prover.prove(script)
    assert (done.seen.passes, done.seen.ended, done.script.passes) == (3, "script", 1)
    assert (done.proof, done.kinds) == (EQUAL, set())


def test_a_closure_that_the_optimizer_calls(prover: Prover) -> None:
    script = (
        POINTS
        + """
net = nn.Linear(4, 1).double()
optimizer = torch.optim.LBFGS(net.parameters(), lr=0.5, max_iter=4)
points, target = points.double(), target.double()
for step in range(5):
    def closure():
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(net(points), target)
        loss.backward()
        return loss
    optimizer.step(closure)
"""
    )
    done = prover.prove(script)
    assert (done.seen.steps, done.seen.passes, done.seen.examples) == (5, 0, None)
    assert (done.script.passes, done.script.steps) == (0, 0)
    assert (done.proof, done.kinds) == (EQUAL, set())


def test_a_moving_average_and_a_best_model_that_is_only_saved(prover: Prover) -> None:
    average = (
        "average = torch.optim.swa_utils.AveragedModel(net, avg_fn=lambda a, p, n: 0.9 * a + 0.1 * p)\n"
        f"for epoch in range(2):{LOOP}        average.update_parameters(net)\n"
    )
    done = prover.prove(FLAT + average)
    assert (done.proof, done.kinds) == (EQUAL, set())
    assert [note.kind for note in done.seen.notes] == ["copies"]
    kept = (
        f"import copy\nfor epoch in range(2):{LOOP}"
        "    best = copy.deepcopy(net.state_dict()) if epoch == 0 else best\n"
        "torch.save(best, 'best.pt')\n"
    )
    done = prover.prove(FLAT + kept)
    assert done.proof == EQUAL
    assert done.kinds == {"saves_other_weights"}


def test_a_bare_except_around_the_loop(prover: Prover) -> None:
    body = LOOP.replace("\n", "\n    ")
    script = (
        f"{FLAT}for epoch in range(9):\n    try:{body}\n    except:\n        print('skipped')\n"
    )
    done = prover.prove(script)
    assert done.script.passes == 1
    assert (done.proof, done.kinds) == (EQUAL, set())


@pytest.mark.parametrize(
    ("ends", "words"),
    [
        (
            "raise ValueError('no such scan')",
            r"exit code 1\): ValueError: no such scan \(main.py:\d+\)",
        ),
        ("print('no more scans'); sys.exit(4)", r"exit code 4\); its last words: no more scans;"),
    ],
)
def test_what_was_broken_off_is_no_result(prover: Prover, ends: str, words: str) -> None:
    breaks = f"x, y in loader:\n        if optimizer.state and os.path.exists('scans'): {ends}"
    script = (
        f"import os, sys\n{FLAT}for epoch in range(1):{LOOP.replace('x, y in loader:', breaks)}"
    )
    proposal = prover.look({"main.py": script})
    adapter = prover.adapter(proposal)
    assert adapter.train(None, TrainContext(1, 1, 1, 1, 0.0)).examples == 24
    before = adapter.get_tensors()
    (proposal.look.project / "scans").touch()
    with pytest.raises(Invalid, match=rf"in the middle of its training, after 1 steps \({words}"):
        adapter.train(None, TrainContext(2, 1, 1, 1, 0.0))
    assert all(np.array_equal(array, before[n]) for n, array in adapter.get_tensors().items())
    (problem,) = prover.look({"main.py": script, "scans": ""}).problems
    assert "failed in its first pass over the training data: " in problem
