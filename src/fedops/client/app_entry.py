"""What a client app's own ``client_manager_main`` and ``client_main`` are made of: the settings of both.

Started by Flower (``flwr run .``) or by hand, with what the environment, the command line and the app's
``config.toml`` say, in this order.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

import psutil

from fedops.client.device.data_dir import DataDir, load_identity, provided_identity
from fedops.client.device.enrolment import join
from fedops.client.manager.options import Options
from fedops.client.manager.start import manage
from fedops.client.training import main
from fedops.config.schema import Config
from fedops.core.errors import FedOpsError, Invalid, NotFound
from fedops.core.server_authority import split_fingerprint
from fedops.flower.launch.device_launcher import ERROR_PREFIX, PLACEHOLDER, TRAINING_PREFIX
from fedops.processes.log_output import log_to_stderr
from fedops.processes.spawn import die_with_parent
from fedops.scalize.flow.project import Project
from fedops.settings import AppSettings, ClientSettings, app_settings, client_settings

logger = logging.getLogger("fedops.client")


def run_client_manager(
    app_dir: Path, training_module: str, arguments: Sequence[str] | None = None
) -> int:
    """Be the app's Client Manager; returns the exit code. Its training client is ``training_module``."""
    parser = argparse.ArgumentParser(description="The app's Client Manager; it ends with Ctrl-C.")
    parser.add_argument("--set", metavar="KEY=VALUE", action="append", default=[], dest="overrides")
    parser.add_argument("--tethered", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.tethered:
        die_with_parent()
    try:
        log_to_stderr(form=client_settings().log_format)
        _take_part(app_dir.resolve(), training_module, given.overrides)
    except FedOpsError as error:
        sys.stderr.write(f"{ERROR_PREFIX}{error.message}\n")
        return error.exit_code
    return 0


def run_training_client() -> None:
    """Be the training client of the Client Manager that started this process with two arguments."""
    if len(sys.argv) != 3:
        sys.exit("the training client is started by the app's Client Manager: flwr run .")
    main.main()


def _take_part(app_dir: Path, training_module: str, overrides: Sequence[str]) -> None:
    app = app_settings()
    config = Project.open(app_dir, overrides).config
    url = app.server or config.server.url
    settings = client_settings(server=url or None)
    enrol(settings, app)
    options = Options(
        app_dir,
        _tasks(app, config),
        overrides,
        echo=lambda line: _print(f"{TRAINING_PREFIX}{line}"),
        end_when_given_up=True,
        training_command=(sys.executable, "-m", training_module),
    )
    manage(settings, options)


def _print(line: str) -> None:
    sys.stderr.write(f"{line}\n")


def _tasks(app: AppSettings, config: Config) -> list[str]:
    """The task named, if one is: the placeholder stands for the only one there is."""
    named = app.task_id or config.task_id
    return [] if named in ("", PLACEHOLDER) else [named]


def enrol(settings: ClientSettings, app: AppSettings) -> None:
    """Make this machine a device of the server, once.

    Raises:
        Invalid: no server is named.
        NotFound: the machine is new, and there is no join token.
    """
    home = DataDir(settings.home)
    known = provided_identity(settings.credentials_directory)
    if known or home.identity.exists():
        before = (known or load_identity(home)).server
        if settings.server and split_fingerprint(settings.server).url != before:
            logger.warning(
                "this device joined %s; taking %s for its new address. A device of two servers needs "
                "two data dirs (FEDOPS_CLIENT_HOME)",
                before,
                settings.server,
            )
        return
    if not settings.server:
        raise Invalid(
            "which Server Manager? Name it in FEDOPS_SERVER, in config.toml ([server] url = "
            f'"http://HOST:8600") or in the run config (server="..."){_environment_hint()}'
        )
    if not app.join_token:
        raise NotFound(
            f"this machine is no device of {settings.server} yet: run the line that 'fedops token create' "
            "on the server shows (FEDOPS_JOIN_TOKEN=... fedops join URL) once, or set FEDOPS_JOIN_TOKEN"
            f"{_environment_hint()}"
        )
    joined = join(
        settings.server, app.join_token, app.device_name, settings.home, ca_file=settings.ca_file
    )
    logger.info("%s", joined.message)


def _environment_hint() -> str:
    """Under a SuperLink it is the SuperLink's environment that counts, not that of the terminal."""
    try:
        parents = psutil.Process().parents()
        found = [p for p in parents if any("flower-superlink" in word for word in p.cmdline()[:2])]
    except psutil.Error:
        return ""
    if not found:
        return ""
    return (
        f". (Flower's local SuperLink passes on the environment that it was started with. After a change, "
        f"end it with 'kill {found[0].pid}'; the next 'flwr run' starts it anew.)"
    )
