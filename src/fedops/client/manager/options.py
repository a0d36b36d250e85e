"""How a Client Manager is run, beside the settings of its device."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fedops.client.deployment.commits.environments import MakeEnvironments
from fedops.client.spool.child_output import Echo

#: How the training client is started: two more arguments follow.
TRAINING_COMMAND = (sys.executable, "-m", "fedops.client.training.main")


@dataclass
class Options:
    """What is not a setting of the device: how this Client Manager is run."""

    #: The app's folder. None: the server says what runs, or ``device.toml`` does.
    app_dir: Path | None
    tasks: Sequence[str] = ()
    overrides: Sequence[str] = ()
    echo: Echo | None = None
    #: End with an error when the training client is given up, rather than stay for a later try.
    end_when_given_up: bool = False
    training_command: Sequence[str] = TRAINING_COMMAND
    #: The identity was handed in (a systemd credential), so who hands it in renews it.
    provided: bool = False
    #: Where the app's explanations go, below the data dir.
    output_dir: str = "outputs"
    #: How the environments of commits are made; None: as the settings say.
    environments: MakeEnvironments | None = None
