"""A process that answers one question about the device's app and data in a file, and ends."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel

from fedops.core.errors import FedOpsError
from fedops.platforms.confinement import write_no_core
from fedops.processes.log_output import log_to_stderr
from fedops.processes.spawn import die_with_parent
from fedops.scalize.flow.target_import import import_advice

logger = logging.getLogger("fedops.training")
Q = TypeVar("Q", bound=BaseModel)


def read_question(kind: type[Q]) -> Q:
    """What this process is asked, in the file that its command line names. It ends with its parent."""
    write_no_core()
    die_with_parent()
    log_to_stderr("%(levelname)s %(name)s: %(message)s")
    question = kind.model_validate_json(Path(sys.argv[1]).read_text(encoding="utf-8"))
    sys.argv = sys.argv[:1]  # an app that reads its command line when imported finds it empty
    return question


def answer_in(
    file: Path,
    app_dir: Path,
    work: Callable[[], BaseModel],
    *,
    refused: Callable[[str], BaseModel],
    failed: Callable[[str], BaseModel],
) -> None:
    """Write what ``work`` finds.

    ``refused``: the answer when it raises ``FedOpsError``; ``failed``: when the app's own code fails.
    """
    try:
        found = work()
    except FedOpsError as error:
        found = refused(error.message)
    except (Exception, SystemExit) as error:  # an app's code may raise anything, or end the process
        logger.exception("the app failed")
        found = failed(f"the app failed: {import_advice(error, [app_dir])}")
    file.write_text(found.model_dump_json(), encoding="utf-8")
