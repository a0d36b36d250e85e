"""An export in a process of its own, which imports the project.

``python -m fedops.scalize.export.export_process QUESTION_FILE ANSWER_FILE``
"""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

from fedops.processes.spawn import die_with_parent
from fedops.scalize.export.export_report import ExportQuestion
from fedops.scalize.export.exporting import Export


def main(question: str, answer: str) -> None:
    """Export what the file ``question`` asks for, and write the report as JSON into the file ``answer``."""
    die_with_parent()
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING)
    sys.argv = sys.argv[:1]  # a project that reads its command line when imported finds it empty
    file = Path(answer).resolve()  # the app may have a folder that it works in
    asked = ExportQuestion.model_validate_json(Path(question).read_text(encoding="utf-8"))
    report = Export(asked).run()
    file.write_text(report.model_dump_json(), encoding="utf-8")
    sys.stdout.flush()
    os._exit(0)  # without waiting for threads that an app has started


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
