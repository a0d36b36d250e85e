"""What the hooks see and do, habit by habit: each script of a few lines in a child of one warm process."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from watched_scripts import Warm, Watched

from fedops.storage import tensors

LOOP = "for _ in range(3): epoch(torch.optim.SGD(model.parameters(), 0.1))"
STEP = "optimizer = torch.optim.SGD(model.parameters(), 0.1)\n"


@pytest.fixture(scope="module")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Warm]:
    process = Warm(tmp_path_factory.mktemp("watched"))
    yield process
    process.close()


def foreign(run: Watched) -> tensors.Tensors:
    """A model that is not the script's own."""
    v0 = run.tensors("v0")
    return {k: v + np.float32(0.01) if v.dtype.kind == "f" else v for k, v in v0.items()}


def same(one: tensors.Tensors, other: tensors.Tensors) -> bool:
    return one.keys() == other.keys() and all(np.array_equal(one[k], other[k]) for k in one)


def test_a_plain_loop_is_told_whole(warm: Warm) -> None:
    run = warm.run(
        STEP
        + """
for _ in range(3):
    epoch(optimizer)
    model.eval()
    with torch.no_grad():
        for bx, by in valid:
            loss_of(model(bx), by)
"""
    )
    seen = run.seen
    assert (seen.ended, seen.states, seen.steps, seen.passes) == ("script", 1, 12, 3)
    assert (seen.examples, seen.batches, seen.notes) == (96, 12, [])
    assert [m.name for m in seen.models] == ["Net"]
    assert seen.models[0].where == seen.optimizers[0].where == "main.py:30"
    assert seen.optimizers[0].settings["lr"] == 0.1
    train, valid = seen.loaders
    assert (train.trains, train.evaluates, train.divisible, train.examples) == (
        True,
        False,
        True,
        32,
    )
    assert (valid.trains, valid.evaluates, valid.examples) == (False, True, 12)
    kinds = {t.name: t.kind for t in seen.models[0].tensors}
    assert kinds["norm.weight"] == "parameter"
    assert kinds["norm.num_batches_tracked"] == "buffer"
    assert run.tensors("v0").keys() == run.tensors("result").keys() == kinds.keys()


def test_a_round_is_the_observed_run_at_its_pass(warm: Warm) -> None:
    run = warm.run(LOOP, keep_pass=2)
    again = warm.again(run.place, model=run.folder / "v0.safetensors", passes=2)
    assert (again.seen.used, again.seen.ended, again.seen.steps, again.code) == (
        True,
        "passes",
        8,
        0,
    )
    assert same(again.tensors("result"), run.tensors("pass-2"))
    assert not same(run.tensors("result"), run.tensors("pass-2"))


def test_a_foreign_model_is_what_is_trained(warm: Warm) -> None:
    run = warm.run(LOOP)
    given = run.folder / "foreign.safetensors"
    tensors.save(foreign(run), given)
    tiny = warm.again(run.place, model=given, steps=1)
    assert (tiny.seen.used, tiny.seen.ended, tiny.seen.steps) == (True, "steps", 1)
    near = tiny.tensors("result")["a.weight"] - tensors.load(given)["a.weight"]
    far = run.tensors("v0")["a.weight"] - tensors.load(given)["a.weight"]
    assert not np.array_equal(near, np.zeros_like(near))
    assert np.linalg.norm(near - far) > 0.01


def test_a_model_of_another_shape_is_refused(warm: Warm) -> None:
    run = warm.run(LOOP)
    given = run.folder / "other.safetensors"
    tensors.save({**run.tensors("v0"), "a.weight": np.zeros((8, 5), np.float32)}, given)
    again = warm.again(run.place, model=given)
    assert (again.seen.used, again.seen.ended, again.seen.steps) == (False, "failed", 0)
    assert again.seen.first_difference == "Net: 'a.weight' has shape [8, 4], not [8, 5]"


def test_what_overwrites_the_model_after_a_dummy_forward_is_met_at_a_later_state(
    warm: Warm,
) -> None:
    run = warm.run(
        STEP
        + """
model(x)
for parameter in model.parameters():
    parameter.data.normal_(0, 0.3)
for _ in range(2): epoch(optimizer)
"""
    )
    assert run.seen.states == 2
    given = run.folder / "foreign.safetensors"
    tensors.save(foreign(run), given)
    first = warm.again(run.place, model=given, put_in=1)
    assert first.seen.used is False
    assert first.seen.first_difference.endswith("was changed after the model was put in")
    second = warm.again(run.place, model=run.folder / "v0.safetensors", put_in=2)
    assert second.seen.used is True
    assert same(second.tensors("result"), run.tensors("result"))


def test_training_in_evaluation_mode_takes_a_second_look(warm: Warm) -> None:
    run = warm.run(
        STEP
        + """
model.eval()
for bx, by in train:
    optimizer.zero_grad(); loss_of(model(bx), by).backward(); optimizer.step()
"""
    )
    assert run.kinds == {"evaluation_mode": "fact"}
    again = warm.again(run.place, model=run.folder / "v0.safetensors", evaluation_mode=True)
    assert again.seen.used is True
    assert same(again.tensors("result"), run.tensors("result"))


BATCHES = "for bx, by in train:\n    "


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (
            "direct_forward",
            "class One(nn.Linear):\n    pass\nmodel = One(4, 2)\n"
            + STEP
            + BATCHES
            + "loss_of(model.forward(bx), by).backward(); optimizer.step()",
        ),
        (
            "functional",
            "p = {k: v.detach().clone().requires_grad_() for k, v in model.named_parameters()}\n"
            "optimizer = torch.optim.SGD(list(p.values()), 0.1)\n"
            + BATCHES
            + "loss_of(torch.func.functional_call(model, p, bx), by).backward(); optimizer.step()",
        ),
        (
            "bare_parameters",
            "w = torch.zeros(4, 2, requires_grad=True)\noptimizer = torch.optim.SGD([w], 0.1)\n"
            + BATCHES
            + "loss_of(bx @ w, by).backward(); optimizer.step()",
        ),
        (
            "no_optimizer",
            BATCHES
            + "loss_of(model(bx), by).backward()\n    for p in model.parameters(): p.data -= p.grad",
        ),
        (
            "lazy",
            "model = nn.Sequential(nn.LazyLinear(2))\n"
            + STEP
            + BATCHES
            + "loss_of(model(bx), by).backward(); optimizer.step()",
        ),
        (
            "folds",
            "for _ in range(2):\n    model = Net()\n"
            "    epoch(torch.optim.SGD(model.parameters(), 0.1), model)",
        ),
        ("nothing_seen", "print('nothing')"),
        ("no_step", STEP),
    ],
)
def test_what_no_model_can_be_put_into_is_refused(warm: Warm, kind: str, text: str) -> None:
    seen = warm.run(text).seen
    assert [note.kind for note in seen.notes if note.weight == "refusal"] == [kind]


def test_other_weights_at_the_end_are_asked_about(warm: Warm) -> None:
    run = warm.run(
        STEP
        + """
import copy
best = None
for number in range(3):
    epoch(optimizer)
    if number == 0:
        best = copy.deepcopy(model.state_dict())
model.load_state_dict(best)
""",
        keep_pass=1,
    )
    assert run.kinds == {"other_weights_at_the_end": "question"}
    assert same(run.tensors("script"), run.tensors("pass-1"))
    assert not same(run.tensors("result"), run.tensors("script"))
    again = warm.again(run.place, model=run.folder / "v0.safetensors", result="script")
    assert same(again.tensors("result"), run.tensors("script"))


def test_weights_that_are_only_saved_and_changes_in_place_are_told(warm: Warm) -> None:
    run = warm.run(
        STEP
        + """
import copy
average = copy.deepcopy(model)
anchor = [parameter.detach().clone() for parameter in model.parameters()]
for _ in range(2):
    epoch(optimizer)
torch.save({"state": average.state_dict()}, "average.pt")
with torch.no_grad():
    model.a.weight.mul_(2)
"""
    )
    expected = {"saves_other_weights", "copies", "kept_start", "changed_after_training"}
    assert run.kinds.keys() == expected
    assert "average.pt" in run.seen.written


def test_a_change_that_no_version_counts_is_told(warm: Warm) -> None:
    run = warm.run(STEP + "epoch(optimizer); epoch(optimizer)\nmodel.a.weight.data *= 0.5\n")
    assert run.kinds["changed_after_training"] == "difference"
    lost = STEP + "model.a.weight.data[0] = float('nan'); epoch(optimizer)\n"
    assert "changed_after_training" not in warm.run(lost).kinds


def test_a_second_optimizer_is_seen_to_come_later(warm: Warm) -> None:
    code = "epoch(optimizer)\nother = torch.optim.Adam(model.parameters())\nepoch(other)\n"
    first, later = warm.run(STEP + code).seen.optimizers
    assert (first.passes_before, first.steps_before) == (0, 0)
    assert later.passes_before == 1
    assert later.steps_before > 0


def test_copies_of_a_part_get_the_model_and_other_owners_their_own(warm: Warm) -> None:
    run = warm.run(
        """
import copy
other = copy.deepcopy(model)
target = copy.deepcopy(model.a)
norms = nn.BatchNorm1d(8)
optimizer = torch.optim.SGD([*model.parameters(), *other.parameters()], 0.1)
for bx, by in train:
    optimizer.zero_grad()
    (loss_of(model(bx), by) + loss_of(other(bx), by) + other.b.weight.sum()).backward()
    optimizer.step()
print(norms.weight.sum().item(), target.weight.sum().item())
"""
    )
    said = [note.text for note in run.seen.notes if note.kind == "copies"]
    assert said[0].startswith("1 further Net, or parts of it, with the same values")
    given = foreign(run)
    tensors.save(given, run.folder / "other.safetensors")
    again = warm.again(run.place, model=run.folder / "other.safetensors")
    assert (again.seen.used, {"copies"} <= again.kinds.keys()) == (True, True)
    ones, weights = map(float, again.output.split())
    assert ones == 8
    names = [name for name in given if name.endswith("a.weight")]
    assert any(abs(float(given[name].sum()) - weights) < 1e-4 for name in names)


def test_training_back_at_the_start_is_two_phases(warm: Warm) -> None:
    run = warm.run(
        STEP
        + "torch.save(model.state_dict(), 'start.pt'); epoch(optimizer)\n"
        + "model.load_state_dict(torch.load('start.pt')); epoch(optimizer)"
    )
    assert run.kinds["two_phases"] == "question"


def test_schedulers_go_on_from_round_to_round(warm: Warm) -> None:
    run = warm.run(
        STEP
        + """
scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.5)
model(x)
for _ in range(2):
    epoch(optimizer); print(optimizer.param_groups[0]["lr"]); scheduler.step()
"""
    )
    assert (run.seen.scheduler_steps, run.output.split()) == (2, ["0.1", "0.05"])
    assert run.seen.optimizers[0].schedulers == ["StepLR"]
    again = warm.again(run.place, model=run.folder / "v0.safetensors", scheduler_steps=2)
    assert (again.seen.scheduler_steps, again.output.split()) == (4, ["0.025", "0.0125"])


def test_patience_goes_on_from_round_to_round(warm: Warm) -> None:
    run = warm.run(
        STEP
        + """
scheduler = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=2)
model(x)
for _ in range(2):
    epoch(optimizer); print(optimizer.param_groups[0]["lr"]); scheduler.step(1.0)
"""
    )
    assert run.output.split() == ["0.1", "0.1"]
    best, bad, *_ = run.seen.patience
    assert (best, bad) == (1.0, 1)
    start = run.folder / "v0.safetensors"
    on = {"scheduler_steps": 2, "patience": run.seen.patience}
    again = warm.again(run.place, model=start, **on)
    assert again.output.split() == ["0.1", "0.1"]
    assert again.seen.patience[-1] == 0.05  # the third epoch in a row that was no better
    assert "patience" not in again.kinds
    assert warm.again(run.place, model=start, scheduler_steps=2).kinds["patience"] == "fact"


def test_a_scheduler_of_a_wrapped_optimizer_beside_a_sparse_tensor(warm: Warm) -> None:
    seen = warm.run(
        STEP
        + """
class Around(torch.optim.Optimizer):
    def __init__(self, inner):
        self.optimizer, self.defaults = inner, inner.defaults
    param_groups = property(lambda self: self.optimizer.param_groups)
    def step(self, closure=None):
        self.optimizer.step(closure)

sparse = model.a.weight.detach().to_sparse()
around = Around(optimizer)
scheduler = torch.optim.lr_scheduler.StepLR(around, 1, 0.5)
for _ in range(2):
    epoch(optimizer); scheduler.step()
"""
    ).seen
    (optimizer,) = seen.optimizers
    assert (optimizer.kind, optimizer.schedulers) == ("torch.optim.sgd.SGD", ["StepLR"])
    assert (seen.scheduler_steps, seen.examples, seen.notes) == (2, 64, [])


def test_a_strong_proximal_term_keeps_the_model_where_it_was(warm: Warm) -> None:
    run = warm.run(LOOP)
    again = warm.again(run.place, model=run.folder / "v0.safetensors", proximal_mu=5.0)

    def moved(tensors_: tensors.Tensors) -> float:
        return float(np.linalg.norm(tensors_["a.weight"] - run.tensors("v0")["a.weight"]))

    assert 0 < moved(again.tensors("result")) < moved(run.tensors("result")) / 2


def test_several_processes_that_train_leave_their_marks(warm: Warm) -> None:
    run = warm.run(
        STEP
        + """
import torch.multiprocessing as processes
if __name__ == "__main__":
    context = processes.get_context("fork")
    children = [context.Process(target=epoch, args=(optimizer,)) for _ in range(2)]
    for child in children: child.start()
    for child in children: child.join()
"""
    )
    assert len(list(run.folder.glob("claim-*"))) == 1
    assert (run.seen.steps, run.seen.passes) == (4, 1)
    assert run.tensors("v0").keys() == run.tensors("result").keys()


def test_a_device_can_ask_whether_the_command_comes_so_far(warm: Warm) -> None:
    seen = warm.run(LOOP, only_begin=True).seen
    assert (seen.ended, seen.steps, [model.name for model in seen.models]) == ("begun", 0, ["Net"])


def test_the_end_comes_through_a_bare_except(warm: Warm) -> None:
    run = warm.run(
        STEP
        + """
for _ in range(9):
    try:
        epoch(optimizer)
    except:
        print("caught")
print("never")
""",
        passes=1,
    )
    assert (run.seen.ended, run.seen.steps, run.code) == ("passes", 4, 0)
    assert run.output.split() == ["caught"] * 3


def test_models_that_are_trained_together_are_put_in_together(warm: Warm) -> None:
    run = warm.run(
        """
g, d = nn.Linear(2, 4), nn.Linear(4, 1)
of_g, of_d = torch.optim.Adam(g.parameters()), torch.optim.Adam(d.parameters())
for _ in range(2):
    for bx, by in train:
        of_d.zero_grad()
        d(bx).mean().backward()
        d(g(torch.randn(8, 2)).detach()).mean().neg().backward()
        of_d.step()
        of_g.zero_grad()
        d(g(torch.randn(8, 2))).mean().backward()
        of_g.step()
""",
        keep_pass=1,
    )
    assert run.tensors("pass-1").keys() == run.tensors("v0").keys()
    assert run.kinds == {"several_models": "question"}
    assert (run.seen.examples, run.seen.passes, run.seen.steps) == (64, 2, 16)
    given = run.folder / "foreign.safetensors"
    tensors.save(foreign(run), given)
    again = warm.again(run.place, model=given, passes=1)
    assert again.seen.used is True
    assert again.tensors("result").keys() == tensors.load(given).keys()


def test_wrapped_models_go_by_their_own_names(warm: Warm) -> None:
    text = "wrapped = nn.DataParallel(model)\n"
    run = warm.run(text + "epoch(torch.optim.SGD(wrapped.parameters(), 0.1), wrapped)")
    assert "a.weight" in run.tensors("v0")
    again = warm.again(run.place, model=run.folder / "v0.safetensors")
    assert again.seen.used is True
    assert same(again.tensors("result"), run.tensors("result"))


def test_a_closure_that_runs_inside_the_step(warm: Warm) -> None:
    run = warm.run(
        """
optimizer = torch.optim.LBFGS(model.parameters(), max_iter=3)
def closure():
    optimizer.zero_grad()
    loss = loss_of(model(x), y)
    loss.backward()
    return loss
for _ in range(4): optimizer.step(closure)
"""
    )
    assert (run.seen.steps, run.seen.passes, run.seen.examples, run.seen.notes) == (4, 0, None, [])
    again = warm.again(run.place, model=run.folder / "v0.safetensors", steps=4)
    assert (again.seen.used, again.seen.ended) == (True, "steps")
    assert same(again.tensors("result"), run.tensors("result"))


def test_one_batch_of_a_longer_loader_is_no_pass(warm: Warm) -> None:
    seen = warm.run(
        STEP
        + """
for _ in range(6):
    bx, by = next(iter(train))
    optimizer.zero_grad(); loss_of(model(bx), by).backward(); optimizer.step()
""",
        passes=2,
        steps=5,
    ).seen
    assert (seen.ended, seen.passes, seen.steps, seen.examples) == ("steps", 0, 5, 40)


def test_a_sampler_that_draws_for_ever_has_no_passes(warm: Warm) -> None:
    seen = warm.run(
        STEP
        + """
from torch.utils.data import RandomSampler
data = TensorDataset(x, y)
train = DataLoader(data, 8, sampler=RandomSampler(data, replacement=True, num_samples=10**9))
for number, (bx, by) in enumerate(train):
    optimizer.zero_grad(); loss_of(model(bx), by).backward(); optimizer.step()
""",
        passes=1,
        steps=6,
    ).seen
    assert (seen.ended, seen.passes, seen.steps, seen.examples) == ("steps", 0, 6, 48)


def test_a_loader_made_anew_in_each_pass_and_workers(warm: Warm) -> None:
    seen = warm.run(
        STEP
        + """
data = TensorDataset(x, y)
for _ in range(4):
    train = DataLoader(data, batch_size=8, num_workers=1)
    epoch(optimizer)
""",
        passes=2,
    ).seen
    assert (seen.ended, seen.passes, seen.steps, len(seen.loaders)) == ("passes", 2, 8, 1)


def test_a_part_of_the_training_data(warm: Warm) -> None:
    run = warm.run(LOOP)
    where = next(loader.where for loader in run.seen.loaders if loader.trains)
    again = warm.again(run.place, part=(1, 4), train_loader=where)
    assert (again.seen.examples, again.seen.passes, again.seen.notes) == (24, 3, [])


def test_the_model_that_is_put_in_is_evaluated_and_training_is_none_the_wiser(warm: Warm) -> None:
    run = warm.run(
        """
import sys
if len(sys.argv) > 1:
    model.eval()
    out = model(x[:12])
    print(loss_of(out, y[:12]).item(), (out.argmax(1) == y[:12]).float().mean().item())
"""
        + LOOP
    )
    loss, accuracy = map(float, warm.again(run.place, ["first"]).output.split())
    again = warm.again(run.place, model=run.folder / "v0.safetensors", evaluate=True)
    assert again.seen.evaluated_examples == 12
    assert again.seen.evaluated["loss"] == pytest.approx(loss, rel=1e-5)
    assert again.seen.evaluated["accuracy"] == pytest.approx(accuracy)
    assert same(again.tensors("result"), run.tensors("result"))
    assert again.seen.notes == []
    alone = warm.again(run.place, model=run.folder / "v0.safetensors", evaluate_only=True)
    assert (alone.seen.ended, alone.seen.steps) == ("evaluated", 0)
    assert alone.seen.evaluated == again.seen.evaluated


def test_a_failure_after_training_leaves_the_result(warm: Warm) -> None:
    run = warm.run(LOOP + "\nraise ValueError('no display')")
    assert (run.code, run.seen.ended, run.seen.error) == (1, "failed", "ValueError: no display")
    assert run.seen.error_where == "main.py:31"
    assert "result.safetensors" in run.seen.files
    assert "failed_within_training" not in run.kinds


def test_a_failure_within_a_pass_is_no_late_one(warm: Warm) -> None:
    script = (
        STEP + "for bx, by in train:\n    loss_of(model(bx), by).backward(); optimizer.step()\n"
    )
    run = warm.run(script + "    raise ValueError('no room')\n")
    assert run.kinds["failed_within_training"] == "difference"
    early = warm.run(script + "    break\nraise ValueError('no display')\n")
    assert (early.seen.steps, early.seen.ended) == (1, "failed")
    assert "failed_within_training" not in early.kinds


def test_writes_stay_in_the_folder_and_links_become_copies(warm: Warm) -> None:
    run = warm.run(LOOP)
    elsewhere = run.place.parent / "shared"
    elsewhere.mkdir()
    (elsewhere / "notes.txt").write_text("theirs")
    (run.place / "data").symlink_to(elsewhere)
    (run.place / "main.py").write_text(
        "import torch\nopen('data/notes.txt', 'a').write(' and mine')\n"
        "try: open('/opt/fedops-never.txt', 'w')\nexcept PermissionError as error: print(error)\n"
    )
    again = warm.again(run.place, writable=[])
    assert "not allowed on this device" in again.output
    assert (elsewhere / "notes.txt").read_text() == "theirs"
    assert (run.place / "data" / "notes.txt").read_text() == "theirs and mine"
    assert again.kinds["write_denied"] == "difference"
