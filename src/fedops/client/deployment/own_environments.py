"""How the environments of commits are made on this device: one for each, unless its owner shares its own."""

from __future__ import annotations

from collections.abc import Callable

from fedops.client.deployment.commits.environments import (
    Environments,
    MakeEnvironments,
    WheelEnvironments,
    shared_environment,
)
from fedops.client.deployment.commits.places import Places
from fedops.core.contracts import Packages
from fedops.environments import building
from fedops.environments.platform_names import platform_name
from fedops.environments.wheel_store import WheelStore
from fedops.settings import ClientSettings


def environments_of(settings: ClientSettings) -> MakeEnvironments:
    """As the settings of the device say."""
    return shared_environment if settings.environments == "shared" else own_environments


def own_environments(places: Places, ask: Callable[[str, str, str], Packages]) -> Environments:
    """Of the wheels that the server names, built by uv."""
    return WheelEnvironments(
        platform=platform_name(),
        ask=ask,
        wheels=WheelStore(places.wheels),
        builder=building,
        cache=places.cache,
    )
