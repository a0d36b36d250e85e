"""The static look at a project: names followed through imports, nothing ever run."""

from pathlib import Path

from fedops.scalize.discovery.source.source_files import import_root, module_name
from fedops.scalize.discovery.source.survey import Survey, analyse_project


def _survey(tmp_path: Path, **files: str) -> Survey:
    for name, text in files.items():
        file = tmp_path / f"{name.replace('__', '/')}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return analyse_project(tmp_path)


def test_names_are_followed_through_imports(tmp_path: Path) -> None:
    seen = _survey(
        tmp_path,
        a="import torch.nn as nn\nclass One(nn.Module): ...",
        b="from torch import nn\nclass Two(nn.Module): ...",
        c="from torch.nn import Module as M\nclass Three(M): ...",
        d="import torch\nclass Four(torch.nn.Module): ...",
        e="import a\nclass Five(a.One): ...",
        f="class Six: ...",
    )
    derived = {c.target for c in seen.subclasses("torch.nn.Module")}
    assert derived == {"a.One", "b.Two", "c.Three", "d.Four", "e.Five"}


def test_relative_imports(tmp_path: Path) -> None:
    seen = _survey(
        tmp_path,
        pack____init__="from .core import Base",
        pack__core="import keras\nclass Base(keras.Model): ...",
        pack__deep____init__="",
        pack__deep__more="from ..core import Base\nclass More(Base): ...",
    )
    derived = {c.target for c in seen.subclasses("keras.Model")}
    assert derived == {"pack.core.Base", "pack.deep.more.More"}


def test_functions_tell_what_they_take_and_give(tmp_path: Path) -> None:
    (tmp_path / "m.py").write_text(
        "import keras\n"
        "def build(units=4, *, rate: float, name='x'):\n"
        "    model = keras.Sequential([])\n"
        "    return model\n"
        "def load(path):\n"
        "    return 1, 2, 3\n"
        "def show(model):\n"
        "    print(model)\n"
        "    return None\n"
    )
    build, load, show = analyse_project(tmp_path).functions
    assert [(p.name, p.required, p.default) for p in build.parameters] == [
        ("units", False, 4),
        ("rate", True, None),
        ("name", False, "x"),
    ]
    assert build.parameters[1].annotation == "float"
    assert (build.gives, build.elements, build.line) == (("keras.Sequential",), 1, 2)
    assert (load.gives, load.elements, load.answers) == ((), 3, True)
    assert not show.answers


def test_settings_of_every_kind(tmp_path: Path) -> None:
    seen = _survey(
        tmp_path,
        m=(
            "import argparse\nfrom dataclasses import dataclass\n"
            "EPOCHS = 7\nPATHS = ['a', 'b']\nWHEN = object()\n"
            "@dataclass\nclass Settings:\n    hidden: int = 16\n    name: str\n"
            "def main():\n    p = argparse.ArgumentParser()\n"
            "    p.add_argument('-b', '--batch-size', type=int, default=32)\n"
            "    p.add_argument('--fast', action='store_true')\n"
            "    p.add_argument('--rate', dest='lr', default=-0.5)\n"
        ),
    )
    assert seen.options == {"batch_size": 32, "fast": False, "lr": -0.5}
    assert seen.constants == {"EPOCHS": 7, "PATHS": ["a", "b"]}
    assert seen.fields == {"hidden": 16}
    assert [p.required for p in seen.classes[0].parameters] == [False, True]
    assert seen.named_value("epochs") == 7


def test_a_module_that_works_when_imported_is_noticed(tmp_path: Path) -> None:
    seen = _survey(
        tmp_path,
        script="from m import train\nfor epoch in range(3):\n    train()\n",
        guarded="from m import train\nif __name__ == '__main__':\n    train()\n",
        fitted="model = make()\nmodel.fit(x)\n",
    )
    assert seen.busy == {"script": 2, "fitted": 2}


def test_nothing_is_run_and_nothing_is_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text("def half(:\n")
    (tmp_path / "zero.py").write_bytes(b"x = '\x00'")
    (tmp_path / "boom.py").write_text("raise SystemExit('I was run')\n")
    for folder in ("tests", "federated", ".venv", "build", "own_env"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "hidden.py").write_text("def load_data(): ...")
    (tmp_path / "own_env" / "pyvenv.cfg").write_text("")
    (tmp_path / "test_it.py").write_text("def load_data(): ...")
    (tmp_path / "not-a-module.py").write_text("def load_data(): ...")
    seen = analyse_project(tmp_path)
    assert seen.functions == []
    assert sorted(line.split(":")[0] for line in seen.unreadable) == ["bad.py", "zero.py"]
    assert seen.unreadable[0].startswith("bad.py:1: ")


def test_the_src_layout(tmp_path: Path) -> None:
    package = tmp_path / "src" / "pack"
    package.mkdir(parents=True)
    (package / "m.py").write_text("def load_data(): ...")
    assert import_root(tmp_path) == tmp_path / "src"
    assert [f.target for f in analyse_project(tmp_path).functions] == ["pack.m.load_data"]
    assert module_name(tmp_path / "script.py", tmp_path / "src") is None
