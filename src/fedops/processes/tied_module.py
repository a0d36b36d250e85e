"""``python -m fedops.processes.tied_module MODULE WORDS...``: runs a module that ends with its starter.

The tie holds before the module is imported, which may take seconds, and holds for all that carries this
process's name of a tree, whichever session or parent it has gone to. The tree has to be this process's alone.
"""

from __future__ import annotations

import os
import runpy
import sys

from fedops.processes.process_tree import TREE_VARIABLE, end_named_tree
from fedops.processes.spawn import die_with_parent


def main() -> None:
    """Run the module that the first word names as ``__main__``; the others are its arguments."""
    die_with_parent(before=_end_the_tree)
    sys.argv = sys.argv[1:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


def _end_the_tree() -> None:
    if tree := os.environ.get(TREE_VARIABLE):
        end_named_tree(tree, grace=0.0)


if __name__ == "__main__":
    main()
