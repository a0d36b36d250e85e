"""What the words of a command mean: its epochs, and the paths among its arguments."""

from __future__ import annotations

from pathlib import Path

import pytest

from fedops.scalize.discovery.observed.argument_paths import (
    argument_paths,
    outputs_elsewhere,
    with_placeholders,
)
from fedops.scalize.discovery.observed.declared_options import declared_options, script_of
from fedops.scalize.discovery.observed.epoch_option import find_epoch_option

MAIN = """\
import argparse
from lib.options import more
p = argparse.ArgumentParser()
p.add_argument("--num-epochs", "-e", type=int, default=14)
p.add_argument("--lr", type=float, default=0.1)
"""
OTHER = 'import click\n@click.option("--epochs", default=3)\ndef main(epochs): ...\n'


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "lib").mkdir()
    (tmp_path / "main.py").write_text(MAIN)
    (tmp_path / "other.py").write_text(OTHER)
    (tmp_path / "lib" / "options.py").write_text(
        'def more(p): p.add_argument("--seed", default=1)\n'
    )
    return tmp_path


def test_options_are_those_of_the_script_and_of_what_it_imports(project: Path) -> None:
    script = script_of(["python", "-u", "main.py"], project)
    assert script == project / "main.py"
    assert script_of(["python", "-m", "lib.options"], project) == project / "lib" / "options.py"
    found = declared_options(project, script)
    assert [option.long for option in found] == ["--num-epochs", "--lr", "--seed"]
    assert found[0].where == "main.py:4"
    assert {option.long for option in declared_options(project, None)} >= {"--epochs", "--seed"}


@pytest.mark.parametrize(
    ("words", "with_one"),
    [
        ("python main.py --num-epochs 3 --lr 1", "python main.py --num-epochs 1 --lr 1"),
        ("python main.py --num-epochs=3", "python main.py --num-epochs=1"),
        ("python main.py -e 3", "python main.py -e 1"),
        ("python main.py -e3", "python main.py -e1"),
        ("python main.py trainer.max_epochs=3", "python main.py trainer.max_epochs=1"),
        ("python main.py --num_train_epochs 3.0", "python main.py --num_train_epochs 1"),
    ],
)
def test_the_word_with_the_epochs(project: Path, words: str, with_one: str) -> None:
    option = find_epoch_option(words.split(), declared_options(project, project / "main.py"))
    assert option is not None
    assert option.value == 3
    assert option.place is not None
    assert option.in_command(words.split(), 1) == with_one.split()


def test_epochs_by_default(project: Path) -> None:
    option = find_epoch_option(["python", "main.py"], declared_options(project, None)[:2])
    assert option is not None
    assert (option.value, option.place, option.where) == (14, None, "main.py:4")
    assert find_epoch_option(["python", "main.py", "--start-epoch", "3"], []) is None


def test_paths_among_arguments(project: Path) -> None:
    (project / "set" / "train").mkdir(parents=True)
    (project / "set" / "train" / "a.csv").write_text("1")
    (project / "out").mkdir()
    (project / "mnist").mkdir()
    (project / "c.yaml").write_text("a: 1")
    words = "env PYTHONPATH=.. python main.py --data-dir set --config c.yaml --out out --name mnist"
    words += " set/train/a.csv x.root=set --no set"
    found = argument_paths(words.split(), project, ["set/train/a.csv"], ["out/model.pt"])
    assert [path.name for path in found] == ["data_dir", "data", "root", "no"]
    replaced = " ".join(with_placeholders(words.split(), found))
    assert replaced == (
        "env PYTHONPATH=.. python main.py --data-dir {data_dir} --config c.yaml --out out --name mnist"
        " {data} x.root={root} --no {no}"
    )


def test_output_outside_of_the_project(
    project: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    place = tmp_path_factory.mktemp("elsewhere")
    words = ["python", "main.py", "--out", str(place)]
    written = [str(place / "model.pt")]
    assert list(outputs_elsewhere(words, project, written)) == [(str(place), written[0])]
    assert not argument_paths(words, project, [], written)
