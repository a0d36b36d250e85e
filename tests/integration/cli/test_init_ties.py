"""``fedops init`` on a project in which several classes would do as well for a step."""

import json
from pathlib import Path

import pytest

from fedops.cli.main import main

TWO = """\
from torch import nn
class A(nn.Module): ...
class B(nn.Module): ...
def load_data(): return 1, 2
"""


def _init(project: Path, *words: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["init", str(project), *words])
    return int(ended.value.code or 0)


def test_a_program_is_asked_and_a_person_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "m.py").write_text(TWO)
    assert _init(tmp_path, "--json") == 2
    asked = json.loads(capsys.readouterr().out)
    (question,) = asked["questions"]
    assert (question["key"], [o["value"] for o in question["options"]]) == ("model", ["m.A", "m.B"])
    assert not (tmp_path / "federated").exists()
    assert _init(tmp_path, "--json", "--step", "model=m.B") == 0
    answered = json.loads(capsys.readouterr().out)
    assert (answered["questions"], answered["steps"]["model"]) == ([], "m.B")
