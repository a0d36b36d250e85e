"""The program behind ``fedops check``: apps of plain Flower have an examination of their own.

``python -m fedops.flower.trial.check_program APP_DIR ANSWER_FILE``
"""

from __future__ import annotations

import sys
from pathlib import Path

from fedops.flower.checks.app_check import BeforeATask
from fedops.flower.trial.plain_check import is_plain
from fedops.flower.trial.plain_check import main as check_plain
from fedops.scalize.check.check_process import main as check_project

if __name__ == "__main__":
    if is_plain(Path(sys.argv[1])):
        check_plain(sys.argv[1], sys.argv[2])
    else:
        check_project(sys.argv[1], sys.argv[2], BeforeATask())
