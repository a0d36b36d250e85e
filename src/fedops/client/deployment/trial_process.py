"""Tries an app's code on this device, in a process of its own, and ends.

``python -m fedops.client.deployment.trial_process ARGS PIPE``: ARGS is a file, PIPE the descriptor on which
the answer is written. It is run by the interpreter of the code's own environment, in the app's folder,
confined like the training client, and touches nothing that one keeps.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from fedops.client.deployment.trial_messages import TrialAnswer, TrialArgs
from fedops.client.device.data_dir import DataDir
from fedops.client.device.device_config import load_device_config
from fedops.client.local.protocol import why_not_understood
from fedops.config.loading import to_plain
from fedops.core.errors import FedOpsError
from fedops.failpoints import reached
from fedops.platforms.processes import (
    end_first_when_memory_lacks,
    inherited_descriptor,
    lower_priority,
)
from fedops.processes.confining import confine
from fedops.processes.json_lines import write_line
from fedops.processes.log_output import log_to_stderr
from fedops.processes.spawn import die_with_parent
from fedops.scalize.flow.project import Project
from fedops.scalize.flow.target_import import import_advice
from fedops.storage.tensors import load
from fedops.trainer.commit_trial import try_commit
from fedops.trainer.device_context import Device

logger = logging.getLogger("fedops.training")


def try_app(args: TrialArgs) -> TrialAnswer:
    """Do it within the limits of the device's owner.

    Raises:
        FedOpsError: the app, its data or its config do not allow it, with what to do.
    """
    from fedops.flower.client_app import DeviceApp

    project = _project(args)
    packages = _versions(args.named)
    if not DeviceApp(project, Device(args.device)).load():
        return TrialAnswer(
            packages=packages
        )  # it loads model and data by itself, in its first round
    model = load(args.model) if args.model else None
    tried = try_commit(project, args.device, model, trains=args.trains)
    return TrialAnswer(
        fingerprint=tried.fingerprint,
        metrics=dict(tried.metrics),
        trained=tried.trained,
        packages=packages,
    )


def _project(args: TrialArgs) -> Project:
    """The app as its owner lets it be run here."""
    owner = load_device_config(DataDir(args.home).device_config)
    lower_priority(owner.limits.nice)
    overrides = [*args.overrides, *owner.overrides()]
    project = Project.open(args.app_dir, overrides)
    plain = to_plain(project.config)
    bounded, _ = owner.bound(plain)
    lowered = [f"{key}={bounded[key]}" for key in plain if bounded[key] != plain[key]]
    return Project.open(args.app_dir, [*overrides, *lowered]) if lowered else project


def _versions(names: Sequence[str]) -> dict[str, str]:
    found = {}
    for name in ("fedops", *names):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _answer(raw: str) -> TrialAnswer:
    """What is answered, whatever happens but the end of this process."""
    if why := why_not_understood(raw, "trial"):
        return TrialAnswer(problem=why)
    args = TrialArgs.model_validate_json(raw)
    try:
        confine(args.confinement)
        die_with_parent()
        reached("deployment.trial")
        return try_app(args)
    except FedOpsError as error:
        return TrialAnswer(problem=error.message)
    except (Exception, SystemExit) as error:  # an app's code may raise anything, or end the process
        logger.exception("the app failed")
        return TrialAnswer(problem=f"the app failed: {import_advice(error, [args.app_dir])}")


def main() -> None:
    """Try it, and write the answer."""
    end_first_when_memory_lacks()
    log_to_stderr("%(levelname)s %(name)s: %(message)s")
    file, pipe = sys.argv[1:]
    raw = Path(file).read_text(encoding="utf-8")
    sys.argv = sys.argv[:1]  # an app that reads its command line when imported finds it empty
    write_line(inherited_descriptor(int(pipe)), _answer(raw).model_dump())


if __name__ == "__main__":
    main()
