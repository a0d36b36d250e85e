"""A Client Manager as a process: HOME APP [OPTION=VALUE ...]. Its training client is that of the tests, or
the real one (``training=real``). ``managed=yes``: the code comes from the server, and APP is not used."""

from __future__ import annotations

import logging
import sys
from functools import partial
from pathlib import Path

from fedops.client.manager.options import TRAINING_COMMAND, Options
from fedops.client.manager.start import manage
from fedops.client.work import reachability
from fedops.core.errors import FedOpsError
from fedops.settings import client_settings

CHILD = Path(__file__).with_name("training_child.py")


def main() -> int:
    home, app, *words = sys.argv[1:]
    given = dict(word.split("=", 1) for word in words)
    if "retry" in given:  # seconds before each new try, rather than more after each
        pause = float(given["retry"])
        reachability.backoff = partial(reachability.backoff, first=pause, cap=pause)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
    logging.getLogger("httpx").setLevel(logging.WARNING)
    options = Options(
        None if "managed" in given else Path(app),
        given.get("tasks", "mnist").split(",") if given.get("tasks", "mnist") else [],
        echo=lambda line: print(f"training client | {line}", flush=True),
        end_when_given_up="end" in given,
        training_command=TRAINING_COMMAND if "training" in given else (sys.executable, str(CHILD)),
    )
    settings = client_settings(
        home=Path(home),
        port=0,
        training_port=0,
        start_seconds=float(given.get("start_seconds", 20)),
        restart_seconds=0.1,
        environments="shared",
        trial_seconds=float(given.get("trial_seconds", 60)),
        deploy_look_seconds=float(given.get("look_seconds", 0.5)),
    )
    try:
        manage(settings, options)
    except FedOpsError as error:
        print(f"fedops: {error.message}", file=sys.stderr, flush=True)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
