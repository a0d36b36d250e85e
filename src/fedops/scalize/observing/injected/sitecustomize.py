"""Python runs this at its start where our folder stands on its path: the begin of watching."""

from __future__ import annotations

import os
import sys


def _run_hidden(folder: str) -> None:
    """The ``sitecustomize`` of the distribution or the user, which ours hides."""
    import importlib.machinery

    path = [place for place in sys.path if os.path.abspath(place or os.curdir) != folder]
    spec = importlib.machinery.PathFinder.find_spec("sitecustomize", path)
    if spec is None or spec.loader is None:
        return
    import importlib.util

    module = importlib.util.module_from_spec(spec)
    sys.modules["sitecustomize"] = module
    spec.loader.exec_module(module)


def _begin(folder: str) -> None:
    if not os.environ.get("FEDOPS_WATCH"):
        return
    try:
        from fedops_watch import start

        start.begin()
    except Exception as error:  # nothing of ours may end the user's program
        sys.stderr.write(f"fedops: this Python is not watched: {error!r}\n")
    finally:
        sys.path[:] = [place for place in sys.path if os.path.abspath(place or os.curdir) != folder]


_folder = os.path.dirname(os.path.abspath(__file__))
_begin(_folder)
_run_hidden(_folder)
