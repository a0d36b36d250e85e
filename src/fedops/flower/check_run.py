"""The examination behind ``fedops check``, and what only the round engine knows: if there is such a strategy.

``python -m fedops.flower.check_run APP_DIR ANSWER_FILE``
"""

from __future__ import annotations

import sys

from fedops.flower.strategy_config import make_strategy
from fedops.scalize.check_run import main
from fedops.scalize.project import Project


def strategy_of(project: Project) -> None:
    """Make the strategy that the config names.

    Raises:
        Invalid: there is no such strategy, or no such argument.
    """
    wanted = project.config.server.strategy
    make_strategy(wanted.target, wanted.kwargs, [project.app_dir])


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], strategy_of)
