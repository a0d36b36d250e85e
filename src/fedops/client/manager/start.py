"""A Client Manager from its first check to its end; ``run_client`` is what ``fedops client run`` calls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from fedops.client.device.data_dir import DataDir, load_identity, provided_identity
from fedops.client.device.device_config import load_device_config
from fedops.client.device.remembered_app import RememberedApp
from fedops.client.device.tls_upgrade import settle_trust
from fedops.client.manager.manager import ClientManager
from fedops.client.manager.options import Options
from fedops.client.spool.child_output import Echo
from fedops.config.overrides import refuse_of_run
from fedops.platforms.confinement import hide_memory, write_no_core
from fedops.platforms.files import keep_to_owner
from fedops.processes.lock import hold_lock
from fedops.scalize.flow.project import Project
from fedops.settings import ClientSettings


def run_client(
    settings: ClientSettings,
    app_dir: Path | None,
    *,
    tasks: Sequence[str] = (),
    overrides: Sequence[str] = (),
    echo: Echo | None = None,
    end_when_given_up: bool = False,
) -> None:
    """Run a Client Manager until SIGTERM, SIGINT or ``POST /stop``.

    ``app_dir`` None: the code of its task comes from the server, or is what ``device.toml`` says.

    Raises:
        NotFound: the device has not joined, or there is no such task.
        Conflict: another Client Manager runs on this data dir.
        Invalid: the app's folder, its config or ``device.toml`` is wrong.
        Forbidden: the server does not want this device (any more).
    """
    refuse_of_run(overrides)
    if app_dir is None:
        managed = Options(None, tasks, overrides, echo=echo, end_when_given_up=end_when_given_up)
        manage(settings, managed)
        return
    project = Project.open(app_dir, overrides)
    if not tasks and project.config.task_id not in ("", "task_id"):
        tasks = [project.config.task_id]
    options = Options(
        app_dir.resolve(),
        tasks,
        overrides,
        echo=echo,
        end_when_given_up=end_when_given_up,
        output_dir=project.config.xai.output_dir,
    )
    manage(settings, options)


def manage(settings: ClientSettings, options: Options) -> None:
    """Run a Client Manager whose app is known to be sound."""
    write_no_core()
    hide_memory()
    home = DataDir(settings.home)
    provided = provided_identity(settings.credentials_directory)
    options.provided = provided is not None
    identity = provided or load_identity(home)
    home.create()
    keep_to_owner()
    if provided:
        replace(provided, token="").save(home)  # for those who look: the secret stays where it is
    config = load_device_config(home.device_config)
    lock = hold_lock(home.lock, "a Client Manager")
    try:
        if options.app_dir is not None:
            app_dir = str(options.app_dir)
            RememberedApp(app_dir, [*options.overrides], [*options.tasks]).save(home)
        proxy = config.network.proxy
        keeps = not options.provided
        identity, url = settle_trust(
            home, identity, settings.server, settings.ca_file, proxy, keeps_secret=keeps
        )
        settings = settings.model_copy(update={"server": url})
        manager = ClientManager(settings, options, home, identity, config)
        with manager.signals():
            manager.run()
    finally:
        lock.close()
