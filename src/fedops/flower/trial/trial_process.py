"""A trial in a process of its own, which imports the project.

``python -m fedops.flower.trial.trial_process QUESTION_FILE ANSWER_FILE``
"""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

from fedops.flower.trial.trial_federation import Trial
from fedops.flower.trial.trial_report import TrialQuestion
from fedops.processes.spawn import die_with_parent


def main(question: str, answer: str) -> None:
    """Play what the file ``question`` asks for, and write the report as JSON into the file ``answer``."""
    die_with_parent()
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING)
    logging.getLogger("fedops").setLevel(logging.INFO)
    sys.argv = sys.argv[:1]  # a project that reads its command line when imported finds it empty
    asked = TrialQuestion.model_validate_json(Path(question).read_text(encoding="utf-8"))
    file = Path(answer).resolve()  # the app may have a folder that it works in
    report = Trial(asked).run()
    file.write_text(report.model_dump_json(), encoding="utf-8")
    os._exit(0)  # without waiting for threads that an app has started


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
