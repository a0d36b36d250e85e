"""In place of the program of ``fedops check``: a warm child looks at a project (see ``warm_module``)."""

import os
import sys

from warm_module import ask

if __name__ == "__main__":
    os._exit(ask(["fedops.scalize.check.check_process", *sys.argv[1:]]))
