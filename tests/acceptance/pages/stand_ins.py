"""What a page would install or download, replaced: this test's environment, and a small MNIST."""

from __future__ import annotations

import os
import shutil
import struct
import sys
import sysconfig
import venv
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[3]
PROGRAMS = Path(sys.executable).parent
#: What a clone has and a page touches. The rest stays out: nothing is to depend on it.
CLONE = ("apps", "examples", "deploy", "constraints.txt", "pyproject.toml", "Makefile")

# 'python3 -m venv DIR' makes a folder in which the programs of this environment are, and our stand-ins.
_PYTHON = """#!/bin/bash
if [ "$1 $2" != "-m venv" ]; then
  exec "{python}" "$@"
fi
bin="$PWD/$3/bin" && mkdir -p "$bin" && cd "$bin" &&
  ln -sf "{programs}"/* . && rm -f python* activate* pip* && ln -s "{stand_ins}"/p* . &&
  echo "export VIRTUAL_ENV='${{bin%/bin}}' PATH='$bin':\\$PATH" > activate
"""
# Installing succeeds if every extra that is named exists. An editable installation of an app or a package is
# made as pip makes it, without what it depends on.
_PIP = """#!{python}
import json, pathlib, re, sys, tomllib
extras = tomllib.load(open({pyproject!r}, "rb"))["project"]["optional-dependencies"]
named = [e for word in sys.argv[1:] for e in re.findall(r"(?:^\\.|fedops)\\[(.*)\\]", word)]
missing = [e for group in named for e in group.split(",") if e not in extras]
if missing:
    sys.exit(f"no such extra: {{missing}}")
if sys.argv[-2:] == ["-e", "."]:
    project = tomllib.load(open("pyproject.toml", "rb"))["project"]
    name, points = project["name"], project.get("entry-points", {{}})
    note = pathlib.Path({site!r}, name.replace("-", "_") + "-0.1.0.dist-info")
    note.mkdir()
    (note / "METADATA").write_text(f"Metadata-Version: 2.1\\nName: {{name}}\\nVersion: 0.1.0\\n")
    url = pathlib.Path.cwd().as_uri()
    (note / "direct_url.json").write_text(json.dumps({{"url": url, "dir_info": {{"editable": True}}}}))
    with open(note / "entry_points.txt", "w") as file:
        for group, named in points.items():
            print(f"[{{group}}]", *(f"{{k}} = {{v}}" for k, v in named.items()), sep="\\n", file=file)
    note.with_suffix(".pth").write_text(str(pathlib.Path.cwd()))
"""
# 'make TARGET' succeeds if there is such a target.
_MAKE = """#!/bin/bash
exec {make} --dry-run --directory "{root}" "$@" > /dev/null
"""
PROGRAM_TEXTS = {"python": _PYTHON, "python3": _PYTHON, "pip": _PIP, "make": _MAKE}


def make_clone(folder: Path) -> Path:
    """A clone of FedOps as far as the pages use one."""
    folder.mkdir()
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info", "build", "outputs")
    for name in CLONE:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=ignored)
        else:
            shutil.copy(source, folder / name)
    return folder


def make_environment(folder: Path) -> Path:
    """A virtual environment that has what this one has, for a page to install into; gives its programs."""
    venv.create(folder)
    (_site(folder) / "shared.pth").write_text(
        f"import site; site.addsitedir({sysconfig.get_path('purelib')!r})\n"
    )
    for program in PROGRAMS.iterdir():
        if not (folder / "bin" / program.name).exists():
            _adopt(program, folder / "bin" / program.name)
    return folder / "bin"


def _site(environment: Path) -> Path:
    base = str(environment)
    return Path(sysconfig.get_path("purelib", "venv", {"base": base, "platbase": base}))


def _adopt(program: Path, copy: Path) -> None:
    """Scripts are run by the Python beside them; everything else stays what it is."""
    with program.open("rb") as file:
        is_script = file.read(2) == b"#!"
    if not is_script:
        copy.symlink_to(program)
        return
    text = program.read_text(encoding="utf-8")
    copy.write_text(text.replace(f"{PROGRAMS}/python", f"{copy.parent}/python"), encoding="utf-8")
    copy.chmod(0o755)


def make_stand_ins(folder: Path, environment: Path) -> Path:
    """Programs that come before those of the environment on the PATH."""
    folder.mkdir()
    names = {
        "stand_ins": folder,
        "programs": environment / "bin",
        "python": environment / "bin" / "python",
        "root": ROOT,
        "make": shutil.which("make") or "make",
        "pyproject": str(ROOT / "pyproject.toml"),
        "site": str(_site(environment)),
    }
    for name, text in PROGRAM_TEXTS.items():
        (folder / name).write_text(text.format(**names))
        (folder / name).chmod(0o755)
    return folder


def make_mnist(folder: Path) -> Path:
    """scikit-learn's digits as the four files of MNIST: small, and there without a network."""
    from sklearn.datasets import load_digits

    folder.mkdir()
    digits = load_digits()
    images = np.kron(digits.images, np.ones((3, 3))).clip(0, 16) * 15
    images = np.pad(images, ((0, 0), (2, 2), (2, 2))).astype(np.uint8)
    test = np.arange(len(images)) % 5 == 0
    for prefix, rows in (("train", ~test), ("t10k", test)):
        _write_idx(folder / f"{prefix}-images-idx3-ubyte", images[rows])
        _write_idx(folder / f"{prefix}-labels-idx1-ubyte", digits.target[rows].astype(np.uint8))
    return folder


def _write_idx(file: Path, array: np.ndarray) -> None:
    header = struct.pack(f">{1 + array.ndim}i", 0x0800 + array.ndim, *array.shape)
    file.write_bytes(header + array.tobytes())


def plain_env() -> dict[str, str]:
    """This environment without what sets up FedOps, Flower or a venv."""
    unwanted = ("FEDOPS_", "FLWR_", "VIRTUAL_ENV", "PYTEST_", "WANDB_")
    return {k: v for k, v in os.environ.items() if not k.startswith(unwanted)}
