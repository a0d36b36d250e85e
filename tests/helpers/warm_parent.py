"""A process that has imported the frameworks and forks a child for each watched script.

``python warm_parent.py HOOKS MODULE...``: imports the modules, prints "ready", then reads an object a line:
``{"job": FILE, "argv": [SCRIPT, ...], "cwd": FOLDER, "env": {...}, "output": FILE}``, and answers each with
a line that is the child's exit status. ``HOOKS``: the folder of the hooks.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import random
import runpy
import sys
import threading
import traceback
from typing import Any


def main() -> None:
    sys.path[0] = sys.argv[1]
    for name in sys.argv[2:]:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # children look through what the script made, not through the frameworks
    _say("ready")
    for line in sys.stdin:
        _say(str(_status_of(line)))


def _status_of(asked: str) -> int:
    """The exit status of a child that was the script that is asked for."""
    child = os.fork()
    if child == 0:
        _be_the_script(json.loads(asked))
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _be_the_script(asked: Any) -> None:
    """Run the script as ``python SCRIPT`` would, and end as that would."""
    output = os.open(asked["output"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    empty = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((empty, 0), (output, 1), (output, 2)):
        os.dup2(source, target)
    os.environ.update(asked.get("env", {}))
    os.environ["FEDOPS_WATCH"] = asked["job"]
    os.chdir(asked["cwd"])
    _draw_own_numbers()
    from fedops_watch import start

    script = asked["argv"][0]
    sys.argv[:] = asked["argv"]
    sys.path[0] = os.path.dirname(os.path.abspath(script))
    start.begin()
    _end(_run(script))


def _end(status: int) -> None:
    """End as an interpreter does, but for the memory that it would tidy for half a second."""
    threading._shutdown()  # waits for the threads
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(status)


def _draw_own_numbers() -> None:
    """As in any process that nobody has seeded: not those of the parent."""
    random.seed()
    if "numpy" in sys.modules:
        sys.modules["numpy"].random.seed()
    if "torch" in sys.modules:
        sys.modules["torch"].seed()


def _run(script: str) -> int:
    try:
        runpy.run_path(script, run_name="__main__")
    except SystemExit as end:
        if isinstance(end.code, (int, type(None))):
            return (end.code or 0) & 255
        print(end.code, file=sys.stderr)
        return 1
    except BaseException as error:
        sys.last_type, sys.last_value, sys.last_traceback = type(error), error, error.__traceback__
        traceback.print_exc()
        return 1
    return 0


if __name__ == "__main__":
    main()
