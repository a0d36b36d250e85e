"""A device that deploys by the real API, as it is told to: good, bad, stalled, away. Nothing is built."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from managing import Device, World, idle

from fedops.core import contracts as c
from fedops.testing.light_deployments import Fate, LightDeployment, always_good


class LightDevice:
    """Polls when it is told to. Who does not poll is away."""

    def __init__(
        self,
        device: Device,
        task: str = "mnist",
        fate: Callable[[str], Fate] = always_good,
        says: Callable[[str], Mapping[str, Any]] = lambda commit: {},
    ) -> None:
        self.device = device
        self.process = idle(task).process
        self.deployment = LightDeployment(task, fate, says)

    def poll(self, wait: float = 0.0) -> c.Work:
        """Say how it is, and do what is wanted."""
        report = c.DeploymentReport.model_validate(self.deployment.report)
        body = c.WorkPoll(tasks=[self.deployment.task], process=self.process, deployments=[report])
        work = self.device.poll(body, wait=wait)
        self.deployment.hear([one.model_dump(mode="json") for one in work.deployments])
        return work

    def settle(self) -> None:
        """Poll until there is nothing more to do or to say."""
        said = None
        while said != self.deployment.report:
            said = self.deployment.report
            self.poll()

    @property
    def active(self) -> str | None:
        return self.deployment.active


def light_devices(
    world: World, *names: str, task: str = "mnist", fate: Callable[[str], Fate] = always_good
) -> dict[str, LightDevice]:
    """Devices of the task whose code comes from the server, which have said so."""
    found = {name: LightDevice(world.join(name)[1], task, fate) for name in names}
    for device in found.values():
        device.poll()
    return found


def go_on(world: World, devices: Mapping[str, LightDevice], seconds: float = 0.0) -> None:
    """Let time pass, the server look, and the devices do what is wanted and say so."""
    world.clock.advance(seconds)
    for device in devices.values():
        device.settle()
    world.step()  # who called is written down
    world.manager.rollouts.step()
    for device in devices.values():
        device.settle()
