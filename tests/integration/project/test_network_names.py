"""Every name that a config from the network may use: there, of its package, and harmless to call."""

from __future__ import annotations

import subprocess
import sys

import pytest

from fedops.scalize.flow.network_names import NETWORK_NAMES

#: Calls each name with small numbers, under a hook that sees files, code, processes and sockets.
_LOOK = r"""
import importlib, inspect, re, sys, warnings
warnings.simplefilter("ignore")
seen, watching = [], False
WATCHED = ("open", "exec", "compile", "socket.", "subprocess.", "os.system", "os.exec", "os.remove",
           "os.mkdir", "os.rename", "shutil.", "urllib.", "pickle.", "ctypes.dlopen")

def hook(event, args):
    if watching and event.startswith(WATCHED):
        seen.append(event)

sys.addaudithook(hook)
RISKY = re.compile(
    r"(^|_)(path|file|filename|dir|folder|url|memory|cache|vocabulary|lambda|lr_lambda|func|fn)s?$"
)

def called(found):
    needed = [p for p in inspect.signature(found).parameters.values()
              if p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    try:
        found(*[2] * len(needed))
    except Exception:
        pass  # numbers are not what it takes: what it did until then was seen

bad = []
for target in sys.argv[1].split():
    module, _, name = target.rpartition(".")
    found = getattr(importlib.import_module(module), name, None)
    if not callable(found) or not found.__module__.split(".")[0] == module.split(".")[0]:
        bad.append(f"{target}: not there, or of another package")
        continue
    try:
        parameters = list(inspect.signature(found).parameters)
    except ValueError:
        parameters = []
    bad += [f"{target}({p})" for p in parameters if RISKY.search(p)]
    if parameters:
        called(found)  # what it imports and compiles the first time
        watching = True
        called(found)
        watching = False
        bad += [f"{target}: {event}" for event in sorted(set(seen))]
        seen.clear()
print("\n".join(bad) or "all harmless")
"""


@pytest.mark.parametrize("library", ["torch", "keras", "sklearn", "fedops"])
def test_no_listed_name_opens_a_file_runs_code_or_calls_out(library: str) -> None:
    names = sorted(name for name in NETWORK_NAMES if name.startswith(f"{library}."))
    assert names
    done = subprocess.run(
        [sys.executable, "-c", _LOOK, " ".join(names)],
        env={"KERAS_BACKEND": "torch", "PATH": "/usr/bin:/bin", "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.stdout.strip() == "all harmless", done.stdout + done.stderr[-2000:]
