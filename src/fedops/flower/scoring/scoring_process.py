"""The process that scores a run's rounds: ``python -m fedops.flower.scoring.scoring_process QUESTION_FILE``.

It opens the app once. Then jobs come as files into the folder of the question, one after the other, and each
answer is a file beside its job. It ends with the process that started it.
"""

from __future__ import annotations

import json
import logging
import sys
import time
from itertools import count
from pathlib import Path
from typing import Any

from fedops.core.errors import FedOpsError
from fedops.flower.scoring.error_sentence import error_sentence
from fedops.platforms.processes import lower_priority
from fedops.processes.spawn import die_with_parent
from fedops.storage.atomic_files import write_atomic

#: How much lower its priority is than that of the FL server, which is lower than the Server Manager's.
NICE = 15
#: Of a job: the folder for the models of its coalitions, which are made and not scored.
BUILD_IN = "build_in"
_LOOK_SECONDS = 0.02


def job_file(folder: Path, number: int) -> Path:
    """Where the job with this number is."""
    return folder / f"job-{number}.json"


def answer_file(folder: Path, number: int) -> Path:
    """Where its answer will be."""
    return folder / f"answer-{number}.json"


def ready_file(folder: Path) -> Path:
    """It is there when the app is open."""
    return folder / "ready"


def main(question: str) -> None:
    """Score what comes, for as long as the parent lives."""
    asked = json.loads(Path(question).read_text(encoding="utf-8"))
    die_with_parent()
    lower_priority(NICE)
    logging.basicConfig(stream=sys.stderr, level=logging.WARNING)
    sys.argv = sys.argv[:1]
    from fedops.flower.scoring.job_scoring import JobScoring

    scoring = JobScoring.open(Path(asked["app_dir"]), asked["config"], asked["seed"])
    scoring.warm_up()
    folder = Path(question).parent
    ready_file(folder).touch()
    for number in count(1):
        job = _next(job_file(folder, number))
        answer = json.dumps(_answer(scoring, job)).encode()
        write_atomic(answer_file(folder, number), answer, mode=0o600, durable=False)


def _next(path: Path) -> dict[str, Any]:
    while not path.exists():
        time.sleep(_LOOK_SECONDS)
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def _answer(scoring: Any, job: dict[str, Any]) -> dict[str, Any]:
    try:
        if BUILD_IN in job:
            return {"models": scoring.build(job, Path(job[BUILD_IN]))}
        return {"scores": scoring.score(job).model_dump(mode="json")}
    except Exception as error:
        if not isinstance(error, FedOpsError):
            logging.exception("a round cannot be scored")
        return {"failed": error_sentence(error)}


if __name__ == "__main__":
    main(sys.argv[1])
