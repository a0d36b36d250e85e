"""From a run as it was seen to a proposal: what is chosen, asked and refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fedops.config.loading import load_config
from fedops.core.errors import Conflict, Invalid
from fedops.scalize.discovery.observed.app_files import write_app
from fedops.scalize.discovery.observed.epoch_option import EpochOption
from fedops.scalize.discovery.observed.look import Look
from fedops.scalize.discovery.observed.proposal import ScriptProposal, propose_script
from fedops.scalize.discovery.observed.proposal_lines import lines_of
from fedops.scalize.observing.records import Note, Seen, SeenModel, SeenOptimizer, SeenTensor
from fedops.storage import tensors

EPOCHS = EpochOption("--epochs", 3, 3, "main.py:5")
COMMAND = ("/home/me/.venv/bin/python3.11", "main.py", "--epochs", "3")


def _model(name: str = "Net", first: int = 1, last: int = 30, kind: str = "") -> SeenModel:
    weight = SeenTensor(name="w", shape=[2, 2], dtype="float32")
    return SeenModel(
        name=name,
        kind=kind or f"main.{name}",
        where="main.py:9",
        tensors=[weight],
        steps=last - first + 1,
        first_step=first,
        last_step=last,
    )


def _seen(*models: SeenModel, **more: Any) -> Seen:
    known = {"steps": 30, "passes": 3, "examples": 240, "seconds": 1.0, **more}
    return Seen(models=list(models or [_model()]), **known)


@pytest.fixture
def propose(tmp_path: Path) -> Any:
    (tmp_path / "v0.safetensors").touch()

    def make(seen: Seen, option: EpochOption | None = EPOCHS, **answers: str) -> ScriptProposal:
        look = Look(tmp_path, COMMAND, seen, tmp_path / "v0.safetensors", option)
        return propose_script(look, answers)

    return make


def _values(proposal: ScriptProposal) -> dict[str, str]:
    return {choice.key: choice.value for choice in proposal.choices}


def test_one_pass_a_round_by_the_option(propose: Any) -> None:
    proposal = propose(_seen())
    assert proposal.script.command == ["python", "main.py", "--epochs", "1"]
    assert proposal.script.passes == 1
    assert not proposal.open()
    assert any("--epochs 3 made 3 passes (main.py:5)" in line for line in lines_of(proposal))
    assert propose(_seen(), epochs="2").script.command[-1] == "2"
    with pytest.raises(Invalid, match="--answer epochs=none: must be 1 or more"):
        propose(_seen(), epochs="none")
    with pytest.raises(Invalid, match=r"epoch=.*did you mean 'epochs'"):
        propose(_seen(), epoch="2")


def test_a_schedule_keeps_the_command(propose: Any) -> None:
    optimizer = SeenOptimizer(kind="torch.optim.SGD", where="main.py:11", schedulers=["StepLR"])
    proposal = propose(_seen(optimizers=[optimizer]))
    assert proposal.script.command[-2:] == ["--epochs", "3"]
    assert proposal.script.passes == 1
    assert {"schedule_kept", "loop_ended"} <= {note.kind for note in proposal.notes}
    assert proposal.script.schedule == "goes_on"


def test_without_an_option_the_loop_is_ended(propose: Any) -> None:
    proposal = propose(_seen(ended="passes", passes=2), None)
    assert proposal.script.command[-1] == "3"
    assert proposal.script.passes == 1
    endless = propose(_seen(ended="steps", passes=0, steps=500, examples=None), None)
    assert [choice.key for choice in endless.open()] == ["steps"]
    assert endless.script.steps == 100
    whole = propose(_seen(passes=0, steps=20), None)
    assert (whole.script.passes, whole.script.steps) == (0, 0)


def test_several_models(propose: Any) -> None:
    both = propose(_seen(_model("G", 1, 29), _model("D", 2, 30)))
    assert _values(both)["models"] == "G,D"
    assert both.script.models == []
    stages = propose(_seen(_model("Teacher", 1, 10), _model("Student", 11, 30)))
    assert [(c.key, c.value) for c in stages.open()] == [("models", "Student")]
    assert stages.script.models == ["Student"]
    assert stages.script.passes == 0, "a pass of the teacher is none of the student"
    answered = propose(_seen(_model("Teacher", 1, 10), _model("Student", 11, 30)), models="Teacher")
    assert not answered.open()
    assert answered.script.models == ["Teacher"]
    folds = propose(_seen(*(_model(f"Net{n}", n * 9, n * 9 + 8, "main.Net") for n in (1, 2, 3))))
    assert "choose one of them by an option of your script" in folds.problems[0]
    assert folds.script is None


def test_other_weights_at_the_end_are_asked_for(propose: Any) -> None:
    note = Note(
        kind="other_weights_at_the_end",
        text="the command loads the best of its epochs",
        where="main.py:30",
        weight="question",
    )
    (question,) = propose(_seen(notes=[note])).open()
    assert question.key == "result"
    assert question.where == "main.py:30"
    assert [option.value for option in question.options] == ["loop", "script"]
    assert propose(_seen(notes=[note]), result="script").script.result == "script"
    ended = propose(_seen(notes=[note], ended="passes"), None)
    assert not ended.open(), "a round does not come that far"
    assert [difference.kind for difference in ended.differences] == ["other_weights_at_the_end"]


def test_training_that_the_look_did_not_come_to_is_a_difference(
    propose: Any, tmp_path: Path
) -> None:
    main = tmp_path / "main.py"
    again = "model.fit(x, y, batch_size=8)\nmodel.fit(\n  x, epochs=1)\n"
    main.write_text("\n" * 8 + "model.fit(x, epochs=9)\nscaler.fit(x)\n" + again)
    assert [d.line() for d in propose(_seen(ended="passes"), None).differences] == [
        "main.py:11: it trains 2 times more behind the loop that a round ends (lines 11, 12), which is no "
        "part of a round; if that training is meant, let a command do it alone"
    ]
    assert not propose(_seen(), None).differences, "the run was seen to its own end"
    loop = "for x in data:\n    loss(model(x)).backward()\n"
    main.write_text("\n" * 8 + "model = Net()\n" + loop + "for x in data:\n    model(x)\n" + loop)
    (loops,) = propose(_seen(ended="steps"), None).differences
    assert (loops.where, "once more" in loops.text) == ("main.py:14", True)


def test_phases_are_never_well_without_an_answer(propose: Any) -> None:
    note = Note(
        kind="two_phases", text="Net is trained again", where="main.py:4", weight="question"
    )
    assert "as after a learning-rate finder" in propose(_seen(notes=[note])).problems[0]
    answered = propose(_seen(notes=[note]), phases="whole")
    assert answered.problems == ()
    assert answered.script.passes == 0


def test_refusals(propose: Any) -> None:
    refused = Note(kind="fsdp", text="FSDP is not federated", where="main.py:3", weight="refusal")
    assert propose(_seen(notes=[refused])).problems == ("main.py:3: FSDP is not federated",)
    failed = Seen(ended="failed", error="RuntimeError: Found no NVIDIA driver (main.py:3)")
    assert "it needs a GPU that this machine does not have" in propose(failed).problems[0]
    page = Seen(
        ended="failed",
        error="ValueError: in user code:\n\n    File x\n" + "y\n" * 900 + "no such layer",
    )
    (told,) = propose(page).problems
    assert told.endswith("no such layer")
    assert len(told) < 700
    assert "\n" not in told
    nothing = propose(Seen(exit_code=0))
    assert "ended by itself, and no training was seen in it" in nothing.problems[0]


def test_a_failure_after_the_training_is_said(propose: Any) -> None:
    proposal = propose(_seen(error="ImportError: matplotlib", exit_code=1))
    assert proposal.problems == ()
    assert any("after its training the command failed" in note.text for note in proposal.notes)


def test_only_what_is_federated_is_written(propose: Any, tmp_path: Path) -> None:
    (tmp_path / "main.py").write_text("print()")
    start = {f"{name}.w": np.full((2, 2), value) for name, value in (("Old", 1.0), ("New", 2.0))}
    tensors.save(start, tmp_path / "v0.safetensors", durable=False)
    seen = _seen(_model("Old", 1, 10), _model("New", 11, 30), read=["/home/me/secret.csv"])
    write_app(propose(seen))
    app = tmp_path / "federated"
    assert {k: v.max() for k, v in tensors.load(app / "initial.safetensors").items()} == {"w": 2.0}
    assert "/home/me" not in (app / "observed.json").read_text()
    assert load_config(app / "config.toml").script.models == ["New"]
    with pytest.raises(Conflict, match="exists already"):
        write_app(propose(seen))


def test_data_above_the_project_is_refused_with_the_command_that_takes_it_along(
    propose: Any, tmp_path: Path
) -> None:
    proposal = propose(_seen(read=["../.git/config", "data/x.csv", "../data/x.csv"]))
    (problem,) = proposal.problems
    assert "reads ../data/x.csv" in problem
    assert f"fedops init .. -- sh -c 'cd {tmp_path.name} && " in problem
    assert not propose(_seen(read=["../.git/config", "data/x.csv"])).problems


def test_a_part_of_the_training_that_no_round_comes_to_is_named(propose: Any) -> None:
    later = SeenOptimizer(kind="torch.optim.Adam", where="main.py:14", passes_before=2)
    seen = _seen(optimizers=[SeenOptimizer(kind="torch.optim.SGD"), later])
    (difference,) = propose(seen, None).differences
    assert difference.line() == (
        "main.py:14: Adam takes its first step after pass 2, and a round ends before that: this part of the "
        "training is never done"
    )
    assert propose(seen, None, epochs="3").differences == ()
